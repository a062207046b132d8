//! Metadata: owner, mode, extended attributes and times of what was written.
//!
//! A restore goes on without what it may not set, so failures here are clauses for people, not errors. Its invariant: what is changed is what was opened without
//! following a link, and a set-user-id or set-group-id bit never comes with another owner than the archived one.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::directory::{Directory, Found, Newborn, check};
use crate::format::constants::{ENTRY_DIRECTORY, ENTRY_FILE, ENTRY_SYMLINK};
use crate::format::tree::{Attribute, Entry};
use crate::words::printable;

const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;
const SET_IDS: u32 = SET_USER_ID | SET_GROUP_ID;

/// What of an entry's metadata is applied; mode, attributes and times always are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applying {
    /// Owner and group, by their numbers.
    pub(crate) ownership: bool,
}

impl Directory {
    /// Gives what stands under a name the metadata of an entry, and returns what could not be given, a clause each.
    pub(crate) fn apply(&self, name: &[u8], entry: &Entry, applying: &Applying) -> Vec<String> {
        if check(name).is_err() {
            return vec!["its name is not one component of a path".to_owned()];
        }
        // A descriptor of the place alone: it needs no right to read, waits for no fifo and wakes no device.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(self.fd(), name, flags, Mode::empty()) {
            Ok(fd) => apply(&Handle::place(fd.as_fd()), entry, applying),
            Err(error) => vec![clause("find it again", error)],
        }
    }

    /// Gives the directory itself the metadata of an entry.
    pub(crate) fn apply_to_self(&self, entry: &Entry, applying: &Applying) -> Vec<String> {
        apply(&Handle::Open(self.fd()), entry, applying)
    }

    /// Gives a file that was just made in this directory the metadata of an entry. All files that this process makes here begin alike, so only the first is looked at, and an owner is set only
    /// where it differs.
    pub(crate) fn apply_to_new(&self, file: &File, entry: &Entry, applying: &Applying) -> Vec<String> {
        let handle = Handle::Open(file.as_fd());
        let newborn = match self.newborn().get() {
            Some(newborn) => Some(*newborn),
            None => handle.newborn().ok().map(|newborn| *self.newborn().get_or_init(|| newborn)),
        };
        let is_plain = entry.kind == ENTRY_FILE && entry.attributes.is_empty() && entry.mode & SET_IDS == 0;
        let Some(newborn) = newborn.filter(|newborn| is_plain && !newborn.has_attributes) else {
            return apply(&handle, entry, applying);
        };
        let mut messages = Vec::new();
        if applying.ownership && (newborn.uid, newborn.gid) != (entry.uid, entry.gid) {
            messages.extend(apply_owner(&handle, entry));
        }
        let mode = Mode::from_raw_mode(entry.mode & 0o7777);
        messages.extend(handle.set_mode(mode).err().map(|error| clause("set its mode", error)));
        messages.extend(apply_times(&handle, entry));
        messages
    }
}

/// Gives an open file the metadata of an entry.
pub(crate) fn apply_to_file(file: &File, entry: &Entry, applying: &Applying) -> Vec<String> {
    apply(&Handle::Open(file.as_fd()), entry, applying)
}

fn apply(handle: &Handle<'_>, entry: &Entry, applying: &Applying) -> Vec<String> {
    let mut messages = Vec::new();
    let found = match handle.look() {
        Ok(found) if found.kind == entry.kind => found,
        Ok(_) => return vec!["it is of another kind now".to_owned()],
        Err(error) => return vec![clause("examine it", error)],
    };
    // The system takes the set-id bits and the capabilities away with a change of owner: it comes first.
    if applying.ownership {
        messages.extend(apply_owner(handle, entry));
    }
    // Attributes of the user need the right to write, which the mode may be about to take; an access list must find the mode in place.
    let (users, others): (Vec<_>, Vec<_>) = entry.attributes.iter().partition(|a| a.name.starts_with(b"user."));
    let present = names_of_attributes(handle, entry, &mut messages);
    if let Some(present) = &present {
        remove_attributes(handle, entry, present, &mut messages);
        set_attributes(handle, &users, present, &mut messages);
    }
    if entry.kind != ENTRY_SYMLINK {
        messages.extend(apply_mode(handle, entry, found));
    }
    if let Some(present) = &present {
        set_attributes(handle, &others, present, &mut messages);
    }
    messages.extend(apply_times(handle, entry));
    messages
}

