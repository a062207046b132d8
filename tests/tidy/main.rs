//! Holds the tree to its own rules: headers, sizes, layers, owners of foreign crates, documents and the numbers of the format.
//!
//! Every check is a pure function from texts to a list of findings, with unit tests beside it that show it fail; the tests here apply it to the repository as it is.
//! The rules stand in tables at the top of their modules.
#![allow(clippy::unwrap_used)]

mod documents;
mod headers;
mod imports;
mod lexer;
mod markdown;
mod numbers;
mod owners;
mod purity;
mod sizes;
mod tree;

/// Fails with all findings at once.
fn expect_none(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
}

/// Fails if a check that should see something saw nothing, so that a moved directory does not silence it.
fn expect_some<T>(seen: &[T], what: &str) {
    assert!(!seen.is_empty(), "found no {what}: was it moved?");
}

#[test]
fn every_module_says_what_it_owns() {
    let files = tree::rust_files();
    expect_some(&files, "modules");
    expect_none(&headers::check(&files));
}

#[test]
fn files_and_functions_stay_small() {
    expect_none(&sizes::check(&tree::rust_files()));
}

#[test]
fn imports_point_down_only() {
    let files = tree::files_below("backup-core/src", "rs");
    expect_some(&files, "modules of backup-core");
    expect_none(&imports::check(&files));
}

#[test]
fn every_foreign_crate_has_one_owner() {
    let files = tree::files_below("backup-core/src", "rs");
    expect_none(&owners::check(&files));
    expect_none(&owners::check_manifest(&tree::read("backup-core/Cargo.toml")));
}

#[test]
fn the_command_uses_the_public_library_only() {
    let files = tree::files_below("backup-cli/src", "rs");
    expect_some(&files, "modules of backup-cli");
    expect_none(&owners::check_command(&files));
}

#[test]
fn documents_name_only_paths_that_exist() {
    let pages = tree::documents();
    expect_some(&pages, "documents");
    expect_none(&documents::check(&pages, &|path| tree::exists(path)));
}

#[test]
fn the_maxima_of_the_page_are_those_of_the_code() {
    let page = numbers::limits(&tree::read("docs/format.md"));
    expect_none(&numbers::compare(&page, backup_core::limits::ALL));
    let names = |list: &[(String, u64)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let code: Vec<String> = backup_core::limits::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&page), code, "the order differs");
}

#[test]
fn the_numbers_of_the_page_are_those_of_the_code() {
    let page = numbers::kinds(&tree::read("docs/format.md"));
    expect_none(&numbers::compare(&page, backup_core::format::constants::ALL));
}

#[test]
fn the_project_speaks_of_itself_only() {
    let files = tree::text_files();
    expect_some(&files, "files");
    expect_none(&purity::check(&files));
}
