//! Gathers tables that were read into new segments, a lot of bounded size at a time.

use super::layout::{Entry, PackRecord, key};
use super::{LocalIndex, domain_tag, write};
use crate::environment::Environment;
use crate::pack::reader::OpenPack;
use crate::pipeline::Workers;

/// Packs on their way into segments.
pub(crate) struct Lots<'a> {
    local: Option<&'a LocalIndex>,
    workers: &'a Workers,
    environment: &'a Environment,
    pending: Vec<OpenPack>,
    rows: usize,
    /// Packs that stay in memory.
    kept: Vec<OpenPack>,
    written: Vec<String>,
}

impl<'a> Lots<'a> {
    /// Begins. Without a local index everything stays in memory.
    pub(crate) fn new(local: Option<&'a LocalIndex>, workers: &'a Workers, environment: &'a Environment) -> Self {
        Self { local, workers, environment, pending: Vec::new(), rows: 0, kept: Vec::new(), written: Vec::new() }
    }

    /// Takes packs over.
    pub(crate) fn take(&mut self, packs: Vec<OpenPack>) {
        for mut pack in packs {
            pack.drop_record();
            self.rows += pack.table.len();
            self.pending.push(pack);
            if self.local.is_some_and(|local| self.rows >= local.lot_rows) {
                self.write();
            }
        }
    }

    /// How many rows wait in memory.
    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Ends. Returns the packs that stay in memory, and the names of the segments with the others.
    pub(crate) fn finish(mut self) -> (Vec<OpenPack>, Vec<String>) {
        if self.local.is_some_and(|local| local.is_worth(self.rows)) {
            self.write();
        }
        self.kept.append(&mut self.pending);
        (self.kept, self.written)
    }

    fn write(&mut self) {
        let mut packs = std::mem::take(&mut self.pending);
        self.rows = 0;
        packs.sort_by_key(|pack| pack.place.id);
        match self.local.and_then(|local| self.write_segment(local, &packs)) {
            Some(name) => self.written.push(name),
            None => self.kept.append(&mut packs),
        }
    }

    fn write_segment(&self, local: &LocalIndex, packs: &[OpenPack]) -> Option<String> {
        let mut records: Vec<PackRecord> = packs.iter().map(record_of).collect();
        let counts = write::place(&mut records);
        if !local.has_room(write::bytes_of(&counts), false) {
            return None;
        }
        let entries = (0u32..).zip(packs).flat_map(|(pack, open)| {
            (0u32..).zip(open.table.prefixes()).map(move |(row, prefix)| Entry { key: key(prefix), pack, row })
        });
        let mut entries: Vec<Entry> = entries.collect();
        self.workers.sort_by_key(&mut entries, |entry| *entry);
        let columns = |number: usize| packs.get(number).map(|pack| pack.table.columns());
        write::write(local, self.environment, counts, &records, columns, entries.into_iter().map(Some))
    }
}

fn record_of(pack: &OpenPack) -> PackRecord {
    let (place, header, columns) = (&pack.place, pack.header(), pack.table.columns());
    PackRecord {
        pack: place.id.0,
        salt: header.salt,
        writer: header.writer.0,
        domain: domain_tag(&place.domain),
        length: place.length,
        table_offset: place.table_offset,
        first_frame: 0,
        first_row: 0,
        first_patch: 0,
        frames: columns.frames.len() as u32,
        rows: columns.rows.len() as u32,
        patches: columns.patches.len() as u32,
        table_length: place.table_length,
        area: place.area.number().into(),
        reserved: 0,
    }
}
