//! Opened frames: neighbours fetched in one request, each opened once however many workers want it, those used last kept.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::load::{Loader, Payloads, lock};
use super::recent::Recent;
use crate::error::{Error, Result};
use crate::format::constants::FRAME_NODE;
use crate::format::name::Area;
use crate::pack::reader::OpenPack;
use crate::storage::Storage;

/// Bytes of opened frames that are kept. A step of a database has a frame of some 100 KiB for many megabytes of it: a hundred steps of these fit.
const KEPT_BYTES: usize = 64 << 20;
/// Ranges of one pack that lie this close are fetched in one request.
const GAP_BYTES_MAX: u64 = 128 << 10;
/// A request fetches at most about so much.
const FETCH_BYTES_MAX: u64 = 8 << 20;

/// Numbers of a pack in the index and of a frame in it.
pub(crate) type FrameKey = (u32, u32);

/// Frames that are wanted, and what for.
pub(crate) type Wanted = BTreeMap<FrameKey, Use>;

/// What is known of a frame that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is likely to be wanted again.
    Again,
    /// So many of its bytes are wanted now and not again: once that holds for all of them, the frame need not be kept.
    Once(u64),
}

/// The frames of a loader.
pub(super) struct Frames {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    kept: Recent<FrameKey>,
    /// Frames that somebody is reading.
    under_way: HashSet<FrameKey>,
    /// Frames that did not open.
    failed: HashSet<FrameKey>,
}

impl Default for Frames {
    fn default() -> Self {
        let state = State { kept: Recent::new(KEPT_BYTES), under_way: HashSet::new(), failed: HashSet::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl State {
    fn spend(&mut self, key: &FrameKey, wanted: Use) {
        if let Use::Once(bytes) = wanted {
            self.kept.spend(key, bytes);
        }
    }
}

/// Frames that one caller reads, while others wait for them.
struct Claim<'f> {
    frames: &'f Frames,
    keys: Vec<FrameKey>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.frames.state);
        for key in &self.keys {
            state.under_way.remove(key);
        }
        drop(state);
        self.frames.changed.notify_all();
    }
}

impl Frames {
    /// Sorts frames into those at hand, those that the caller must read, and those that somebody else is reading.
    fn claim(&self, wanted: &Wanted) -> (HashMap<FrameKey, Payloads>, Claim<'_>, Vec<FrameKey>) {
        let (mut found, mut own, mut others) = (HashMap::new(), Vec::new(), Vec::new());
        let mut state = lock(&self.state);
        for (&key, &wanted) in wanted {
            if state.failed.contains(&key) {
                continue;
            }
            if let Some(payloads) = state.kept.get(&key) {
                state.spend(&key, wanted);
                found.insert(key, payloads);
            } else if state.under_way.insert(key) {
                own.push(key);
            } else {
                others.push(key);
            }
        }
        (found, Claim { frames: self, keys: own }, others)
    }

    /// Keeps a frame that was opened, unless all of it is used at once.
    fn put(&self, key: FrameKey, wanted: Option<&Use>, payloads: &Payloads) {
        let mut state = lock(&self.state);
        if let Some(&wanted) = wanted
            && wanted != Use::Once(payloads.len() as u64)
        {
            state.kept.put(key, Arc::clone(payloads));
            state.spend(&key, wanted);
        }
    }

    /// Counts the frames that are kept.
    #[cfg(test)]
    pub(super) fn count_kept(&self) -> usize {
        lock(&self.state).kept.len()
    }

    fn fail(&self, key: FrameKey) {
        lock(&self.state).failed.insert(key);
    }

