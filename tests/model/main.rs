//! Random histories against a model: whatever was done in between, every snapshot is what the tree was, and the repository is whole.
//!
//! `PROPTEST_CASES` says how many histories are tried.
#![allow(clippy::unwrap_used)]

#[path = "../kit/mod.rs"]
mod kit;

mod history;
mod patches;

use proptest::prelude::*;

use history::{History, Step};

fn edit() -> impl Strategy<Value = history::Edit> {
    use history::Edit;
    let (file, length) = (0..8usize, prop_oneof![0..200usize, 1000..100_000usize, (2usize << 20)..(3 << 20)]);
    let directory = 0..4usize;
    prop_oneof![
        4 => (file.clone(), length.clone(), any::<u64>()).prop_map(|(file, length, seed)| Edit::Create { file, length, seed }),
        3 => (file.clone(), any::<u64>()).prop_map(|(file, seed)| Edit::Overwrite { file, seed }),
        2 => (file.clone(), 1..5000usize).prop_map(|(file, length)| Edit::Append { file, length }),
        2 => file.clone().prop_map(|file| Edit::Delete { file }),
        2 => (file.clone(), file.clone()).prop_map(|(from, to)| Edit::Rename { from, to }),
        1 => file.clone().prop_map(|file| Edit::Touch { file }),
        2 => (file, 1..300_000u64).prop_map(|(file, length)| Edit::Hole { file, length }),
        1 => directory.prop_map(|directory| Edit::DeleteDirectory { directory }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec(edit(), 1..4).prop_map(Step::Edit),
        4 => Just(Step::Backup),
        2 => Just(Step::BackupBySecond),
        1 => any::<bool>().prop_map(|read_data| Step::Check { read_data }),
        1 => Just(Step::AddKey),
        2 => Just(Step::Reopen),
    ]
}

/// As many cases as the environment says, or 48.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_snapshot_is_what_the_tree_was(steps in proptest::collection::vec(step(), 1..24)) {
        let mut history = History::new();
        for step in &steps {
            history.take(step);
        }
        history.take(&Step::Backup);
        history.verify();
    }
}
