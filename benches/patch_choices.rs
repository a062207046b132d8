//! What rules for patches cost and give: a hundred steps of a trading database, stored by each rule as a calculation, with real patches.
//!
//! Nothing of the library runs here. A step's bytes are those of its payloads, 72 for each patch's row and item and 56 for each whole chunk's, and 110 for each leaf of the page map.
//! `HOLDFAST_BENCH_MIB` (300) and `HOLDFAST_BENCH_STEPS` (100) say how much of it; all rules take hours: `HOLDFAST_BENCH_GROUPS` (`1:6,4:3`: pages and level) and
//! `HOLDFAST_BENCH_RULES` (parts of their names, with `;` between) say which.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::error::Error;

use kit::chains::{Back, DEPTH_MAX, Patches, Rule, play};
use kit::trading::Trading;
use kit::versions::{Bounds, Versions};
use kit::{head, mib, row, timed};

/// Level of the frames that bounds are counted with.
const BOUND_LEVEL: i32 = 3;
/// Pages of a group, and the level.
const GROUPS: [(usize, i32); 8] = [(2, 6), (2, 3), (4, 6), (1, 6), (1, 3), (4, 3), (8, 6), (1, 9)];

/// The rules that are compared.
fn rules() -> Vec<Rule> {
    let priced = |bytes, from| Rule::Priced { bytes, from };
    let previous = |depth, closure, back| Rule::Previous { depth, closure, back };
    vec![
        previous(DEPTH_MAX, f64::INFINITY, Back::Root),
        priced(20.0, None),
        priced(40.0, None),
        priced(80.0, None),
        priced(160.0, None),
        priced(80.0, Some(1.0)),
        priced(160.0, Some(1.0)),
        priced(80.0, Some(2.0)),
        priced(160.0, Some(2.0)),
        previous(DEPTH_MAX, f64::INFINITY, Back::Whole),
        previous(DEPTH_MAX, 3.0, Back::Whole),
        previous(DEPTH_MAX, 3.0, Back::Root),
        previous(4, f64::INFINITY, Back::Whole),
        previous(8, f64::INFINITY, Back::Whole),
        previous(8, f64::INFINITY, Back::Root),
        previous(16, f64::INFINITY, Back::Root),
        Rule::Cleared(2),
        Rule::Cleared(4),
        Rule::Cleared(usize::MAX >> 32),
        Rule::Within(3),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    let asked = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<usize>().ok());
    let bytes = asked("HOLDFAST_BENCH_MIB").unwrap_or(if kit::is_trial() { 2 } else { 300 }) << 20;
    let steps = asked("HOLDFAST_BENCH_STEPS").unwrap_or(if kit::is_trial() { 2 } else { 100 });
    let (versions, seconds) = timed(|| record(bytes as u64, steps));
    let versions = versions?;
    println!("{:.0} MiB, {steps} steps in {seconds:.0} s", mib(versions.bytes(0) as u64));
    let bound = bounds(&versions);
    let groups = kit::listed("HOLDFAST_BENCH_GROUPS", ',');
    let is_asked = |group: &&(usize, i32)| groups.is_empty() || groups.contains(&format!("{}:{}", group.0, group.1));
    for &(pages, level) in GROUPS.iter().filter(is_asked).take(if kit::is_trial() { 1 } else { GROUPS.len() }) {
        let mut patches = Patches::new(&versions, pages, level);
        table(&mut patches, bound, steps);
    }
    Ok(())
}

fn record(bytes: u64, steps: usize) -> Result<Versions, Box<dyn Error>> {
    let directory = kit::memory_directory()?;
    let path = directory.path().join("trading.db");
    let mut trading = Trading::create(&path, 1, bytes)?;
    trading.checkpoint()?;
    let mut versions = Versions::new(&trading)?;
    for _ in 0..steps {
        trading.step()?;
        versions.add(&trading)?;
    }
    Ok(versions)
}

/// Prints the lower bounds, and returns the third.
fn bounds(versions: &Versions) -> f64 {
    let mut sums = [0; 5];
    for step in 1..=versions.steps() {
        let Bounds { pages, plain, alone, against, stream } = Bounds::of(versions, step, BOUND_LEVEL);
        sums.iter_mut().zip([pages, plain, alone, against, stream]).for_each(|(sum, bytes)| *sum += bytes);
    }
    let average = sums.map(|sum| sum as f64 / versions.steps() as f64);
    head(
        "a step on average",
        &[
            "pages changed",
            "plain KiB",
            "each compressed KiB",
            "each against its old version KiB",
            "in one long frame KiB",
        ],
    );
    row(&[
        format!("{:.0}", average[0]),
        format!("{:.0}", average[1] / 1024.0),
        format!("{:.0}", average[2] / 1024.0),
        format!("{:.1}", average[3] / 1024.0),
        format!("{:.1}", average[4] / 1024.0),
    ]);
    average[3]
}

fn table(patches: &mut Patches<'_>, bound: f64, steps: usize) {
    let title = format!("groups of {} KiB, level {}", patches.group_bytes() / 1024, patches.level);
    head(
        &title,
        &[
            "rule",
            "KiB a step",
            "of the bound",
            "packed again 128 KiB",
            "1 MiB",
            "patches",
            "whole",
            "closure",
            "at most",
            "depth",
            "lost with 128 KiB %",
            "1 MiB %",
            "patches decoded s",
        ],
    );
    let names = kit::listed("HOLDFAST_BENCH_RULES", ';');
    let is_asked = |rule: &Rule| names.is_empty() || names.iter().any(|name| rule.to_string().contains(name));
    for rule in rules().into_iter().filter(is_asked) {
        let outcome = play(patches, rule);
        let average = |sum: usize| sum as f64 / steps as f64;
        let of = |sum: usize| format!("{:.2}", average(sum) / bound);
        let lost = outcome.lost.map(|lost| format!("{:.1}", 100.0 * lost as f64 / outcome.chunks as f64));
        row(&[
            rule.to_string(),
            format!("{:.0}", average(outcome.raw) / 1024.0),
            of(outcome.raw),
            of(outcome.packed[0]),
            of(outcome.packed[1]),
            format!("{:.0}", average(outcome.patches)),
            format!("{:.0}", average(outcome.wholes)),
            format!("{:.2}", outcome.closure),
            format!("{:.2}", outcome.closure_max),
            outcome.depth.to_string(),
            lost[0].clone(),
            lost[1].clone(),
            format!("{:.3}", outcome.decode_seconds),
        ]);
    }
}