fn apply_times(handle: &Handle<'_>, entry: &Entry) -> Option<String> {
    handle.set_times(entry).err().map(|error| clause("set its times", error))
}

fn apply_owner(handle: &Handle<'_>, entry: &Entry) -> Option<String> {
    // The system takes the highest number for "as it is".
    let user = (entry.uid != u32::MAX).then(|| Uid::from_raw(entry.uid));
    let group = (entry.gid != u32::MAX).then(|| Gid::from_raw(entry.gid));
    let error = handle.set_owner(user, group).err()?;
    // Whoever may not give files away may still give them to a group of his own; a failure of that adds nothing to say.
    let _ = handle.set_owner(None, group);
    Some(clause(&format!("set its owner {}:{}", entry.uid, entry.gid), error))
}

fn apply_mode(handle: &Handle<'_>, entry: &Entry, before: Found) -> Option<String> {
    let mut mode = entry.mode & 0o7777;
    let mut message = None;
    if entry.kind != ENTRY_DIRECTORY && mode & SET_IDS != 0 {
        // The bits lend the rights of the archived owner. Those of another were never lent.
        let now = handle.look().unwrap_or(before);
        let foreign_user = if now.uid == entry.uid { 0 } else { SET_USER_ID };
        let foreign_group = if now.gid == entry.gid { 0 } else { SET_GROUP_ID };
        if mode & (foreign_user | foreign_group) != 0 {
            mode &= !(foreign_user | foreign_group);
            message = Some("its set-id bits are left out, for its owner is another".to_owned());
        }
    }
    handle.set_mode(Mode::from_raw_mode(mode)).err().map(|error| clause("set its mode", error)).or(message)
}

/// The names of the attributes that are there; `None` where none can be.
fn names_of_attributes(handle: &Handle<'_>, entry: &Entry, messages: &mut Vec<String>) -> Option<Vec<Vec<u8>>> {
    match handle.attributes() {
        Ok(names) => Some(names),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) if entry.attributes.is_empty() => None,
        Err(error) => {
            messages.push(clause("set its attributes", error));
            None
        }
    }
}

/// Removes what the entry has not: attributes of users, and access lists that came from the directory.
fn remove_attributes(handle: &Handle<'_>, entry: &Entry, present: &[Vec<u8>], messages: &mut Vec<String>) {
    for name in present.iter().filter(|name| is_ours(name)) {
        if entry.attributes.iter().all(|attribute| attribute.name != *name)
            && let Err(error) = handle.remove_attribute(name)
        {
            messages.push(clause(&format!("remove its attribute {}", printable(name)), error));
        }
    }
}

/// Whether an attribute is one that a restore removes where the entry does not have it.
fn is_ours(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")
}

fn set_attributes(handle: &Handle<'_>, attributes: &[&Attribute], present: &[Vec<u8>], messages: &mut Vec<String>) {
    for Attribute { name, value } in attributes {
        // One that is right already stays, for the right to set it may be missing.
        if present.contains(name) && handle.attribute(name, value.len()).is_ok_and(|now| now == *value) {
            continue;
        }
        if let Err(error) = handle.set_attribute(name, value) {
            messages.push(clause(&format!("set its attribute {}", printable(name)), error));
        }
    }
}

