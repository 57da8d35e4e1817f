//! UTF-16 as UTF-8.

use std::io::{self, ErrorKind, Read};

/// Bytes read at a time; even.
const READ: usize = 8 * 1024;
/// Stands for half a character: no UTF-8 either, so its line is a fault, and nothing is made up.
const BROKEN: u8 = 0xff;

/// Reads UTF-16, and gives UTF-8.
#[derive(Debug)]
pub(super) struct Utf16<R> {
    input: R,
    is_big: bool,
    /// What came and is not read as text yet: half a unit or a pair at most.
    carry: Vec<u8>,
    text: Vec<u8>,
    given: usize,
}

impl<R: Read> Utf16<R> {
    /// Of big-endian units, or of little-endian ones.
    pub(super) fn new(input: R, is_big: bool) -> Self {
        Self { input, is_big, carry: Vec::new(), text: Vec::new(), given: 0 }
    }

    /// Reads on, and gives whether that was the end.
    fn more(&mut self) -> io::Result<bool> {
        let mut bytes = [0; READ];
        let read = match self.input.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            read => read?,
        };
        self.carry.extend_from_slice(&bytes[..read]);
        (self.given, self.text) = (0, Vec::with_capacity(2 * READ));
        let (pairs, odd) = self.carry.as_chunks::<2>();
        let mut units: Vec<u16> =
            pairs.iter().map(|pair| if self.is_big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) }).collect();
        let mut rest = odd.to_vec();
        // The second half of a pair may come with the next bytes.
        if read > 0 && units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            units.pop();
            rest.splice(0..0, pairs[units.len()]);
        } else if read == 0 && !rest.is_empty() {
            (rest, self.text) = (Vec::new(), vec![BROKEN]);
        }
        for unit in char::decode_utf16(units) {
            match unit {
                Ok(letter) => self.text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(_) => self.text.push(BROKEN),
            }
        }
        self.carry = rest;
        Ok(read == 0)
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.given == self.text.len() && !self.more()? {}
        let read = (&self.text[self.given..]).read(bytes)?;
        self.given += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time.
    struct Slowly<'a>(&'a [u8]);

    impl Read for Slowly<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let most = bytes.len().min(1);
            self.0.read(&mut bytes[..most])
        }
    }

    #[test]
    fn utf16_comes_out_as_utf8_however_it_is_split_and_halves_are_no_text() {
        let text = "{\"a\":\"é€😀\"}\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (bytes, is_big) in [(little, false), (big, true)] {
            let (mut whole, mut slow) = (Vec::new(), Vec::new());
            Utf16::new(bytes.as_slice(), is_big).read_to_end(&mut whole).unwrap();
            Utf16::new(Slowly(&bytes), is_big).read_to_end(&mut slow).unwrap();
            assert_eq!((whole.as_slice(), slow.as_slice()), (text.as_bytes(), text.as_bytes()));
        }
        for (bytes, expected) in [(&b"\x3d\xd8"[..], &[BROKEN][..]), (b"a\0\x3d\xd8b\0", b"a\xffb"), (b"a\0b", b"a\xff")] {
            let mut out = Vec::new();
            Utf16::new(Slowly(bytes), false).read_to_end(&mut out).unwrap();
            assert_eq!(out, expected, "{bytes:?}");
        }
    }
}
