//! What programs took for the same steps: a table of all, what was aimed at and whether it was reached, and the bars.

use std::fmt::Write;

use super::bars::{Panel, draw};
use super::process::Ran;
use super::{head_text, median, mib, row_text};

/// Steps, by number.
pub(crate) const FIRST: usize = 0;
/// A backup in which nothing changed.
pub(crate) const UNCHANGED: usize = 1;
/// The next release into the same repository.
pub(crate) const NEXT: usize = 2;
/// Everything into memory.
pub(crate) const RESTORE: usize = 3;
/// A check that reads everything.
pub(crate) const CHECK: usize = 4;

const STEPS: [&str; 5] = ["first backup", "unchanged backup", "next release", "restore", "check, all data read"];

const OWN: &str = "holdfast";
const PEERS: [&str; 4] = ["restic", "rustic", "borg", "bupstash"];
const TAR_ZSTD: &str = "tar | zstd -3 -T2";
/// Most memory of its own that any step may have.
const MEMORY_MIB: f64 = 192.0;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Seconds,
    Stored,
}

/// A step, what is compared, with whom, the most that may be needed of the other's, and whether that must be reached.
type Aim = (usize, Measure, &'static str, f64, bool);

/// For a tree of sources.
const TREE: [Aim; 18] = [
    (FIRST, Measure::Seconds, "kernels", 1.25, true),
    (FIRST, Measure::Seconds, "bupstash", 0.5, false),
    (FIRST, Measure::Seconds, "restic", 0.33, false),
    (FIRST, Measure::Seconds, TAR_ZSTD, 1.0, false),
    (FIRST, Measure::Stored, TAR_ZSTD, 1.03, true),
    (FIRST, Measure::Stored, "restic", 0.75, false),
    (FIRST, Measure::Stored, "rustic", 0.75, false),
    (FIRST, Measure::Stored, "borg", 0.75, false),
    (NEXT, Measure::Stored, "restic", 0.06, true),
    (NEXT, Measure::Seconds, "restic", 0.5, false),
    (UNCHANGED, Measure::Seconds, "bupstash", 1.0, true),
    (UNCHANGED, Measure::Seconds, "find -printf", 2.0, false),
    (RESTORE, Measure::Seconds, "bupstash", 0.5, true),
    (RESTORE, Measure::Seconds, "tar | tar x", 0.65, false),
    (CHECK, Measure::Seconds, "restic", 0.6, true),
    (CHECK, Measure::Seconds, "rustic", 0.6, true),
    (CHECK, Measure::Seconds, "borg", 0.6, true),
    (CHECK, Measure::Seconds, "kernels", 1.2, false),
];

/// For a mixed home directory.
const MIXED: [Aim; 4] = [
    (FIRST, Measure::Seconds, "bupstash", 0.55, true),
    (FIRST, Measure::Seconds, "restic", 0.3, false),
    (FIRST, Measure::Seconds, "kernels", 1.2, false),
    (RESTORE, Measure::Seconds, "restic", 0.6, true),
];

/// What a program took for a step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub seconds: f64,
    pub processor_seconds: f64,
    /// Bytes of memory: of its own, and all that was resident.
    pub own: u64,
    pub resident: u64,
    /// Bytes that its repository grew by.
    pub stored: u64,
}

impl Outcome {
    /// Takes it from a process that ran.
    pub(crate) fn of(ran: Ran, stored: u64) -> Self {
        let Ran { seconds, processor_seconds, memory } = ran;
        Self { seconds, processor_seconds, own: memory.own, resident: memory.resident, stored }
    }
}

/// A program, and what it took for each step in each round.
struct Entrant {
    name: &'static str,
    steps: [Vec<Outcome>; STEPS.len()],
}

impl Entrant {
    fn median(&self, step: usize, value: impl Fn(&Outcome) -> f64) -> Option<f64> {
        let outcomes = &self.steps[step];
        (!outcomes.is_empty()).then(|| median(outcomes.iter().map(value).collect()))
    }

    fn measured(&self, step: usize, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Seconds => self.median(step, |outcome| outcome.seconds),
            Measure::Stored => self.median(step, |outcome| mib(outcome.stored)),
        }
    }

    fn own_memory(&self, step: usize) -> Option<f64> {
        self.steps[step].iter().map(|outcome| mib(outcome.own)).reduce(f64::max)
    }
}

/// All that was measured over one corpus.
pub(crate) struct Contest {
    corpus: &'static str,
    title: String,
    entrants: Vec<Entrant>,
}

impl Contest {
    /// Begins with nothing.
    pub(crate) fn new(corpus: &'static str, bytes: u64, files: usize) -> Self {
        let title = format!("{corpus}: {:.0} MiB in {files} files, medians of {}", mib(bytes), super::runs());
        Self { corpus, title, entrants: Vec::new() }
    }

    /// Adds what somebody took for a step.
    pub(crate) fn add(&mut self, name: &'static str, step: usize, outcome: Outcome) {
        let number = self.entrants.iter().position(|entrant| entrant.name == name).unwrap_or_else(|| {
            self.entrants.push(Entrant { name, steps: Default::default() });
            self.entrants.len() - 1
        });
        self.entrants[number].steps[step].push(outcome);
    }

    fn entrant(&self, name: &str) -> Option<&Entrant> {
        self.entrants.iter().find(|entrant| entrant.name == name)
    }

