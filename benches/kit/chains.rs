//! Chunks of a database stored by a rule for patches, as a calculation: what is stored against what, and what that takes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::timed;
use super::trading::PAGE_BYTES;
use super::versions::{Versions, frame, together, unframe};

/// Bytes of a row and an item, with a base and without, and of a leaf that changed: its own row and item, its frame's header, and its share of the levels above.
const PATCH_ROW: usize = 72;
const WHOLE_ROW: usize = 56;
const LEAF: usize = 110;
const LEAF_ITEMS: u32 = 256;
/// Bytes of payloads that are lost together.
pub(crate) const FRAMES: [usize; 2] = [128 << 10, 1 << 20];
/// The closure that a growing price steers to.
const CLOSURE: f64 = 3.0;
/// What a whole chunk takes among others, of what it takes alone.
const WHOLE_SHARE: f64 = 0.8;
const MIB: usize = 1 << 20;
/// The deepest that the format allows.
pub(crate) const DEPTH_MAX: u8 = 32;

/// What a chunk that changed is stored against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// The version before, down to a depth. Where that is reached, or the closure exceeds a bound, the deepest of the step go back.
    Previous { depth: u8, closure: f64, back: Back },
    /// Of its versions since it was whole, counted in a radix, the one with the lowest digit cleared.
    Cleared(usize),
    /// The version before, or the next one below it with a depth less than this.
    Within(u8),
    /// Of the versions 1, 2, 4... back on its chain, the whole one below and itself, what costs least, each chunk more to decode counted as so many bytes. With a closure
    /// given, that price begins at it and has its full size at [`CLOSURE`].
    Priced { bytes: f64, from: Option<f64> },
}

impl fmt::Display for Rule {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Previous { depth, closure, back } if closure.is_finite() => {
                write!(to, "version before; depth {depth}, closure {closure}: {back:?}")
            }
            Self::Previous { depth, back, .. } => write!(to, "version before; depth {depth}: {back:?}"),
            Self::Cleared(radix) if radix > 1000 => write!(to, "last whole version"),
            Self::Cleared(radix) => write!(to, "digits to base {radix}"),
            Self::Within(depth) => write!(to, "within depth {depth}"),
            Self::Priced { bytes, from: Some(from) } => write!(to, "price {bytes} from closure {from}"),
            Self::Priced { bytes, from: None } => write!(to, "price {bytes}"),
        }
    }
}

/// What a chunk that is too deep is stored as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Back {
    Whole,
    /// Against the version that is whole, if that takes less than half of a whole one.
    Root,
}

/// One stored version of a chunk.
#[derive(Clone, Copy)]
struct Stored {
    step: usize,
    /// Place of its base in the chunk's versions.
    base: Option<usize>,
    depth: u8,
    decode: usize,
    /// Place of its payload among those of its step and kind.
    offset: usize,
}

/// Patches of groups of some pages at one level, each made once.
pub(crate) struct Patches<'a> {
    versions: &'a Versions,
    pages: usize,
    pub level: i32,
    made: HashMap<(u32, u16, u16), Box<[u8]>>,
    whole: HashMap<(u32, u16), usize>,
}

impl<'a> Patches<'a> {
    /// Begins with none.
    pub(crate) fn new(versions: &'a Versions, pages: usize, level: i32) -> Self {
        Self { versions, pages, level, made: HashMap::new(), whole: HashMap::new() }
    }

    /// Bytes of a group.
    pub(crate) fn group_bytes(&self) -> usize {
        self.pages * PAGE_BYTES
    }

    fn get(&mut self, group: u32, step: usize, base: usize) -> &[u8] {
        let (versions, pages, level) = (self.versions, self.pages, self.level);
        self.made.entry((group, step as u16, base as u16)).or_insert_with(|| {
            let old = versions.group(group, pages, base);
            frame(level, &old, &versions.group(group, pages, step)).into()
        })
    }

    fn whole(&mut self, group: u32, step: usize) -> usize {
        let (versions, pages, level) = (self.versions, self.pages, self.level);
        *self
            .whole
            .entry((group, step as u16))
            .or_insert_with(|| frame(level, &[], &versions.group(group, pages, step)).len())
    }
}

/// What a rule came to.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Bytes of all steps, with frames of patches as they are.
    pub raw: usize,
    /// The same with patches compressed again, in frames of each of the [`FRAMES`].
    pub packed: [usize; 2],
    pub wholes: usize,
    pub patches: usize,
    /// Of the last step, and the most of any.
    pub closure: f64,
    pub closure_max: f64,
    pub depth: u8,
    /// Chunks of the last step that depend on the worst frame, for each of the [`FRAMES`].
    pub lost: [usize; 2],
    pub chunks: usize,
    /// What decoding all patches of the last step takes.
    pub decode_seconds: f64,
}

