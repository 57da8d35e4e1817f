//! Shipping: what is new in the day files goes to the lake, once.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::base::backoff::Backoff;
use crate::base::disk;
use crate::base::time::{Day, Micros};
use crate::model::layout::Layout;
use crate::model::schema::{Registry, Schema};
use crate::store::archive::{Catalog, DayFile, Listed, Stamp};
use crate::store::last_shipment::{Shipping, last_shipment, note_shipment};
use crate::store::roll::RollError;

use super::identity::{self, Held};
use super::kernel::{Committed, Part, Table};
use super::ledger::{Ledger, Own, Shipment, Shipped, outbox, scratch};
use super::news::{Known, may_be_there, new_rows};
use super::place::Place;
use super::{LakeError, Result, parts, probe, table_name};

/// A shipment is at most about so large: what it says of itself, and the disk that it takes until it is there, stay small.
const SHIPMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Days that one shipment is about, at most.
const SHIPMENT_DAYS: usize = 64;
/// How often to commit where others are first.
const TRIES: u32 = 60;

/// What a pass has shipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// Rows.
    pub rows: u64,
    /// Files, and their bytes.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Commits, one a shipment.
    pub commits: u64,
    /// How often somebody else committed first.
    pub conflicts: u64,
    /// Day files that were left out, and why.
    pub left: Vec<String>,
}

/// Ships one recording to one lake.
#[derive(Debug)]
pub struct Shipper<'p> {
    layout: Layout,
    registry: Arc<Registry>,
    place: &'p Place,
    ledger: Ledger,
    own: Own,
}

/// A table as it was last seen, if there is one.
type Seen<'p> = Option<Table<'p>>;

/// Who follows a pass, and may end it.
struct Watching<'a> {
    stop: &'a AtomicBool,
    passed: &'a mut Passed,
    tell: &'a mut dyn FnMut(&Passed),
}

impl Watching<'_> {
    fn go_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(LakeError::Stopped) } else { Ok(()) }
    }
}

impl<'p> Shipper<'p> {
    /// A shipper of a recording that may be written to at the same time: it only reads day files, and writes below `state/lake`.
    ///
    /// # Errors
    /// When another process ships this recording, when the disk refuses.
    pub fn open(layout: &Layout, registry: Arc<Registry>, place: &'p Place, now: Micros) -> Result<Self> {
        if !layout.data().is_dir() {
            return Err(LakeError::Strange { what: format!("there is no recording in {}", layout.root().display()) });
        }
        let mut ledger = Ledger::open(layout)?;
        let own = identity::own(&mut ledger, &place.shown(), now)?;
        Ok(Self { layout: layout.clone(), registry, place, ledger, own })
    }

    /// This recorder's id in the lake.
    pub fn recorder(&self) -> &str {
        &self.own.id
    }

    /// Ships all that is new, and notes how far it came. `tell` hears of rows as they arrive; `stop` ends it between two steps.
    ///
    /// # Errors
    /// When the lake refuses or does not answer: what was shipped before that is shipped.
    pub fn pass(&mut self, now: Micros, stop: &AtomicBool, tell: &mut dyn FnMut(&Passed)) -> Result<Passed> {
        let mut passed = Passed::default();
        let result = self.pass_noted(now, &mut Watching { stop, passed: &mut passed, tell });
        self.note(now, &passed, result.as_ref().err())?;
        result.map(|()| passed)
    }

    fn pass_noted(&mut self, now: Micros, watching: &mut Watching<'_>) -> Result<()> {
        probe::require(self.place)?;
        if identity::hold(self.place, &self.ledger, &mut self.own, now)? == Held::Lost {
            self.begin_anew(now)?;
        }
        for (name, shipment) in self.ledger.all_pending()? {
            if !self.deliver(&name, &shipment, watching)? {
                self.begin_anew(now)?;
                break;
            }
        }
        let catalog = Catalog::list(&self.layout)?;
        for folder in catalog.folders() {
            let name = table_name(&folder.path().file_name().unwrap_or_default().to_string_lossy());
            self.release(&name, folder.files())?;
            let mut table = None;
            let mut left: Vec<&Listed> = folder.files().iter().collect();
            while !left.is_empty() {
                let Some(shipment) = self.cut(&name, &mut left, &mut table, watching)? else { continue };
                if !self.deliver(&name, &shipment, watching)? {
                    // Everything is held against the lake, from the first file on.
                    self.begin_anew(now)?;
                    table = None;
                    left = folder.files().iter().collect();
                }
            }
        }
        Ok(())
    }

