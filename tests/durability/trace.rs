//! The system calls of a traced run, as far as they concern durability.

use std::collections::HashMap;

/// A call that ended well, in the order of endings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Bytes were written to a file.
    Write(String),
    /// A file or directory was synced.
    Sync(String),
    /// A file got its name.
    Rename(String, String),
    /// A directory was made.
    Make(String),
}

/// Parses what `strace -f -y` wrote. A call that another thread's interrupted counts when it is resumed.
pub(crate) fn parse(log: &str) -> Vec<Call> {
    let mut unfinished: HashMap<&str, String> = HashMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, begun.to_owned());
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let end = resumed.split_once("resumed>").map_or("", |(_, end)| end);
            let whole = unfinished.remove(thread).unwrap_or_default() + end;
            calls.extend(parse_call(&whole));
        } else {
            calls.extend(parse_call(rest));
        }
    }
    calls
}

fn parse_call(text: &str) -> Option<Call> {
    let (call, result) = text.rsplit_once(" = ")?;
    let failed = result.trim_start().starts_with('-');
    let (name, arguments) = call.split_once('(')?;
    let quoted: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
    match name {
        _ if failed => None,
        "write" | "pwrite64" => Some(Call::Write(descriptor(arguments)?)),
        "fsync" | "fdatasync" => Some(Call::Sync(descriptor(arguments)?)),
        "rename" | "renameat" | "renameat2" => {
            Some(Call::Rename((*quoted.first()?).to_owned(), (*quoted.get(1)?).to_owned()))
        }
        "mkdir" | "mkdirat" => Some(Call::Make((*quoted.first()?).to_owned())),
        _ => None,
    }
}

/// The path that `-y` shows behind a descriptor's number.
fn descriptor(arguments: &str) -> Option<String> {
    let (_, rest) = arguments.split_once('<')?;
    Some(rest.split_once('>')?.0.to_owned())
}

/// Says what is wrong with the order of calls for the objects below `repository`, if anything is: every object must be written, synced, renamed, and its directory synced
/// after the rename, and every directory made must be synced in its parent, all before the ledger entry gets its name.
pub(crate) fn violations(calls: &[Call], repository: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let entry = calls
        .iter()
        .rposition(|call| matches!(call, Call::Rename(_, to) if to.starts_with(&format!("{repository}/ledger/"))));
    let Some(entry) = entry else { return vec!["no ledger entry got its name".to_owned()] };
    for (place, call) in calls.iter().enumerate() {
        match call {
            Call::Rename(from, to) if to.starts_with(repository) => {
                let last_write = calls[..place].iter().rposition(|call| *call == Call::Write(from.clone()));
                let synced = calls[..place].iter().rposition(|call| *call == Call::Sync(from.clone()));
                if last_write.is_none() || synced <= last_write {
                    wrong.push(format!("{to} got its name before its bytes were synced"));
                }
                let until = if place == entry { calls.len() } else { entry };
                if place > entry || !calls[place..until].contains(&Call::Sync(parent(to))) {
                    wrong.push(format!("the directory of {to} was not synced in time"));
                }
            }
            Call::Make(directory)
                if directory.starts_with(repository)
                    && place < entry
                    && !calls[place..entry].contains(&Call::Sync(parent(directory))) =>
            {
                wrong.push(format!("the parent of {directory} was not synced in time"));
            }
            _ => {}
        }
    }
    wrong
}

/// The directory that a path lies in.
pub(crate) fn parent(path: &str) -> String {
    path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned()
}
