//! An input, unpacked as far as its beginning says that it has to be.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Cursor, ErrorKind, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use crate::base::error::plain;
use crate::model::framing::Frames;

use super::form::{Form, form};
use super::utf16::Utf16;

/// What is looked at before anything is kept, in bytes.
const HEAD: u64 = 64 * 1024;
/// Packed data may grow to so many bytes, and from there on to so many times what is read of it: events grow thirty times.
const GROWTH: (u64, u64) = (64 * 1024 * 1024, 250);

/// Why an input is not read.
#[derive(Debug, thiserror::Error)]
pub enum NoEvents {
    /// It does not read.
    #[error("cannot read it: {}", plain(.0))]
    Read(#[from] io::Error),
    /// It holds something else.
    #[error(
        "this is {0}. An import takes lines of JSON, an event a line, or Server-Sent Events, also in gzip, zstd or UTF-16; nothing was taken"
    )]
    Other(String),
}

/// Bytes to import, and how they are cut into frames.
pub struct Input<'a> {
    reader: Box<dyn Read + 'a>,
    /// Bytes of the file that were read, and how many of them were told.
    read: Rc<Cell<u64>>,
    told: u64,
    pub(super) frames: Frames,
}

impl<'a> Input<'a> {
    /// Looks at the first 64 KiB, of which at least a line should be an event: gzip, zstd, UTF-16 and Server-Sent Events are read.
    ///
    /// # Errors
    /// When it does not read, or is plainly something else.
    pub fn open(input: impl Read + 'a) -> Result<Self, NoEvents> {
        let read = Rc::new(Cell::new(0));
        let mut reader: Box<dyn Read + 'a> = Box::new(Counted { input, read: Rc::clone(&read) });
        let mut packed = None;
        loop {
            let mut head = Vec::new();
            reader.by_ref().take(HEAD).read_to_end(&mut head)?;
            let is_whole = (head.len() as u64) < HEAD;
            let found = form(&head, is_whole);
            reader = Box::new(Cursor::new(head).chain(reader));
            let unpacked = |name, input| Box::new(Unpacked { input, name, read: Rc::clone(&read), given: 0 });
            reader = match (found, packed) {
                (Form::Lines, _) => return Ok(Self { reader, read, told: 0, frames: Frames::lines() }),
                (Form::Events, _) => return Ok(Self { reader, read, told: 0, frames: Frames::events() }),
                (Form::Utf16 { is_big }, _) => Box::new(Utf16::new(reader, is_big)),
                (Form::Gzip, None) => {
                    packed = Some("gzip");
                    unpacked("gzip", Box::new(MultiGzDecoder::new(reader)))
                }
                (Form::Zstd, None) => {
                    packed = Some("zstd");
                    unpacked("zstd", Box::new(zstd::Decoder::new(reader)?))
                }
                (Form::Gzip, Some(packed)) => return Err(NoEvents::Other(format!("gzip in {packed}; unpack it once"))),
                (Form::Zstd, Some(packed)) => return Err(NoEvents::Other(format!("zstd in {packed}; unpack it once"))),
                (Form::Other(what), None) => return Err(NoEvents::Other(what.to_owned())),
                (Form::Other(what), Some(packed)) => return Err(NoEvents::Other(format!("{packed} of {what}"))),
            }
        }
    }

    /// Bytes of the file that were read since the last call.
    pub(super) fn progress(&mut self) -> u64 {
        let since = self.read.get() - self.told;
        self.told += since;
        since
    }
}

impl Read for Input<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.reader.read(bytes)
    }
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Input").field("read", &self.read).field("frames", &self.frames).finish_non_exhaustive()
    }
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(bytes)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

/// What comes out of packed data, which grows within a bound and fails in words.
struct Unpacked<'a> {
    input: Box<dyn Read + 'a>,
    name: &'static str,
    read: Rc<Cell<u64>>,
    given: u64,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Self { name, .. } = *self;
        let say = |kind, what: &str| io::Error::new(kind, format!("this {name} {what}"));
        let read = self.input.read(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => say(ErrorKind::UnexpectedEof, "ends in the middle: the file is not whole"),
            // What the decoders say of damage.
            ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::Other => say(ErrorKind::InvalidData, "is damaged"),
            _ => error,
        })?;
        self.given += read as u64;
        if self.given > GROWTH.0 && self.given / GROWTH.1 > self.read.get() {
            return Err(say(ErrorKind::InvalidData, &format!("grows to more than {} times its size, as no events do", GROWTH.1)));
        }
        Ok(read)
    }
}
