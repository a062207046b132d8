//! Names of users and groups on this machine, read once.
//!
//! Only `/etc/passwd` and `/etc/group` are asked: a directory service may be slow or away, and numbers restore without it. Each name is shared by all its entries.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::format::tree::OwnerName;
use crate::source::Owner;

type Names = HashMap<u32, Arc<OwnerName>>;

/// The names by number.
#[derive(Debug, Default)]
pub(super) struct Owners {
    users: Names,
    groups: Names,
}

impl Owners {
    /// Reads the machine's files; one that cannot be read names nobody.
    pub(super) fn of_this_machine() -> Self {
        let read = |path: &str| parse(&std::fs::read(Path::new(path)).unwrap_or_default());
        Self { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    pub(super) fn find(&self, uid: u32, gid: u32) -> Owner {
        Owner { user: self.users.get(&uid).cloned(), group: self.groups.get(&gid).cloned() }
    }
}

/// Both files have the name first and the number third. The first name of a number counts, as it does for the system.
fn parse(text: &[u8]) -> Names {
    let mut names = Names::new();
    for line in text.split(|&b| b == b'\n') {
        let mut fields = line.split(|&b| b == b':').map(|field| std::str::from_utf8(field).unwrap_or_default());
        let (Some(name), Some(id)) = (fields.next(), fields.nth(1).and_then(|id| id.parse().ok())) else { continue };
        if !name.is_empty() && !name.starts_with('#') {
            names.entry(id).or_insert_with(|| Arc::new(OwnerName { id, name: name.to_owned() }));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_number_counts() {
        let names = parse(b"root:x:0:0:root:/:/bin/sh\ntoor:x:0:0::/:\n# note:x:1:\nbroken\nx:x:none:\n\xff:x:5:\n");
        assert_eq!(names.len(), 1);
        assert_eq!(names[&0].name, "root");
    }
}
