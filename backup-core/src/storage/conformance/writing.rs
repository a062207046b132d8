//! Promises about writing: whole or not at all, alone or many at a time, and about deleting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Probe;
use super::trial::{Trial, Verdict};
use crate::error::{Error, Result};

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "whole_or_nothing",
        words: "while an object is being written, readers find nothing or all of it",
        required: true,
        meaning: "Whoever opens the repository while a backup runs may report damage where there is none.",
        attempt: whole_or_nothing,
    },
    Probe {
        name: "two_writers",
        words: "of two that write one name at once, one has written it whole",
        required: true,
        meaning: "Two machines that back up the same data at the same time can damage each other's objects.",
        attempt: two_writers,
    },
    Probe {
        name: "concurrent_creates",
        words: "objects that are created at the same time are all kept",
        required: true,
        meaning: "A backup that uploads in parallel loses objects.",
        attempt: concurrent_creates,
    },
    Probe {
        name: "replace",
        words: "a later write replaces an earlier one",
        required: false,
        meaning: "Damaged objects cannot be mended by writing them anew. This is as it should be where objects are locked.",
        attempt: replace,
    },
    Probe {
        name: "delete",
        words: "what was deleted is gone, and deleting it again is fine",
        required: false,
        meaning: "Space cannot be freed, and what this test wrote may remain. This is as it should be where objects are locked.",
        attempt: delete,
    },
];

/// Reads again and again while a large object is written for the first time.
fn whole_or_nothing(trial: &Trial<'_>) -> Result<Verdict> {
    const PAUSE: Duration = Duration::from_millis(2);
    let length = usize::try_from(trial.options.large_bytes / 4).unwrap_or(1 << 20).max(1 << 16);
    let (name, content) = (trial.name("whole"), trial.content("whole", length));
    let is_written = AtomicBool::new(false);
    let (written, seen) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let written = trial.write(&name, content.clone());
            is_written.store(true, Ordering::Release);
            written
        });
        let mut seen = None;
        while !is_written.load(Ordering::Acquire) && seen.is_none() {
            match trial.storage.read(&name, length as u64) {
                Ok(found) if found == content => break,
                Ok(found) => seen = Some(found.len()),
                Err(_missing_or_busy) => std::thread::sleep(PAUSE),
            }
        }
        (writer.join().unwrap_or(Err(Error::Interrupted)), seen)
    });
    written?;
    let problem = match seen {
        Some(part) => Some(format!("a reader found {part} bytes of an object of {length} that was being written")),
        None => trial.differs(&name, &content)?,
    };
    trial.storage.delete(&name)?;
    Ok(problem.map_or(Verdict::Holds, Verdict::Broken))
}

fn two_writers(trial: &Trial<'_>) -> Result<Verdict> {
    const ROUNDS: usize = 4;
    for round in 0..ROUNDS {
        let name = trial.name(&format!("two/{round}"));
        let contents = [trial.content("one", 200_000), trial.content("two", 150_000 + 25_000 * round)];
        let outcomes = at_once(&contents, |content| trial.write(&name, content.clone()));
        // A service may refuse one of them, but not both.
        if outcomes.iter().all(Result::is_err) {
            outcomes.into_iter().next().unwrap_or(Ok(()))?;
        }
        let found = trial.storage.read(&name, 1 << 20)?;
        if !contents.contains(&found) {
            let what = format!("{name} holds {} bytes that neither of its two writers wrote", found.len());
            return Ok(Verdict::Broken(what));
        }
    }
    Ok(Verdict::Holds)
}

fn concurrent_creates(trial: &Trial<'_>) -> Result<Verdict> {
    let numbers: Vec<usize> = (0..trial.options.objects).collect();
    let place = |number: &usize| {
        // Several share a directory that none of them finds.
        let name = trial.name(&format!("many/{}/{number}", number % 4));
        (name, trial.content("many", 1000 + number * 37))
    };
    let write = |number: &usize| {
        let (name, content) = place(number);
        trial.write(&name, content)
    };
    for group in numbers.chunks(8) {
        at_once(group, write).into_iter().collect::<Result<Vec<()>>>()?;
    }
    for number in &numbers {
        let (name, content) = place(number);
        if let Some(problem) = trial.differs(&name, &content)? {
            return Ok(Verdict::Broken(problem));
        }
    }
    Ok(Verdict::HoldsAs(format!("tried with {} objects", numbers.len())))
}

fn replace(trial: &Trial<'_>) -> Result<Verdict> {
    let (name, first, second) = (trial.name("replace"), trial.content("first", 5000), trial.content("second", 4000));
    trial.write(&name, first.clone())?;
    trial.write(&name, second.clone())?;
    let found = trial.storage.read(&name, 1 << 20)?;
    Ok(match () {
        () if found == second => Verdict::Holds,
        () if found == first => Verdict::Broken("the first write was kept".to_owned()),
        () => Verdict::Broken(format!("{} bytes were kept that are neither", found.len())),
    })
}

fn delete(trial: &Trial<'_>) -> Result<Verdict> {
    let name = trial.name("delete/a");
    trial.write(&name, trial.content("delete", 1000))?;
    for _ in 0..2 {
        trial.storage.delete(&name)?;
        match trial.storage.read(&name, 1000) {
            Err(Error::Missing { .. }) => {}
            Ok(_) => return Ok(Verdict::Broken("what was deleted can still be read".to_owned())),
            Err(error) => return Err(error),
        }
    }
    trial.storage.delete(&trial.name("delete/never-there"))?;
    Ok(Verdict::Holds)
}

/// Does something with each item, each on a thread of its own.
fn at_once<T: Sync>(items: &[T], each: impl Fn(&T) -> Result<()> + Sync) -> Vec<Result<()>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(|| each(item))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(Err(Error::Interrupted))).collect()
    })
}
