//! How an entry of a snapshot looks: a line such as `ls -l` prints, or an item of a document.

use backup_core::environment::Environment;
use backup_core::format::constants::{
    ENTRY_BLOCK_DEVICE, ENTRY_CHARACTER_DEVICE, ENTRY_DIRECTORY, ENTRY_FIFO, ENTRY_FILE, ENTRY_SYMLINK,
};
use backup_core::format::tree::{Content, Entry};
use backup_core::ops::list::Listed;
use backup_core::time::Time;
use backup_core::words::printable;
use serde::Serialize;

use super::{JsonPath, lossy};

/// An entry in a document.
#[derive(Serialize)]
pub(crate) struct JsonEntry {
    #[serde(flatten)]
    path: JsonPath,
    kind: &'static str,
    mode: u32,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    size_bytes: u64,
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_target: Option<String>,
}

impl JsonEntry {
    /// Takes an entry.
    pub(crate) fn new(listed: &Listed) -> Self {
        let entry = &listed.entry;
        let link_target = match &entry.content {
            Content::Link { target } => Some(lossy(target)),
            _ => None,
        };
        Self {
            path: JsonPath::new(&listed.path),
            kind: kind(entry).0,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            user: listed.user.clone(),
            group: listed.group.clone(),
            size_bytes: size_bytes(entry),
            mtime: entry.mtime.to_rfc3339(0),
            link_target,
        }
    }
}

/// A line for people.
pub(crate) fn line(listed: &Listed, environment: &Environment) -> String {
    let entry = &listed.entry;
    let owner = |name: &Option<String>, number: u32| match name {
        Some(name) => printable(name.as_bytes()),
        None => number.to_string(),
    };
    let target = match &entry.content {
        Content::Link { target } => format!(" -> {}", printable(target)),
        _ => String::new(),
    };
    format!(
        "{} {:<8} {:<8} {:>12} {} {}{target}",
        mode(entry),
        owner(&listed.user, entry.uid),
        owner(&listed.group, entry.gid),
        size_bytes(entry),
        local_time(entry.mtime, environment),
        printable(&listed.path),
    )
}

/// A moment in local time: `2025-01-05 14:30:00`.
pub(crate) fn local_time(time: Time, environment: &Environment) -> String {
    let text = time.to_rfc3339(environment.zone_offset_seconds(time));
    match (text.get(..10), text.get(11..19)) {
        (Some(date), Some(clock)) if !text.starts_with('-') => format!("{date} {clock}"),
        _ => text,
    }
}

/// The word for a kind, and the letter that `ls` gives it.
fn kind(entry: &Entry) -> (&'static str, char) {
    match entry.kind {
        ENTRY_FILE => ("file", '-'),
        ENTRY_DIRECTORY => ("directory", 'd'),
        ENTRY_SYMLINK => ("symlink", 'l'),
        ENTRY_FIFO => ("fifo", 'p'),
        ENTRY_CHARACTER_DEVICE => ("character_device", 'c'),
        ENTRY_BLOCK_DEVICE => ("block_device", 'b'),
        _ => ("unknown", '?'),
    }
}

fn mode(entry: &Entry) -> String {
    let mut text = String::from(kind(entry).1);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = entry.mode >> shift;
        let is_executable = bits & 1 != 0;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (entry.mode & special != 0, is_executable) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn size_bytes(entry: &Entry) -> u64 {
    match &entry.content {
        Content::Tree { .. } => 0,
        Content::Link { target } => target.len() as u64,
        content => content.sums().plaintext_bytes,
    }
}
