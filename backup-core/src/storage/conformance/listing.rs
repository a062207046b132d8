//! Promises about lists, which may lag, and about times, which may differ.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Probe;
use super::trial::{Trial, Verdict};
use crate::error::Result;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "list_after_write",
        words: "a list shows at once what was written",
        required: false,
        meaning: "A snapshot may show a little later on other machines than on the one that made it. Nothing is lost.",
        attempt: list_after_write,
    },
    Probe {
        name: "list_below_prefix",
        words: "a list below a prefix shows what lies there, at any depth, and nothing else",
        required: true,
        meaning: "Objects are mistaken for others, or are never found.",
        attempt: list_below_prefix,
    },
    Probe {
        name: "list_of_nothing",
        words: "a list of a prefix that nothing lies below is empty",
        required: true,
        meaning: "A new repository cannot be told from one that is out of reach.",
        attempt: list_of_nothing,
    },
    Probe {
        name: "list_of_everything",
        words: "a list of everything includes what was written",
        required: false,
        meaning: "Copies and checks of the whole storage may miss objects for a while.",
        attempt: list_of_everything,
    },
    Probe {
        name: "list_after_delete",
        words: "a list no longer shows what was deleted",
        required: false,
        meaning: "Checks may report objects as missing that were deleted on purpose a moment ago.",
        attempt: list_after_delete,
    },
    Probe {
        name: "receive_time",
        words: "the storage says when it received an object, by a clock that agrees with the one here",
        required: false,
        meaning: "The ledger cannot use the storage's clock as a second witness of when a backup was made.",
        attempt: receive_time,
    },
];

/// Most seconds between two clocks that agree.
const CLOCKS_AGREE_SECONDS: i64 = 60;

/// Writes objects below a prefix; returns their names and lengths.
fn fill(trial: &Trial<'_>, below: &str, names: &[&str]) -> Result<BTreeMap<String, u64>> {
    let mut written = BTreeMap::new();
    for (number, name) in names.iter().enumerate() {
        let (name, length) = (trial.name(&format!("{below}{name}")), 10 + number);
        trial.write(&name, trial.content("list", length))?;
        written.insert(name, length as u64);
    }
    Ok(written)
}

fn listed(trial: &Trial<'_>, prefix: &str) -> Result<BTreeMap<String, u64>> {
    let found = trial.storage.list(prefix)?;
    Ok(found.into_iter().map(|info| (info.name, info.length_bytes)).collect())
}

/// Lists until a list is as it should be, or patience is at its end. Returns how many seconds it took, and whether it came to it.
fn wait_until(trial: &Trial<'_>, prefix: &str, fits: impl Fn(&BTreeMap<String, u64>) -> bool) -> Result<(f64, bool)> {
    let start = Instant::now();
    loop {
        let is_there = fits(&listed(trial, prefix)?);
        if is_there || !trial.wait_for_list() {
            return Ok((start.elapsed().as_secs_f64(), is_there));
        }
    }
}

fn list_after_write(trial: &Trial<'_>) -> Result<Verdict> {
    let written = fill(trial, "list/", &["a", "b/c", "b/d", "e-f/g/h"])?;
    let prefix = trial.name("list/");
    let missing = |found: &BTreeMap<String, u64>| written.keys().filter(|name| !found.contains_key(*name)).count();
    let first = missing(&listed(trial, &prefix)?);
    if first == 0 {
        return Ok(Verdict::Holds);
    }
    let all = written.len();
    Ok(Verdict::Broken(match wait_until(trial, &prefix, |found| missing(found) == 0)? {
        (waited, true) => {
            format!("lists lag: {first} of {all} objects were missing at first, and shown {waited:.1} s later")
        }
        (waited, false) => format!("lists lag: after {waited:.1} s not all of {all} objects were shown"),
    }))
}

fn list_below_prefix(trial: &Trial<'_>) -> Result<Verdict> {
    let inside = fill(trial, "prefix/in/", &["1", "2/3/4/5", "6"])?;
    fill(trial, "prefix/", &["in-between", "in-/1", "inner/1", "i", "other"])?;
    let prefix = trial.name("prefix/in/");
    for (name, length) in listed(trial, &prefix)? {
        match inside.get(&name) {
            Some(&written) if written == length => {}
            Some(written) => {
                return Ok(Verdict::Broken(format!("{name} has {written} bytes, and is listed with {length}")));
            }
            None => return Ok(Verdict::Broken(format!("{name} was listed below {prefix}"))),
        }
    }
    let (waited, is_whole) = wait_until(trial, &prefix, |found| found.len() == inside.len())?;
    Ok(match is_whole {
        true => Verdict::Holds,
        false => Verdict::Unknown(format!("after {waited:.1} s the list was not complete yet")),
    })
}

fn list_of_nothing(trial: &Trial<'_>) -> Result<Verdict> {
    let found = listed(trial, &trial.name("never/written/"))?;
    Ok(match found.keys().next() {
        None => Verdict::Holds,
        Some(name) => Verdict::Broken(format!("{name} was listed")),
    })
}

fn list_of_everything(trial: &Trial<'_>) -> Result<Verdict> {
    let written = fill(trial, "everything/", &["1"])?;
    let (waited, is_there) = wait_until(trial, "", |found| written.keys().all(|name| found.contains_key(name)))?;
    Ok(match is_there {
        true => Verdict::Holds,
        false => Verdict::Broken(format!("after {waited:.1} s an object was not shown")),
    })
}

fn list_after_delete(trial: &Trial<'_>) -> Result<Verdict> {
    let written = fill(trial, "gone/", &["1", "2"])?;
    for name in written.keys() {
        trial.storage.delete(name)?;
    }
    let prefix = trial.name("gone/");
    if listed(trial, &prefix)?.is_empty() {
        return Ok(Verdict::Holds);
    }
    Ok(Verdict::Broken(match wait_until(trial, &prefix, BTreeMap::is_empty)? {
        (waited, true) => format!("lists lag: deleted objects were shown for {waited:.1} s more"),
        (waited, false) => format!("lists lag: deleted objects were still shown after {waited:.1} s"),
    }))
}

fn receive_time(trial: &Trial<'_>) -> Result<Verdict> {
    let Some(ahead) = measure_clock(trial)? else {
        return Ok(Verdict::Unknown("the storage tells no times".to_owned()));
    };
    let _ = trial.clock_ahead_seconds.set(ahead);
    let what = match ahead {
        0 => "both clocks show the same second".to_owned(),
        1.. => format!("the storage's clock is {ahead} s ahead"),
        _ => format!("the storage's clock is {} s behind", -ahead),
    };
    Ok(if ahead.abs() <= CLOCKS_AGREE_SECONDS { Verdict::HoldsAs(what) } else { Verdict::Broken(what) })
}

/// By how many seconds the storage's clock is ahead of ours.
fn measure_clock(trial: &Trial<'_>) -> Result<Option<i64>> {
    let name = trial.name("time");
    let before = trial.options.environment.now();
    trial.write(&name, trial.content("time", 10))?;
    let after = trial.options.environment.now();
    let Some(received) = trial.storage.stat(&name)?.and_then(|info| info.modified) else { return Ok(None) };
    // Anything within the write is no difference.
    let nearest = received.seconds.clamp(before.seconds, after.seconds);
    Ok(Some(received.seconds - nearest))
}