/// The chunks of a database and all their stored versions.
struct Chunks<'a, 'b> {
    patches: &'a mut Patches<'b>,
    stored: Vec<Vec<Stored>>,
    decode: usize,
    rule: Rule,
}

impl<'a, 'b> Chunks<'a, 'b> {
    fn new(patches: &'a mut Patches<'b>, rule: Rule) -> Self {
        let mut chunks = Self { patches, stored: Vec::new(), decode: 0, rule };
        let bytes = chunks.patches.pages * PAGE_BYTES;
        for group in 0..chunks.patches.versions.bytes(0).div_ceil(bytes) as u32 {
            chunks.put(group, 0, None, group as usize * bytes);
        }
        chunks
    }

    fn put(&mut self, group: u32, step: usize, base: Option<usize>, offset: usize) {
        let bytes = self.patches.versions.group(group, self.patches.pages, step).len();
        if self.stored.len() <= group as usize {
            self.stored.resize(group as usize + 1, Vec::new());
        }
        let chain = &mut self.stored[group as usize];
        self.decode -= chain.last().map_or(0, |last| last.decode);
        let (depth, below) = base.map_or((0, 0), |base| (chain[base].depth + 1, chain[base].decode));
        chain.push(Stored { step, base, depth, decode: below + bytes, offset });
        self.decode += below + bytes;
    }

    /// The base that the rule wants for the next version of a chunk.
    fn base(&mut self, group: u32, step: usize) -> Option<usize> {
        let chain = self.stored.get(group as usize)?;
        let last = chain.len().checked_sub(1)?;
        let chosen = match self.rule {
            Rule::Priced { bytes, from } => {
                let now = self.decode as f64 / self.patches.versions.bytes(step - 1) as f64;
                let share = from.map_or(1.0, |from| ((now - from) / (CLOSURE - from)).max(0.0));
                return self.cheapest(group, step, bytes * share);
            }
            Rule::Previous { depth, .. } if chain[last].depth < depth => Some(last),
            Rule::Previous { back, .. } => return self.back(group, step, back),
            Rule::Cleared(radix) => {
                let root = root(chain);
                let number = chain.len() - root;
                let mut power = 1;
                while number.is_multiple_of(power * radix) {
                    power *= radix;
                }
                Some(root + number / (power * radix) * (power * radix))
            }
            Rule::Within(depth) => {
                let mut base = last;
                while chain[base].depth >= depth {
                    base = chain[base].base?;
                }
                Some(base)
            }
        };
        let base = chosen?;
        self.worth(group, step, base)
    }

    fn cheapest(&mut self, group: u32, step: usize, price: f64) -> Option<usize> {
        let chain = self.stored[group as usize].clone();
        let (mut place, mut back, mut next) = (chain.len() - 1, 0, 0);
        let mut best = (self.patches.whole(group, step) as f64 * WHOLE_SHARE, None);
        loop {
            let is_root = chain[place].base.is_none();
            if chain[place].depth < DEPTH_MAX && (back == next || is_root) {
                let patch = self.patches.get(group, step, chain[place].step).len() + PATCH_ROW - WHOLE_ROW;
                let cost = patch as f64 + price * f64::from(chain[place].depth + 1);
                if cost < best.0 {
                    best = (cost, Some(place));
                }
            }
            next = if back == next { 2 * next + 1 } else { next };
            back += 1;
            match chain[place].base {
                Some(base) => place = base,
                None => return best.1,
            }
        }
    }

    fn back(&mut self, group: u32, step: usize, back: Back) -> Option<usize> {
        match back {
            Back::Whole => None,
            Back::Root => self.worth(group, step, root(&self.stored[group as usize])),
        }
    }

    /// The base, if the patch against it takes less than half of the whole chunk.
    fn worth(&mut self, group: u32, step: usize, base: usize) -> Option<usize> {
        let at = self.stored[group as usize][base].step;
        let patch = self.patches.get(group, step, at).len();
        // Nothing of a database compresses to an eighth.
        let is_small = 16 * patch < self.patches.pages * PAGE_BYTES;
        (is_small || 2 * patch < self.patches.whole(group, step)).then_some(base)
    }

