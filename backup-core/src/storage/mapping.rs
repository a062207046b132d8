//! Files mapped into memory, to be read; the owner of `memmap2`, and the one place of the library with `unsafe`.

use std::fs::File;
use std::ops::Deref;

use memmap2::{Mmap, MmapOptions};

/// The bytes of a file, which the system reads when they are looked at and takes away when it needs the room.
pub(crate) struct Mapping(Mmap);

impl Mapping {
    /// Maps a whole file of the cache; `None` where that is impossible.
    ///
    /// What a mapping needs is that nobody changes or cuts the file while it is there. This is so for files that [`super::folder`] publishes, and only those are mapped: they are written under
    /// another name, renamed when they are complete, and from there on only ever unlinked, which leaves a mapping as it is. They lie in a directory that is the user's alone.
    #[allow(unsafe_code, reason = "a mapping cannot be had without; the proof stands with it")]
    pub(super) fn of_published(file: &File) -> Option<Self> {
        // SAFETY: the file is never written or cut again, by the protocol above, so what the slice refers to does not change. Who breaks the protocol on purpose is the user himself: he could as
        // well write to the process's memory. Still nothing here relies on what the bytes say: users hold them as plain numbers for which every bit pattern is valid, look things up with bounds
        // checked, and compare a keyed hash of each block before they first use it. So bytes that change later can lead to a wrong number and never out of bounds; a file that is cut ends the
        // process by a signal.
        unsafe { MmapOptions::new().map(file) }.ok().map(Self)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