    /// Waits until nobody reads any of these.
    fn wait(&self, keys: &[FrameKey]) {
        let mut state: MutexGuard<'_, State> = lock(&self.state);
        while keys.iter().any(|key| state.under_way.contains(key)) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Loader<'_> {
    /// Opens frames. Those that are missing or do not open are left out, and noted as bad.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Interrupted`].
    pub(crate) fn open_frames(&self, wanted: &Wanted) -> Result<HashMap<FrameKey, Payloads>> {
        let (mut opened, claim, others) = self.frames.claim(wanted);
        self.read_frames(&claim.keys, wanted, &mut opened)?;
        drop(claim);
        if others.is_empty() {
            return Ok(opened);
        }
        // Whoever waits has nothing claimed, so nobody waits for ever.
        self.frames.wait(&others);
        let rest: Wanted = others.iter().filter_map(|key| Some((*key, *wanted.get(key)?))).collect();
        opened.extend(self.open_frames(&rest)?);
        Ok(opened)
    }

    /// Reads frames from storage, pack by pack.
    fn read_frames(&self, keys: &[FrameKey], wanted: &Wanted, opened: &mut HashMap<FrameKey, Payloads>) -> Result<()> {
        let storage = &self.repository.storage;
        for keys in keys.chunk_by(|a, b| a.0 == b.0) {
            let (number, pack) = (keys[0].0, self.index.pack(keys[0].0));
            let unknown = keys.iter().filter(|key| !self.recall(**key, wanted, opened));
            let numbers: Vec<u32> = unknown.map(|key| key.1).collect();
            // Where a cache takes what is read, a frame's neighbours come with it.
            let one_by_one = pack.place.area == Area::Meta && storage.has_cache();
            let groups = match one_by_one {
                true => numbers.iter().map(|number| vec![*number]).collect(),
                false => pack.coalesce(&numbers, GAP_BYTES_MAX, FETCH_BYTES_MAX),
            };
            for group in groups {
                let results = read_group(pack, &group, storage)?;
                for (frame, result) in group.iter().zip(results) {
                    self.take_frame((number, *frame), result, wanted, opened)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a frame that a verb before opened. Says whether there was one.
    fn recall(&self, key: FrameKey, wanted: &Wanted, opened: &mut HashMap<FrameKey, Payloads>) -> bool {
        let pack = self.index.pack(key.0);
        let payloads = self.remembered.as_ref().and_then(|remembered| remembered.get((pack.place.id, key.1)));
        let Some(payloads) = payloads else { return false };
        self.frames.put(key, wanted.get(&key), &payloads);
        opened.insert(key, payloads);
        true
    }

    fn take_frame(
        &self,
        key: FrameKey,
        result: Result<Vec<u8>>,
        wanted: &Wanted,
        opened: &mut HashMap<FrameKey, Payloads>,
    ) -> Result<()> {
        match result {
            Ok(payloads) => {
                let payloads = Arc::new(payloads);
                let pack = self.index.pack(key.0);
                let is_node = pack.table.frames().get(key.1 as usize).is_some_and(|frame| frame.kind == FRAME_NODE);
                if let Some(remembered) = self.remembered.as_ref().filter(|_| is_node) {
                    remembered.put((pack.place.id, key.1), &payloads);
                }
                self.frames.put(key, wanted.get(&key), &payloads);
                opened.insert(key, payloads);
            }
            Err(error) if error.is_damage() => {
                self.frames.fail(key);
                let is_whole = matches!(error, Error::Missing { .. });
                self.note_bad(self.index.pack(key.0).place.id, (!is_whole).then_some(key.1));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Reads frames that lie near one another. Where a pack was cut short, those before its end can still be had.
fn read_group(pack: &OpenPack, group: &[u32], storage: &Storage) -> Result<Vec<Result<Vec<u8>>>> {
    let one_by_one = || group.iter().map(|frame| pack.read_frame(*frame, storage)).collect();
    if let [_] = group {
        return Ok(one_by_one());
    }
    match pack.read_frames(group, storage) {
        Err(Error::Missing { object }) => {
            Ok(group.iter().map(|_| Err(Error::Missing { object: object.clone() })).collect())
        }
        Err(error) if error.is_damage() => Ok(one_by_one()),
        results => results,
    }
}