    /// Stores a step, and adds what that takes.
    fn step(&mut self, step: usize, outcome: &mut Outcome) {
        let changed = self.patches.versions.changed(step, self.patches.pages);
        let mut bases: Vec<(u32, Option<usize>)> =
            changed.iter().map(|group| (*group, self.base(*group, step))).collect();
        if let Rule::Previous { closure, back, .. } = self.rule {
            self.bound(step, closure, back, &mut bases);
        }
        let (mut payloads, mut plain): (Vec<Box<[u8]>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        let mut offsets = [0, 0];
        for (group, base) in bases {
            match base {
                Some(base) => {
                    let at = self.stored[group as usize][base].step;
                    self.put(group, step, Some(base), offsets[0]);
                    payloads.push(self.patches.get(group, step, at).into());
                    offsets[0] += payloads.last().map_or(0, |payload| payload.len());
                }
                None => {
                    self.put(group, step, None, offsets[1]);
                    plain.push(self.patches.versions.group(group, self.patches.pages, step));
                    offsets[1] += self.patches.pages * PAGE_BYTES;
                }
            }
        }
        let leaves = changed.iter().map(|group| group / LEAF_ITEMS).collect::<BTreeSet<_>>().len();
        let fixed = payloads.len() * PATCH_ROW
            + plain.len() * WHOLE_ROW
            + leaves * LEAF
            + together(self.patches.level, MIB, plain.iter().map(Vec::as_slice));
        outcome.raw += fixed + offsets[0] + 32 * offsets[0].div_ceil(FRAMES[0]);
        for (packed, bytes) in outcome.packed.iter_mut().zip(FRAMES) {
            *packed += fixed + together(self.patches.level, bytes, payloads.iter().map(|payload| &**payload));
        }
        outcome.patches += payloads.len();
        outcome.wholes += plain.len();
        let closure = self.decode as f64 / self.patches.versions.bytes(step) as f64;
        outcome.closure = closure;
        outcome.closure_max = outcome.closure_max.max(closure);
    }

    /// Takes the deepest of a step back until all that is decoded is within the bound again.
    fn bound(&mut self, step: usize, closure: f64, back: Back, bases: &mut [(u32, Option<usize>)]) {
        let bytes = self.patches.pages * PAGE_BYTES;
        let added: usize = bases.iter().filter(|(_, base)| base.is_some()).count() * bytes;
        let mut over = (self.decode + added) as f64 - closure * self.patches.versions.bytes(step) as f64;
        let depth =
            |chunks: &Self, group: u32| chunks.stored.get(group as usize).and_then(|c| c.last()).map_or(0, |c| c.depth);
        let mut order: Vec<usize> = (0..bases.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(depth(self, bases[*place].0)));
        for place in order {
            let (group, base) = bases[place];
            if over <= 0.0 || base.is_none() {
                continue;
            }
            let now = self.back(group, step, back);
            let kept = if now.is_some() { 1 } else { 0 };
            over -= ((usize::from(depth(self, group)) + 1 - kept) * bytes) as f64;
            bases[place].1 = now;
        }
    }

    /// How much of the last step's chunks depends on the worst frame of patches.
    fn lost(&self, frame: usize) -> usize {
        let mut dependents: HashMap<(usize, usize), usize> = HashMap::new();
        for chain in &self.stored {
            let (mut place, mut seen) = (chain.len() - 1, Vec::new());
            while let Some(base) = chain[place].base {
                seen.push((chain[place].step, chain[place].offset / frame));
                place = base;
            }
            seen.dedup();
            seen.into_iter().for_each(|frame| *dependents.entry(frame).or_default() += 1);
        }
        dependents.into_values().max().unwrap_or(0)
    }

    /// Decodes all patches that the last step needs.
    fn decode_patches(&mut self) -> f64 {
        let last = self.patches.versions.steps();
        let (bytes, mut seconds) = (self.patches.pages * PAGE_BYTES, 0.0);
        for group in 0..self.stored.len() as u32 {
            let chain = self.stored[group as usize].clone();
            let (mut place, mut way) = (chain.len() - 1, Vec::new());
            while let Some(base) = chain[place].base {
                way.push((chain[place].step, chain[base].step));
                place = base;
            }
            let mut plain = self.patches.versions.group(group, self.patches.pages, chain[place].step);
            for (step, base) in way.into_iter().rev() {
                let payload = self.patches.get(group, step, base).to_vec();
                let ((), took) = timed(|| plain = unframe(&plain, &payload, bytes));
                seconds += took;
            }
            assert!(
                plain == self.patches.versions.group(group, self.patches.pages, last),
                "a chain gives its last version"
            );
        }
        seconds
    }
}

/// The last version that is whole.
fn root(chain: &[Stored]) -> usize {
    chain.iter().rposition(|stored| stored.depth == 0).unwrap_or(0)
}

/// Stores all steps by a rule.
pub(crate) fn play(patches: &mut Patches<'_>, rule: Rule) -> Outcome {
    let steps = patches.versions.steps();
    let mut outcome = Outcome::default();
    let mut chunks = Chunks::new(patches, rule);
    for step in 1..=steps {
        chunks.step(step, &mut outcome);
    }
    outcome.depth = chunks.stored.iter().filter_map(|chain| chain.last()).map(|stored| stored.depth).max().unwrap_or(0);
    outcome.lost = FRAMES.map(|frame| chunks.lost(frame));
    outcome.chunks = chunks.stored.len();
    outcome.decode_seconds = chunks.decode_patches();
    outcome
}