fn clause(action: &str, error: Errno) -> String {
    let reason = match error {
        Errno::PERM | Errno::ACCESS => "not permitted".to_owned(),
        Errno::OPNOTSUPP => "not supported here".to_owned(),
        error => std::io::Error::from(error).to_string(),
    };
    format!("cannot {action}: {reason}")
}

/// Something whose metadata is set.
enum Handle<'a> {
    /// Through a descriptor that is open for reading or writing.
    Open(BorrowedFd<'a>),
    /// Through a descriptor of the place. The path leads to it, by way of the system's list of descriptors: calls that take none of this sort follow it to exactly
    /// what the descriptor holds, a symbolic link included, and not further.
    Place(BorrowedFd<'a>, String),
}

impl<'a> Handle<'a> {
    fn place(fd: BorrowedFd<'a>) -> Self {
        Handle::Place(fd, format!("/proc/self/fd/{}", fd.as_raw_fd()))
    }

    fn look(&self) -> Result<Found, Errno> {
        let (Handle::Open(fd) | Handle::Place(fd, _)) = self;
        Ok(Found::new(&rustix::fs::fstat(fd)?))
    }

    /// What a file that was just made began with.
    fn newborn(&self) -> Result<Newborn, Errno> {
        let found = self.look()?;
        let has_attributes = match self.attributes() {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => false,
            names => names?.iter().any(|name| is_ours(name)),
        };
        Ok(Newborn { uid: found.uid, gid: found.gid, has_attributes })
    }

    fn set_owner(&self, user: Option<Uid>, group: Option<Gid>) -> Result<(), Errno> {
        match self {
            Handle::Open(fd) => rustix::fs::fchown(fd, user, group),
            Handle::Place(fd, _) => rustix::fs::chownat(fd, "", user, group, AtFlags::EMPTY_PATH),
        }
    }

    fn set_mode(&self, mode: Mode) -> Result<(), Errno> {
        match self {
            Handle::Open(fd) => rustix::fs::fchmod(fd, mode),
            Handle::Place(_, path) => rustix::fs::chmodat(CWD, path, mode, AtFlags::empty()),
        }
    }

    fn set_times(&self, entry: &Entry) -> Result<(), Errno> {
        let nanoseconds = i64::from(entry.mtime.nanoseconds);
        #[allow(clippy::useless_conversion)]
        let time = Timespec { tv_sec: entry.mtime.seconds, tv_nsec: nanoseconds.try_into().unwrap_or(0) };
        let times = Timestamps { last_access: time, last_modification: time };
        match self {
            Handle::Open(fd) => rustix::fs::futimens(fd, &times),
            Handle::Place(_, path) => rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()),
        }
    }

    fn attributes(&self) -> Result<Vec<Vec<u8>>, Errno> {
        // The system keeps lists below this.
        let mut list = Vec::with_capacity(64 << 10);
        match self {
            Handle::Open(fd) => rustix::fs::flistxattr(fd, spare_capacity(&mut list))?,
            Handle::Place(_, path) => rustix::fs::listxattr(path, spare_capacity(&mut list))?,
        };
        Ok(list.split(|&b| b == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// The value of an attribute, if it is not longer than expected.
    fn attribute(&self, name: &[u8], length: usize) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0; length + 1];
        let length = match self {
            Handle::Open(fd) => rustix::fs::fgetxattr(fd, name, &mut value[..])?,
            Handle::Place(_, path) => rustix::fs::getxattr(path, name, &mut value[..])?,
        };
        value.truncate(length);
        Ok(value)
    }

    fn set_attribute(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Handle::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Handle::Place(_, path) => rustix::fs::setxattr(path, name, value, XattrFlags::empty()),
        }
    }

    fn remove_attribute(&self, name: &[u8]) -> Result<(), Errno> {
        match self {
            Handle::Open(fd) => rustix::fs::fremovexattr(fd, name),
            Handle::Place(_, path) => rustix::fs::removexattr(path, name),
        }
    }
}

#[cfg(test)]
mod tests;
