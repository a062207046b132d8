//! Where chunks are: the sealed tables of all packs, searchable by prefix.
//!
//! The tables are the truth. Where there is a local cache they are gathered in segments that are mapped and searched in place ([`mapped`]), so that memory does not grow with the number of chunks;
//! what is not in one of them, and everything where there is no cache, lies in memory. Segments of the repository ([`segment`]) only save requests. Both are used for packs that the ledger names with
//! the same place of the table.

mod added;
mod load;
pub(crate) mod mapped;
mod marks;
pub(crate) mod segment;
mod support;
pub(crate) mod supported;
mod voids;

use std::sync::Arc;

use crate::error::Result;
use crate::id::ChunkPrefix;
use crate::pack::reader::OpenPack;

pub(crate) use added::Added;
pub(crate) use load::{Reading, lots, read_tables};
pub(crate) use mapped::LocalIndex;
pub(crate) use marks::Marks;
pub(crate) use voids::Voids;

/// One place where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Location {
    /// Number of the pack in the index.
    pub(crate) pack: u32,
    /// Number of the row in its table.
    pub(crate) row: u32,
}

/// Locations by chunk, sorted.
type Sorted = Vec<(ChunkPrefix, Location)>;

/// All chunks of all packs whose tables could be read.
#[derive(Default)]
pub(crate) struct Index {
    packs: Vec<Arc<OpenPack>>,
    /// Rows that lie in files.
    mapped: Vec<mapped::Mapped>,
    /// Rows in memory: runs, each at least twice as long as the next.
    runs: Vec<Sorted>,
    /// What must not be relied on of the rows that lie in files; of those in memory it is left out.
    voids: Voids,
    rows: usize,
    lossy: bool,
    reread: Option<Arc<mapped::Reread>>,
    /// Rows in memory and segments as they were loaded.
    at_load: (usize, usize),
}

/// With more than so many segments beyond those that were loaded it is time to load anew, which merges them: each is asked for every chunk.
const MORE_SEGMENTS_MAX: usize = 4;

impl Index {
    /// Adds packs that were committed after the index was loaded. Where it could not be read what some of them hold, that counts as lost.
    pub(crate) fn extend(&mut self, packs: impl IntoIterator<Item = OpenPack>, is_whole: bool, voids: &Voids) {
        self.lossy |= !is_whole;
        let mut run = Sorted::new();
        for pack in packs {
            self.push(pack, voids, &mut run);
        }
        run.sort_unstable_by_key(|(prefix, _)| *prefix);
        self.push_run(run);
    }

    /// Adds what another index holds.
    pub(crate) fn absorb(&mut self, other: Self) {
        let first = self.packs.len() as u32;
        self.lossy |= other.lossy;
        self.rows += other.rows - other.rows_in_memory();
        self.packs.extend(other.packs);
        self.mapped.extend(other.mapped.into_iter().map(|mut mapped| {
            mapped.renumber(first);
            mapped
        }));
        for mut run in other.runs {
            run.iter_mut().for_each(|(_, location)| location.pack += first);
            self.push_run(run);
        }
    }

    /// Whether so much was added since it was loaded, with so many rows more, that it should be loaded anew, with mapped segments for what lies in memory.
    pub(crate) fn is_overgrown(&self, local: &LocalIndex, more_rows: usize) -> bool {
        let (before, segments) = self.at_load;
        let rows = self.rows_in_memory() + more_rows - before;
        // What found no room in segments is tried again when it has doubled, so that this costs no more than a share of what it took to come there.
        self.mapped.len() > segments + MORE_SEGMENTS_MAX || (rows >= before && local.is_worth(rows))
    }

    fn rows_in_memory(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    /// Adds a pack, and its rows to a run that is not sorted yet.
    fn push(&mut self, mut pack: OpenPack, voids: &Voids, run: &mut Sorted) {
        pack.drop_record();
        let number = self.packs.len() as u32;
        run.extend(live_rows(&pack, voids).map(|(row, prefix)| (prefix, Location { pack: number, row })));
        self.packs.push(Arc::new(pack));
    }

    fn push_run(&mut self, mut run: Sorted) {
        self.rows += run.len();
        while let Some(last) = self.runs.pop_if(|last| last.len() < 2 * run.len()) {
            run.extend(last);
            // Two sorted runs one behind the other: this sort finds and merges them.
            run.sort_by_key(|(prefix, _)| *prefix);
        }
        if !run.is_empty() {
            self.runs.push(run);
        }
    }

    /// Whether some location is known for a chunk.
    pub(crate) fn contains(&self, prefix: &ChunkPrefix) -> bool {
        self.locations(prefix).next().is_some()
    }

    /// All known locations of a chunk.
    pub(crate) fn locations(&self, prefix: &ChunkPrefix) -> impl Iterator<Item = Location> {
        let mapped = self.mapped.iter().flat_map(|mapped| mapped.locations(prefix));
        let live = mapped.filter(|location| self.voids.is_empty() || !self.is_excluded(*location, &self.voids));
        live.chain(self.runs.iter().flat_map(|run| of_prefix(run, prefix)))
    }

    /// Whether the frame of a location is among those excluded.
    fn is_excluded(&self, location: Location, excluded: &Voids) -> bool {
        let pack = self.pack(location.pack);
        if !excluded.concerns(pack.place.id) {
            return false;
        }
        let frame = pack.table.row(location.row).map(|(_, frame, _)| frame);
        frame.is_none_or(|frame| excluded.contains(pack.place.id, frame))
    }

    /// The pack of a number that a [`Location`] has.
    pub(crate) fn pack(&self, number: u32) -> &Arc<OpenPack> {
        &self.packs[number as usize]
    }

    /// All packs.
    pub(crate) fn packs(&self) -> &[Arc<OpenPack>] {
        &self.packs
    }

    /// How many rows there are over all packs.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Whether something that was committed cannot be relied on, so that what refers to chunks must look whether they are there.
    pub(crate) fn is_lossy(&self) -> bool {
        self.lossy
    }

    /// Fails if a table that a segment should have had could not be read again, since this was asked last: what seems to be lost may be there.
    ///
    /// # Errors
    /// [`crate::Error::Storage`], [`crate::Error::Interrupted`].
    pub(crate) fn take_trouble(&self) -> Result<()> {
        self.reread.as_ref().map_or(Ok(()), |reread| reread.take_trouble())
    }
}

/// The locations of a chunk in a sorted run.
fn of_prefix(run: &[(ChunkPrefix, Location)], prefix: &ChunkPrefix) -> impl Iterator<Item = Location> {
    let start = run.partition_point(|(other, _)| other < prefix);
    run[start..].iter().take_while(move |(other, _)| other == prefix).map(|(_, location)| *location)
}

/// The rows of a pack that may be relied on, with their chunks.
pub(crate) fn live_rows<'a>(pack: &'a OpenPack, voids: &'a Voids) -> impl Iterator<Item = (u32, ChunkPrefix)> + 'a {
    let columns = pack.table.columns();
    let frames = (0u32..).zip(columns.frames);
    let live = frames.filter(|(number, _)| !voids.contains(pack.place.id, *number));
    live.flat_map(move |(_, frame)| {
        let rows = frame.first_row as usize..frame.first_row as usize + frame.rows as usize;
        (frame.first_row..).zip(columns.prefixes.get(rows).unwrap_or_default().iter().copied())
    })
}
