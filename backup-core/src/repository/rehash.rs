//! Decodes patches only to see that they are what their tables say: chains that begin at one chunk lie together, so that each link is decoded once, whatever was made from it.

use super::fetch::{Bases, Group};
use super::load::Loader;
use crate::error::Result;
use crate::index::Location;

/// Bytes of frames that one worker has open.
const GROUP_BYTES_MAX: u64 = 16 << 20;
/// Patches that are sorted at a time. What lies in several such lots is decoded in each.
const LOT: usize = 1 << 20;

impl Loader<'_> {
    /// Decodes what stands at locations of patches, and compares its name with their prefixes. What is at fault is noted as bad; a patch without a base shows in the tables.
    ///
    /// # Errors
    /// [`crate::Error::Storage`], [`crate::Error::Interrupted`].
    pub(crate) fn rehash(&self, patches: impl IntoIterator<Item = Location>) -> Result<()> {
        let mut patches = patches.into_iter().peekable();
        while patches.peek().is_some() {
            let rooted = patches.by_ref().take(LOT).filter_map(|patch| {
                let chain = self.index.chain(patch)?;
                Some((chain[0], self.index.depth(patch), patch))
            });
            let mut rooted: Vec<(Location, u8, Location)> = rooted.collect();
            self.repository.workers.sort_by_key(&mut rooted, |rooted| *rooted);
            let mut rooted = rooted.into_iter().map(|(_, _, patch)| patch).peekable();
            // A few groups at a time, so that memory is bounded and a stop is heard.
            while rooted.peek().is_some() {
                self.repository.options.cancel.check()?;
                let groups: Vec<Group> =
                    (0..self.repository.workers.count()).map(|_| self.next_group(&mut rooted)).collect();
                let results = self.repository.workers.map(groups, |group| self.rehash_group(&group));
                results.into_iter().collect::<Result<()>>()?;
            }
        }
        Ok(())
    }

    fn next_group(&self, patches: &mut std::iter::Peekable<impl Iterator<Item = Location>>) -> Group {
        let mut group = Group::default();
        while let Some(patch) = patches.peek() {
            if let Some(links) = self.links(*patch) {
                if group.is_full_with(&links, self, GROUP_BYTES_MAX) {
                    return group;
                }
                group.add(links, self);
            }
            patches.next();
        }
        group
    }

    fn rehash_group(&self, group: &Group) -> Result<()> {
        let frames = self.open_frames(&group.wanted())?;
        let mut bases = Bases::new(group, &frames);
        let mut root = None;
        for links in &group.chains {
            let (Some(first), Some(own)) = (links.first(), links.last()) else { continue };
            if root.replace(first.location) != Some(first.location) {
                bases.forget();
            }
            let is_right = |plaintext: Vec<u8>| self.is_prefixed(own.location, &plaintext);
            if bases.decode(links).is_some_and(is_right) {
                continue;
            }
            // Another way may lead there; and if none does, it must be known what is at fault.
            match self.decode_at(own.location) {
                Err(error) if !error.is_damage() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