    /// Takes a new id: the old one is somebody else's, or the lake has lost it.
    fn begin_anew(&mut self, now: Micros) -> Result<()> {
        self.own = identity::begin(&mut self.ledger, &self.place.shown(), now)?;
        match identity::hold(self.place, &self.ledger, &mut self.own, now)? {
            Held::Yes => Ok(()),
            Held::Lost => Err(LakeError::Strange { what: format!("the new id {} is taken already", self.own.id) }),
        }
    }

    /// Gives room back that second names of day files hold which are gone.
    fn release(&self, name: &str, files: &[Listed]) -> Result<()> {
        let there: HashSet<Day> = files.iter().map(|file| file.day).collect();
        for (day, kept) in self.ledger.days(name)? {
            if let Some(n) = kept.filter(|_| !there.contains(&day)) {
                self.ledger.release(name, day, n)?;
            }
        }
        Ok(())
    }

    /// Writes what is new of the first files that are left, as the parts of one shipment, and notes it. None where there was nothing new.
    fn cut(
        &mut self,
        name: &str,
        left: &mut Vec<&Listed>,
        table: &mut Option<Seen<'p>>,
        watching: &mut Watching<'_>,
    ) -> Result<Option<Shipment>> {
        let mut shipment =
            Shipment { n: self.ledger.done(name)? + 1, event_type: String::new(), parts: Vec::new(), days: Vec::new() };
        let mut bytes = 0;
        while bytes < SHIPMENT_BYTES && shipment.days.len() < SHIPMENT_DAYS && !left.is_empty() {
            watching.go_on()?;
            let listed = left.remove(0);
            match self.cut_day(name, listed, &mut shipment, table) {
                Ok(more) => bytes += more,
                // Of the lake or of this disk: it would be the same with the next one.
                Err(
                    error @ (LakeError::Store { .. } | LakeError::Kernel { .. } | LakeError::Disk(_) | LakeError::Ledger { .. }),
                ) => {
                    return Err(error);
                }
                Err(error) => watching.passed.left.push(error.to_string()),
            }
        }
        if shipment.parts.is_empty() {
            // Their rows are all there: only how the files look now is new.
            if !shipment.days.is_empty() {
                self.ledger.finish(name, &shipment)?;
            }
            return Ok(None);
        }
        self.ledger.plan(name, &shipment)?;
        Ok(Some(shipment))
    }

    /// The same for one day file. Gives the bytes that it takes.
    fn cut_day(&self, name: &str, listed: &Listed, shipment: &mut Shipment, table: &mut Option<Seen<'p>>) -> Result<u64> {
        let shipped = self.ledger.shipped(name, listed.day)?;
        let stamp = |path: &Path| path.symlink_metadata().ok().as_ref().and_then(Stamp::of).map(|stamp| stamp.to_string());
        let is_same = |shipped: &Shipped| !shipped.stamp.is_empty() && stamp(&listed.path).as_ref() == Some(&shipped.stamp);
        if shipped.as_ref().is_some_and(is_same) {
            return Ok(0);
        }
        // A name of its own: the recorder may put another file under the old one at any time.
        let number = fastrand::i64(1..);
        let kept = self.ledger.kept(name, listed.day, number);
        disk::create_dir_anywhere(kept.parent().unwrap_or(Path::new(".")))?;
        let is_kept = match disk::link(&listed.path, &kept) {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            linked => linked?,
        };
        let path = if is_kept { &kept } else { &listed.path };
        let Some(file) = DayFile::open(path)? else { return Ok(0) };
        let schema = self.schema(&file)?;
        let known = self.known(name, listed.day, shipped.as_ref(), table)?;
        let scratch = scratch(&self.layout);
        let rows = new_rows(&file, &schema, &known, &scratch)?;
        let columns = parts::columns(&schema);
        let rows = parts::marked(rows, Arc::clone(&columns), &self.own.id);
        let begin = format!("{}-{name}-{}", listed.day, shipment.n);
        let written = parts::write(rows, &columns, &outbox(&self.layout), &begin);
        disk::remove_tree(&scratch)?;
        let mut bytes = 0;
        for written in written? {
            let part = parts::named(&written, listed.day, "part", &format!("{}-{}", self.own.id, shipment.n))?;
            bytes += part.bytes;
            shipment.parts.push((part, written.file.file_name().unwrap_or_default().to_string_lossy().into_owned()));
        }
        shipment.event_type = file.footer().partition.event_type.to_string();
        shipment.days.push((
            listed.day.0,
            Shipped {
                stamp: stamp(path).unwrap_or_default(),
                bytes: file.bytes(),
                rows: file.footer().rows,
                kept: is_kept.then_some(number),
            },
        ));
        Ok(bytes)
    }

    fn schema(&self, file: &DayFile) -> Result<Arc<Schema>> {
        let partition = &file.footer().partition;
        let schema = self.registry.get(&partition.event_type);
        let found = file.footer().schema_version;
        if found > schema.version {
            return Err(RollError::NewerSchema { partition: partition.clone(), found, known: schema.version }.into());
        }
        Ok(schema)
    }

