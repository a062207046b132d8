//! The recipes of the page: fenced blocks whose info string says `recipe:NAME`.

const PAGE: &str = include_str!("../../docs/operations.md");

/// All recipes that tests run. One that is on the page and not here is not tested.
const TESTED: [&str; 16] = [
    "environment",
    "pg-dump",
    "pg-dump-restore",
    "pg-archive",
    "pg-base",
    "pg-recover",
    "redis",
    "redis-restore",
    "etcd",
    "etcd-restore",
    "watch",
    "systemd-watch",
    "systemd-service",
    "systemd-timer",
    "cron",
    "kubernetes",
];

/// The text of a recipe, as it stands on the page.
#[track_caller]
pub(crate) fn recipe(name: &str) -> String {
    assert!(TESTED.contains(&name), "{name} is in no list");
    let found: Vec<String> = recipes().filter(|(found, _)| found == name).map(|(_, text)| text).collect();
    assert_eq!(found.len(), 1, "recipe {name} on the page");
    found.into_iter().next().unwrap()
}

fn recipes() -> impl Iterator<Item = (String, String)> {
    let blocks = PAGE.split("\n```").skip(1).step_by(2);
    blocks.map(|block| {
        let (info, text) = block.split_once('\n').unwrap();
        let name = info.split_once("recipe:").map(|(_, name)| name.to_owned());
        (name.unwrap_or_default(), format!("{text}\n"))
    })
}

#[test]
fn every_block_of_the_page_is_a_tested_recipe() {
    let mut names: Vec<String> = recipes().map(|(name, _)| name).collect();
    names.sort();
    let mut tested = TESTED.to_vec();
    tested.sort();
    assert_eq!(names, tested);
}
