//! Promises about reading: all of what was written, ranges of it, and what is not there.

use super::Probe;
use super::trial::{Trial, Verdict};
use crate::error::{Error, Result};

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "read_after_write",
        words: "what a write returned for can be read at once, whole",
        required: true,
        meaning: "A backup that was reported as done may not be restorable. Do not keep a repository here.",
        attempt: read_after_write,
    },
    Probe {
        name: "range_reads",
        words: "any range of an object can be read, up to its last byte, and none beyond",
        required: true,
        meaning: "Files cannot be restored one by one, or come back as damaged, although their bytes are there.",
        attempt: range_reads,
    },
    Probe {
        name: "missing_is_missing",
        words: "what is not there is said not to be there, at once",
        required: true,
        meaning: "Lost objects are not noticed, or every look for one takes minutes.",
        attempt: missing_is_missing,
    },
    Probe {
        name: "true_lengths",
        words: "looking up an object tells its true length",
        required: true,
        meaning: "Copies and checks mistake whole objects for damaged ones, or the other way round.",
        attempt: true_lengths,
    },
    Probe {
        name: "large_object",
        words: "a large object is kept as well as a small one",
        required: true,
        meaning: "Packs are lost or cut off. A limit of the server, or of a proxy before it, may be too small.",
        attempt: large_object,
    },
    Probe {
        name: "layout_names",
        words: "all names that a repository needs can be used",
        required: true,
        meaning: "Some objects of a repository cannot be stored, or are mistaken for others.",
        attempt: layout_names,
    },
];

fn verdict(problem: Option<String>) -> Verdict {
    problem.map_or(Verdict::Holds, Verdict::Broken)
}

fn read_after_write(trial: &Trial<'_>) -> Result<Verdict> {
    for length in [1, 96, 4096, 100_001] {
        let problem = trial.round_trip(&trial.name(&format!("read/{length}")), trial.content("read", length))?;
        if problem.is_some() {
            return Ok(verdict(problem));
        }
    }
    Ok(Verdict::Holds)
}

fn range_reads(trial: &Trial<'_>) -> Result<Verdict> {
    const LENGTH: usize = 300_000;
    let (name, content) = (trial.name("range"), trial.content("range", LENGTH));
    trial.write(&name, content.clone())?;
    for (offset, length) in [(0, 1), (0, LENGTH), (LENGTH / 2, 4096), (LENGTH - 1, 1), (LENGTH - 96, 96)] {
        let what = format!("{length} bytes from byte {offset} of {LENGTH}");
        match trial.storage.read_range(&name, offset as u64, length as u64) {
            Ok(found) if found == content[offset..offset + length] => {}
            Ok(_) => return Ok(Verdict::Broken(format!("{what} came back as other bytes"))),
            Err(Error::Damaged { .. }) => return Ok(Verdict::Broken(format!("{what} came back as fewer"))),
            Err(error) => return Err(error),
        }
    }
    for (offset, length) in [(LENGTH - 1, 2), (LENGTH, 1), (10 * LENGTH, 4096)] {
        match trial.storage.read_range(&name, offset as u64, length as u64) {
            Err(Error::Damaged { .. }) => {}
            Ok(_) => {
                let what = format!("{length} bytes from byte {offset} of {LENGTH} came back as if they were there");
                return Ok(Verdict::Broken(what));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Verdict::Holds)
}

fn missing_is_missing(trial: &Trial<'_>) -> Result<Verdict> {
    for below in ["nothing", "nowhere/at/all"] {
        let name = trial.name(below);
        match (trial.storage.read(&name, 100), trial.storage.read_range(&name, 0, 10)) {
            (Err(Error::Missing { .. }), Err(Error::Missing { .. })) => {}
            (Ok(_), _) | (_, Ok(_)) => {
                return Ok(Verdict::Broken(format!("{name} was never written, and can be read")));
            }
            (Err(error), Err(Error::Missing { .. })) | (_, Err(error)) => return Err(error),
        }
        if trial.storage.stat(&name)?.is_some() {
            return Ok(Verdict::Broken(format!("{name} was never written, and has a length")));
        }
    }
    Ok(Verdict::Holds)
}

fn true_lengths(trial: &Trial<'_>) -> Result<Verdict> {
    for length in [1, 97, 65_537] {
        let name = trial.name(&format!("length/{length}"));
        trial.write(&name, trial.content("length", length))?;
        match trial.storage.stat(&name)? {
            Some(info) if info.length_bytes == length as u64 => {}
            Some(info) => {
                let what = format!("{name} has {length} bytes, and is said to have {}", info.length_bytes);
                return Ok(Verdict::Broken(what));
            }
            None => return Ok(Verdict::Broken(format!("{name} was written, and is said not to be there"))),
        }
    }
    Ok(Verdict::Holds)
}

fn large_object(trial: &Trial<'_>) -> Result<Verdict> {
    let Ok(length) = usize::try_from(trial.options.large_bytes) else {
        return Ok(Verdict::Unknown("too large for this machine's memory".to_owned()));
    };
    let (name, content) = (trial.name("large"), trial.content("large", length));
    trial.write(&name, content.clone())?;
    let problem = trial.differs(&name, &content)?;
    // It takes room that later promises may need.
    trial.storage.delete(&name)?;
    Ok(match problem {
        None => Verdict::HoldsAs(format!("tried with {}", crate::words::size(length as u64))),
        problem => verdict(problem),
    })
}

fn layout_names(trial: &Trial<'_>) -> Result<Verdict> {
    let (id, period, class) =
        ("0123456789abcdef".repeat(4), "fedcba9876543210".repeat(2), "long-class-name-0-".repeat(2));
    let class = &class[..32];
    let shapes = [
        "repository".to_owned(),
        format!("keys/{id}"),
        format!("periods/{class}/{period}/{id}"),
        format!("ledger/{period}/0000000000000000-{id}"),
        format!("packs/{class}/{period}/{id}"),
        format!("packs/a/{period}/{id}"),
        format!("packs/-/{period}/{id}"),
        format!("packs/0/{period}/{id}"),
        format!("meta/{class}/{period}/{id}"),
        format!("index/{class}/{period}/{id}"),
        // One name may be the beginning of another, or differ in its last digit only.
        format!("packs/{}/{period}/{id}", &class[..31]),
        format!("meta/{class}/{period}/{}1", &id[..63]),
    ];
    let content = |shape: &str| trial.content(shape, 200 + shape.len());
    for shape in &shapes {
        trial.write(&trial.name(shape), content(shape))?;
    }
    for shape in &shapes {
        let problem = trial.differs(&trial.name(shape), &content(shape))?;
        if problem.is_some() {
            return Ok(verdict(problem));
        }
    }
    Ok(Verdict::Holds)
}