    /// What there is to hold a day file against.
    fn known<'a>(
        &'a self,
        name: &str,
        day: Day,
        shipped: Option<&'a Shipped>,
        table: &'a mut Option<Seen<'p>>,
    ) -> Result<Known<'a>> {
        if let Some(shipped) = shipped
            && let Some(n) = shipped.kept
            && let Ok(Some(then)) = DayFile::open(&self.ledger.kept(name, day, n))
        {
            return Ok(Known::Then(shipped, then));
        }
        if shipped.is_none() && !may_be_there(day, self.own.born) {
            return Ok(Known::Nothing);
        }
        let table = match table {
            Some(seen) => seen,
            unseen => unseen.insert(Table::open(self.place, name)?),
        };
        Ok(match table {
            Some(table) => Known::Lake(self.place, table, table.files(Some(day))?),
            None => Known::Nothing,
        })
    }

    /// Puts the parts of a shipment and commits it. False where the id turns out to be another one's too.
    fn deliver(&mut self, name: &str, shipment: &Shipment, watching: &mut Watching<'_>) -> Result<bool> {
        for (part, file) in &shipment.parts {
            watching.go_on()?;
            parts::put(self.place, name, part, &outbox(&self.layout).join(file))?;
            watching.passed.parts += 1;
            watching.passed.bytes += part.bytes;
        }
        let columns = parts::columns(&self.registry.get(&shipment.event_type));
        let parts: Vec<Part> = shipment.parts.iter().map(|(part, _)| part.clone()).collect();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut table = match Table::open(self.place, name)? {
            Some(table) => table,
            None if shipment.n > 1 => return Ok(false),
            None => Table::create(self.place, name, &columns)?,
        };
        loop {
            match table.shipped(&self.own.id)?.unwrap_or_default() {
                there if there == shipment.n => {
                    let first = parts.first().map(|part| part.path.as_str()).unwrap_or_default();
                    let is_ours = table.files(parts.first().map(|part| Day(part.day)))?.iter().any(|part| part.path == first);
                    if !is_ours {
                        return Ok(false);
                    }
                    break;
                }
                there if there == shipment.n - 1 => {}
                _ => return Ok(false),
            }
            if let Committed::Yes(_) = table.append((&self.own.id, shipment.n), &parts, &columns)? {
                break;
            }
            watching.passed.conflicts += 1;
            if backoff.failures() >= TRIES {
                return Err(LakeError::Crowded { table: name.to_owned(), tries: TRIES });
            }
            watching.go_on()?;
            thread::sleep(backoff.wait(fastrand::f64(), None));
            table = table.again()?;
        }
        watching.passed.commits += 1;
        watching.passed.rows += parts.iter().filter_map(|part| part.rows).sum::<u64>();
        self.ledger.finish(name, shipment)?;
        (watching.tell)(watching.passed);
        Ok(true)
    }

    /// Notes how far it came, for whoever asks.
    fn note(&self, now: Micros, passed: &Passed, error: Option<&LakeError>) -> Result<()> {
        let (mut files, mut rows) = (0, 0);
        let mut unread = None;
        if error.is_some() || !passed.left.is_empty() {
            for (folder, listed) in Catalog::list(&self.layout)?.files() {
                let name = table_name(&folder.path().file_name().unwrap_or_default().to_string_lossy());
                let shipped = self.ledger.shipped(&name, listed.day)?;
                let stamp = listed.path.symlink_metadata().ok().as_ref().and_then(Stamp::of).map(|stamp| stamp.to_string());
                if shipped.as_ref().is_some_and(|shipped| Some(&shipped.stamp) == stamp.as_ref()) {
                    continue;
                }
                files += 1;
                match folder.about(listed) {
                    Ok(Some((footer, _))) => rows += footer.rows.saturating_sub(shipped.map_or(0, |shipped| shipped.rows)),
                    Ok(None) => {}
                    Err(error) => unread = Some(error.to_string()),
                }
            }
        }
        let is_whole = error.is_none() && passed.left.is_empty();
        let before = last_shipment(&self.layout).filter(|before| before.lake == self.own.lake);
        let (all_rows, all_bytes) = self.ledger.total()?;
        let note = Shipping {
            lake: self.own.lake.clone(),
            recorder: self.own.id.clone(),
            tried: now,
            whole: if is_whole { Some(now) } else { before.and_then(|before| before.whole) },
            problem: error.map(ToString::to_string).or_else(|| passed.left.first().cloned()).or(unread),
            rows: all_rows,
            bytes: all_bytes,
            behind_files: files,
            behind_rows: rows,
        };
        Ok(note_shipment(&self.layout, &note)?)
    }
}
