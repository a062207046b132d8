//! From the system's answers to [`Entry`]: kinds, times, numbers and links.
//!
//! Everything is asked relative to an open directory and without following links, so that no path is resolved twice.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, StatxTimestamp};

use crate::format::constants::*;
use crate::format::tree::{Content, Entry};
use crate::time::Time;

/// Device and inode: the same for all names of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) device: (u32, u32),
    pub(crate) inode: u64,
}

impl Identity {
    /// The same nonzero number for all names of a file; within one device, no two files share it.
    fn link_group(self) -> u64 {
        let device = mix(u64::from(self.device.0) << 32 | u64::from(self.device.1));
        mix(device ^ self.inode).max(1)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What the system says of a file.
#[derive(Clone, Debug)]
pub(in crate::source) struct Stat {
    pub(in crate::source) identity: Identity,
    pub(in crate::source) kind: FileType,
    pub(in crate::source) size_bytes: u64,
    pub(super) allocated_bytes: u64,
    pub(in crate::source) mtime: Time,
    pub(in crate::source) ctime: Time,
    birth: Option<Time>,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    device_number: (u32, u32),
}

impl Stat {
    /// What differs once a file was replaced or written.
    pub(in crate::source) fn looks(&self) -> (Identity, u64, Time, Time) {
        (self.identity, self.size_bytes, self.mtime, self.ctime)
    }

    /// Makes the entry; links still lack their target. `None` for sockets and what else cannot be archived.
    pub(super) fn entry(&self, name: &[u8]) -> Option<Entry> {
        let kind = match self.kind {
            FileType::RegularFile => ENTRY_FILE,
            FileType::Directory => ENTRY_DIRECTORY,
            FileType::Symlink => ENTRY_SYMLINK,
            FileType::Fifo => ENTRY_FIFO,
            FileType::CharacterDevice => ENTRY_CHARACTER_DEVICE,
            FileType::BlockDevice => ENTRY_BLOCK_DEVICE,
            _ => return None,
        };
        let mut entry = Entry::new(kind, name);
        entry.mode = self.mode & 0o7777;
        entry.uid = self.uid;
        entry.gid = self.gid;
        entry.mtime = self.mtime;
        entry.ctime = self.ctime;
        entry.birth = self.birth;
        entry.inode = self.identity.inode;
        if self.links > 1 && kind != ENTRY_DIRECTORY {
            entry.link_group = self.identity.link_group();
        }
        if matches!(kind, ENTRY_CHARACTER_DEVICE | ENTRY_BLOCK_DEVICE) {
            let (major, minor) = self.device_number;
            entry.content = Content::Device { major, minor };
        }
        Some(entry)
    }
}

/// Looks at a name in a directory.
pub(in crate::source) fn stat_at(directory: &OwnedFd, name: &[u8]) -> rustix::io::Result<Stat> {
    stat(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
}

/// Looks at what is open.
pub(in crate::source) fn stat_open(fd: &impl AsFd) -> rustix::io::Result<Stat> {
    stat(fd, "", AtFlags::EMPTY_PATH)
}

/// Looks at a path, links followed.
pub(super) fn stat_followed(path: &Path) -> rustix::io::Result<Stat> {
    stat(CWD, path, AtFlags::empty())
}

fn stat(directory: impl AsFd, name: impl rustix::path::Arg, flags: AtFlags) -> rustix::io::Result<Stat> {
    let found = rustix::fs::statx(directory, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
    let time = |time: StatxTimestamp| Time::new(time.tv_sec, time.tv_nsec);
    let has_birth = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(Stat {
        identity: Identity { device: (found.stx_dev_major, found.stx_dev_minor), inode: found.stx_ino },
        kind: FileType::from_raw_mode(found.stx_mode.into()),
        size_bytes: found.stx_size,
        allocated_bytes: found.stx_blocks.saturating_mul(512),
        mtime: time(found.stx_mtime),
        ctime: time(found.stx_ctime),
        birth: has_birth.then(|| time(found.stx_btime)),
        mode: found.stx_mode.into(),
        uid: found.stx_uid,
        gid: found.stx_gid,
        links: found.stx_nlink,
        device_number: (found.stx_rdev_major, found.stx_rdev_minor),
    })
}
