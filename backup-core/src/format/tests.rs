//! Rules of bodies that their layout does not say, each shown to be kept.

use super::constants::*;
use super::keys::{ClassKey, KeyringBody};
use super::record::{Body, Flaw};
use super::tree::{Attribute, Content, Entry, Item, ListLeaf, TreeLeaf};
use crate::id::RepositoryId;
use crate::limits::{ATTRIBUTES_BYTES_MAX, INLINE_BYTES_MAX};

fn check(change: impl FnOnce(&mut Entry)) -> Result<(), Flaw> {
    let mut entry = Entry::new(ENTRY_FILE, "name");
    entry.content = Content::Inline { bytes: Vec::new() };
    change(&mut entry);
    TreeLeaf { row_version: ROW_VERSION, owners: Vec::new(), groups: Vec::new(), rows: vec![entry] }.check()
}

#[test]
fn a_mode_has_twelve_bits() {
    assert_eq!(check(|entry| entry.mode = 0o7777), Ok(()));
    assert!(check(|entry| entry.mode = 0o10000).is_err());
}

#[test]
fn attributes_are_sorted_and_bounded() {
    let attribute = |name: &str, bytes: usize| Attribute { name: name.into(), value: vec![0; bytes] };
    assert_eq!(check(|entry| entry.attributes = vec![attribute("a", 1), attribute("b", 1)]), Ok(()));
    assert!(check(|entry| entry.attributes = vec![attribute("b", 1), attribute("a", 1)]).is_err());
    assert!(check(|entry| entry.attributes = vec![attribute("a", ATTRIBUTES_BYTES_MAX as usize)]).is_err());
}

#[test]
fn items_in_place_are_short_and_none_is_empty() {
    let leaf = |items: Vec<Item>| ListLeaf { row_version: ROW_VERSION, items }.check();
    let inline = |bytes: u64| Item::Inline { bytes: vec![1; bytes as usize] };
    assert_eq!(leaf(vec![inline(INLINE_BYTES_MAX)]), Ok(()));
    assert!(leaf(vec![inline(INLINE_BYTES_MAX + 1)]).is_err());
    assert!(leaf(vec![inline(0)]).is_err());
    assert!(leaf(Vec::new()).is_err());
}

#[test]
fn keyrings_name_classes_only() {
    let keyring = |name: &str| KeyringBody {
        role: ROLE_READER,
        repository: RepositoryId([1; 32]),
        admin_key: [2; 32],
        root: None,
        repository_ledger_key: None,
        classes: Vec::new(),
        ledger_keys: vec![ClassKey { name: name.into(), key: [3; 32] }],
    };
    assert_eq!(keyring("standard").check(), Ok(()));
    assert!(keyring("no class").check().is_err());
}