    /// Everything as Markdown.
    pub(crate) fn tables(&self) -> String {
        let mut text = self.measured_table() + &self.ratio_table() + &self.aim_table();
        text.push('\n');
        text
    }

    fn measured_table(&self) -> String {
        let columns = ["program", "step", "s", "processor s", "stored MiB", "memory MiB: own", "resident"];
        let mut text = head_text(&self.title, &columns) + "\n";
        for (step, title) in STEPS.iter().enumerate() {
            for entrant in &self.entrants {
                let show = |value: Option<f64>, digits: usize| match value {
                    Some(value) if value > 0.0 => format!("{value:.digits$}"),
                    _ => String::new(),
                };
                let Some(seconds) = entrant.measured(step, Measure::Seconds) else { continue };
                let _ = writeln!(
                    text,
                    "{}",
                    row_text(&[
                        entrant.name.replace('|', "\\|"),
                        (*title).to_owned(),
                        format!("{seconds:.2}"),
                        show(entrant.median(step, |outcome| outcome.processor_seconds), 2),
                        show(entrant.measured(step, Measure::Stored), 2),
                        show(entrant.own_memory(step), 0),
                        show(entrant.median(step, |outcome| mib(outcome.resident)), 0),
                    ])
                );
            }
        }
        text
    }

    /// Holdfast's part of what each of the others needs.
    fn ratio_table(&self) -> String {
        let Some(own) = self.entrant(OWN) else { return String::new() };
        let mut columns = vec!["holdfast of"];
        columns.extend(STEPS);
        columns.extend(["first stored", "next stored"]);
        let mut text = head_text("Holdfast's part of what each of the others took", &columns) + "\n";
        for other in self.entrants.iter().filter(|entrant| entrant.name != OWN) {
            let ratio =
                |step: usize, measure: Measure| match (own.measured(step, measure), other.measured(step, measure)) {
                    (Some(own), Some(other)) if other > 0.0 => format!("{:.2}", own / other),
                    _ => String::new(),
                };
            let mut cells = vec![other.name.replace('|', "\\|")];
            cells.extend((0..STEPS.len()).map(|step| ratio(step, Measure::Seconds)));
            cells.extend([FIRST, NEXT].map(|step| ratio(step, Measure::Stored)));
            let _ = writeln!(text, "{}", row_text(&cells));
        }
        text
    }

    /// What was aimed at for this kind of corpus; of those that are not installed nothing can be said.
    fn aim_table(&self) -> String {
        let Some(own) = self.entrant(OWN) else { return String::new() };
        let aims: &[Aim] = match self.corpus {
            "tree" | "source" => &TREE,
            "mixed" => &MIXED,
            _ => &[],
        };
        let mut text = head_text("Aims", &["step", "what", "holdfast", "of", "other", "ratio", "aim", ""]) + "\n";
        for &(step, measure, other, aim, must) in aims {
            let values =
                (own.measured(step, measure), self.entrant(other).and_then(|other| other.measured(step, measure)));
            let (Some(mine), Some(theirs)) = values else { continue };
            let ratio = mine / theirs;
            let word = match (ratio <= aim, must) {
                (true, _) => "met",
                (false, true) => "**missed**",
                (false, false) => "missed",
            };
            let _ = writeln!(
                text,
                "{}",
                row_text(&[
                    STEPS[step].to_owned(),
                    if measure == Measure::Seconds { "s" } else { "MiB" }.to_owned(),
                    format!("{mine:.2}"),
                    other.replace('|', "\\|"),
                    format!("{theirs:.2}"),
                    format!("{ratio:.3}"),
                    format!("{aim}"),
                    word.to_owned(),
                ])
            );
        }
        let memory = (0..STEPS.len()).filter_map(|step| own.own_memory(step)).fold(0.0, f64::max);
        let word = if memory <= MEMORY_MIB { "met" } else { "**missed**" };
        let cells = ["any", "MiB of memory", &format!("{memory:.0}"), "", "", "", &format!("{MEMORY_MIB}"), word];
        text + &row_text(&cells.map(str::to_owned)) + "\n"
    }

    /// The bars of all programs with a repository, and of what stands in for them.
    pub(crate) fn figure(&self) -> String {
        let panel = |step: usize, measure: Measure| {
            let unit = if measure == Measure::Seconds { "s" } else { "MiB stored" };
            let mut bars = Vec::new();
            for name in [OWN].iter().chain(&PEERS).chain(&[TAR_ZSTD, "tar | tar x", "find -printf", "kernels"]) {
                let value = self.entrant(name).and_then(|entrant| entrant.measured(step, measure));
                bars.extend(value.filter(|value| *value > 0.0).map(|value| ((*name).to_owned(), value)));
            }
            Panel { title: format!("{}, {unit}", STEPS[step]), bars }
        };
        let wanted = [
            (FIRST, Measure::Seconds),
            (FIRST, Measure::Stored),
            (NEXT, Measure::Seconds),
            (NEXT, Measure::Stored),
            (UNCHANGED, Measure::Seconds),
            (RESTORE, Measure::Seconds),
            (CHECK, Measure::Seconds),
        ];
        let panels: Vec<Panel> = wanted.map(|(step, measure)| panel(step, measure)).into_iter().collect();
        let shown: Vec<Panel> = panels.into_iter().filter(|panel| !panel.bars.is_empty()).collect();
        draw(&self.title, &shown)
    }
}
