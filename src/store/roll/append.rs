//! Rows into a day file: new ones behind those that it has, and all of it anew.

use std::sync::Arc;

use crate::base::time::Micros;
use crate::model::event::Partition;
use crate::model::schema::Schema;
use crate::store::archive::{DayFile, GROUP_ROWS};

use super::pieces::{Pieces, Rolled};
use super::publish::{Draft, stage};
use super::{DEAD_MAX, GROUPS_MAX, Policy, RollError, Roller, make_names_durable};

impl Roller {
    /// Rolls a partition, up to a bounded number of rows. None when the buffer has nothing for it.
    ///
    /// # Errors
    /// When anything refuses; the rows stay in the buffer and the day file is as it was.
    pub fn roll(&mut self, partition: &Partition, policy: &Policy, now: Micros) -> Result<Option<Rolled>, RollError> {
        let schema = self.registry.get(&partition.event_type);
        let file = self.open(partition, &schema)?;
        let covered = file.as_ref().map_or(0, |file| file.footer().covers(self.view.id()));
        let covered = covered.max(self.passed.get(partition).copied().unwrap_or_default());
        let mut pieces = Pieces::new(self, partition, &schema, file.as_ref(), covered);
        let Some(first) = pieces.next()? else {
            let rolled = pieces.rolled(partition);
            if rolled.seq > 0 {
                // The day file has them all, or an earlier attempt failed behind its rename: nothing to write, and the buffer's rows
                // may go once its name is sure to stay.
                make_names_durable(&self.layout, partition)?;
                self.passed.insert(partition.clone(), rolled.seq);
            }
            return Ok(Some(rolled).filter(|rolled| rolled.seq > 0));
        };
        let plan = file.as_ref().map(|file| Plan::new(file, &schema)).unwrap_or_default();
        let runs = match &file {
            Some(file) => file.runs(&plan.anew, &schema)?,
            None => Vec::new(),
        };
        let rows = first.len() + plan.anew.iter().filter_map(|group| Some(file.as_ref()?.group_rows(*group))).sum::<usize>();
        let sealed = !pieces.more && plan.copied.is_empty() && partition.day.end() + policy.quiet <= now;
        let staged = stage(
            &self.layout.staged(partition),
            Draft {
                partition,
                schema: &schema,
                copied: file.as_ref().map(|file| (file, plan.copied.as_slice())),
                rows: rows as u64,
                runs: runs.into_iter().chain([first.into_run()]).collect(),
                buffer_id: self.view.id().to_owned(),
                seq_last: pieces.seq,
                further: Some(&mut pieces),
                sealed,
            },
        );
        let rolled = pieces.rolled(partition);
        self.publish(partition, staged, sealed)?;
        Ok(Some(rolled))
    }

    /// Seals a partition's day file: one sorted whole. False when it was sealed already, or is gone.
    ///
    /// # Errors
    /// When anything refuses; the day file is as it was.
    pub fn seal(&mut self, partition: &Partition) -> Result<bool, RollError> {
        let schema = self.registry.get(&partition.event_type);
        let file = self.open(partition, &schema)?.filter(|file| !file.footer().sealed);
        let Some(file) = file else {
            // A failure behind the rename may have kept its checksum from being noted.
            self.unsealed.remove(partition);
            self.unlisted.insert(partition.clone());
            return Ok(false);
        };
        let runs = file.runs(&(0..file.groups()).collect::<Vec<_>>(), &schema)?;
        self.write_anew(Draft {
            partition,
            schema: &schema,
            copied: None,
            rows: file.footer().rows,
            runs,
            // What the file covers of which buffer stays as it was.
            buffer_id: file.footer().buffer_id.clone(),
            seq_last: file.footer().seq_last,
            further: None,
            sealed: true,
        })?;
        Ok(true)
    }

    /// True when a partition's day file was written with an older schema, or lacks values that its `raw` has.
    ///
    /// # Errors
    /// When the file does not open.
    pub fn is_old(&self, partition: &Partition) -> Result<bool, RollError> {
        let schema = self.registry.get(&partition.event_type);
        Ok(self.open(partition, &schema)?.map(|file| is_old(&file, &schema)).transpose()?.unwrap_or(false))
    }

    /// Writes a day file of an older schema anew, from its columns and `raw`. False when it has today's columns, or is gone.
    ///
    /// # Errors
    /// When anything refuses; the day file is as it was.
    pub fn rebuild(&mut self, partition: &Partition) -> Result<bool, RollError> {
        let schema = self.registry.get(&partition.event_type);
        let Some(file) = self.open(partition, &schema)? else { return Ok(false) };
        if !is_old(&file, &schema)? {
            return Ok(false);
        }
        let footer = file.footer();
        self.write_anew(Draft {
            partition,
            schema: &schema,
            copied: None,
            rows: footer.rows,
            runs: file.reread(&schema)?,
            buffer_id: footer.buffer_id.clone(),
            seq_last: footer.seq_last,
            further: None,
            sealed: footer.sealed,
        })?;
        Ok(true)
    }
}

fn is_old(file: &DayFile, schema: &Arc<Schema>) -> Result<bool, RollError> {
    Ok(file.footer().schema_version < schema.version || !file.has_columns_of(schema) || file.lacks_values(schema)?)
}

/// Which row groups of a day file are copied, and which are encoded anew together with the new rows.
#[derive(Debug, Default)]
struct Plan {
    copied: Vec<usize>,
    anew: Vec<usize>,
}

impl Plan {
    fn new(file: &DayFile, schema: &Schema) -> Self {
        let groups = 0..file.groups();
        if !file.has_columns_of(schema) {
            // Every file of a type has the same columns: an older version is rewritten as a whole.
            return Self { copied: Vec::new(), anew: groups.collect() };
        }
        let live: u64 = groups.clone().map(|group| file.group_bytes(group)).sum();
        let dead = file.bytes().saturating_sub(live);
        if file.groups() < GROUPS_MAX && dead <= live.max(DEAD_MAX) {
            return Self { copied: groups.collect(), anew: Vec::new() };
        }
        // A full row group waits for the seal: taking it in would mean to write a large file anew, again and again.
        let (copied, anew) = groups.partition(|group| file.group_rows(*group) >= GROUP_ROWS);
        Self { copied, anew }
    }
}
