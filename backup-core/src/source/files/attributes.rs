//! Extended attributes of a file, listed and read.
//!
//! Most files have none, and for those one call must do. What a file system does not support, or its policy hides, counts as absent.

use std::io;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::format::tree::Attribute;
use crate::limits::{ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX};

/// Room for the first try; few lists and values are longer.
const FIRST_BYTES: usize = 256;

/// What has attributes.
pub(super) trait Attributed {
    /// Appends the names, each ended by a zero byte, to an empty list with room.
    fn list(&self, list: &mut Vec<u8>) -> rustix::io::Result<usize>;

    /// Appends the value of one to an empty value with room.
    fn get(&self, name: &[u8], value: &mut Vec<u8>) -> rustix::io::Result<usize>;
}

/// An open file or directory.
pub(super) struct Open<'a>(pub(super) &'a OwnedFd);

/// A path whose last component is not followed.
pub(super) struct Named<'a>(pub(super) &'a [u8]);

impl Attributed for Open<'_> {
    fn list(&self, list: &mut Vec<u8>) -> rustix::io::Result<usize> {
        rustix::fs::flistxattr(self.0, spare_capacity(list))
    }

    fn get(&self, name: &[u8], value: &mut Vec<u8>) -> rustix::io::Result<usize> {
        rustix::fs::fgetxattr(self.0, name, spare_capacity(value))
    }
}

impl Attributed for Named<'_> {
    fn list(&self, list: &mut Vec<u8>) -> rustix::io::Result<usize> {
        rustix::fs::llistxattr(self.0, spare_capacity(list))
    }

    fn get(&self, name: &[u8], value: &mut Vec<u8>) -> rustix::io::Result<usize> {
        rustix::fs::lgetxattr(self.0, name, spare_capacity(value))
    }
}

/// Reads all attributes, sorted by name.
pub(super) fn read(from: &impl Attributed) -> io::Result<Vec<Attribute>> {
    let list = match with_room(|list| from.list(list)) {
        Err(Errno::NOTSUP | Errno::PERM) => return Ok(Vec::new()),
        list => list?,
    };
    let mut names: Vec<&[u8]> = list.split(|&b| b == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    let mut attributes = Vec::with_capacity(names.len());
    let mut total_bytes = 0;
    for name in names {
        let value = match with_room(|value| from.get(name, value)) {
            // It went away since it was listed, or is listed without being readable here.
            Err(Errno::NODATA | Errno::NOTSUP) => continue,
            value => value?,
        };
        total_bytes += (name.len() + value.len()) as u64;
        attributes.push(Attribute { name: name.to_vec(), value });
        if total_bytes > ATTRIBUTES_BYTES_MAX || attributes.len() as u64 > ATTRIBUTES_MAX {
            return Err(io::Error::other("there are more attributes than the format can hold"));
        }
    }
    Ok(attributes)
}

/// Tries with more and more room while the system says that it does not suffice.
fn with_room(mut call: impl FnMut(&mut Vec<u8>) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut room_bytes = FIRST_BYTES;
    loop {
        let mut bytes = Vec::with_capacity(room_bytes);
        match call(&mut bytes) {
            Err(Errno::RANGE) if (room_bytes as u64) < ATTRIBUTES_BYTES_MAX => room_bytes *= 16,
            Err(error) => return Err(error),
            Ok(_) => return Ok(bytes),
        }
    }
}
