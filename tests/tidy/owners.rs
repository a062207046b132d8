//! Every foreign crate has one owner inside `backup-core`; the rest of the library sees only what the owner makes of it.
//!
//! What a macro expands to does not count, a path in the text does. Code for tests is exempt.

use crate::imports::{is_for_tests, module_of};
use crate::lexer::{code_only, find_words, line, without_tests};
use crate::tree::File;

/// Top-level modules that may name a crate. `lib` is `lib.rs`; no module at all means that every one may.
const OWNERS: [(&str, &[&str]); 25] = [
    ("argon2", &["crypto"]),
    ("bincode", &["codec"]),
    ("blake3", &["crypto"]),
    ("chacha20poly1305", &["crypto"]),
    ("ed25519_dalek", &["crypto"]),
    ("fastcdc", &["chunker"]),
    ("getrandom", &["environment"]),
    // A restore selects by the same globs as a backup leaves out by.
    ("ignore", &["source", "ops"]),
    ("jiff", &["time"]),
    // Mapping needs `unsafe`, and one file of one module has it.
    ("memmap2", &["storage"]),
    // Embedders hand over an `opendal::Operator` and need the very version that the library was built with.
    ("opendal", &["storage", "lib"]),
    ("opendal_http_transport_reqwest", &["storage"]),
    ("rayon", &["pipeline"]),
    ("rusqlite", &["source", "lib"]),
    // The system's calls have no other face: host and user, the walk, metadata on restore, and syncing of local storage.
    ("rustix", &["environment", "source", "target", "storage"]),
    ("rustls", &["storage"]),
    // Reports everywhere can be serialised.
    ("serde", &[]),
    ("subtle", &["crypto"]),
    ("tar", &["ops"]),
    // Private copies of databases; elsewhere temporary names are made relative to an open directory.
    ("tempfile", &["source", "target"]),
    ("thiserror", &["error"]),
    ("tokio", &["storage", "lib"]),
    ("zeroize", &["crypto"]),
    // Columns of tables are the same bytes in memory and in a file that is mapped.
    ("zerocopy", &["format", "index"]),
    ("zstd", &["compress"]),
];

/// Crates that `backup-cli` needs for itself: its terminal, its own secrets in memory, the times it shows.
const SHARED_WITH_COMMAND: [&str; 3] = ["jiff", "serde", "zeroize"];

/// Names the places where a module uses a crate that another one owns.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let is_foreign = |file: &File, owners: &[&str]| !owners.is_empty() && !owners.contains(&module_of(&file.path)[0]);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !is_for_tests(&file.path)) {
        let code = without_tests(&code_only(&file.text));
        for (name, owners) in OWNERS.iter().filter(|(_, owners)| is_foreign(file, owners)) {
            findings.extend(
                uses(&code, name)
                    .map(|line| format!("{}:{line} uses {name}, which belongs to {}", file.path, owners.join(", "))),
            );
        }
    }
    findings
}

/// Names dependencies that have no owner.
pub(crate) fn check_manifest(manifest: &str) -> Vec<String> {
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let lines = dependencies.lines().take_while(|line| !line.starts_with('['));
    let names = lines
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'));
    let is_unknown = |name: &&str| !OWNERS.iter().any(|(known, _)| *known == name.replace('-', "_"));
    names.filter(is_unknown).map(|name| format!("{name} has no owner in backup-core")).collect()
}

/// Names the places where the command reaches around the library.
pub(crate) fn check_command(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        let code = code_only(&file.text);
        for (name, _) in OWNERS.iter().filter(|(name, _)| !SHARED_WITH_COMMAND.contains(name)) {
            findings.extend(
                uses(&code, name).map(|line| format!("{}:{line} uses {name}, which belongs to backup-core", file.path)),
            );
        }
        for detour in ["#[path", "include!"] {
            findings.extend(
                code.match_indices(detour)
                    .map(|(at, _)| format!("{}:{} takes in code by {detour}", file.path, line(&code, at))),
            );
        }
    }
    findings
}

/// Lines where code names a crate: as the head of a path, or in a `use` or `extern crate` of its own.
fn uses<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let names_crate = move |&at: &usize| {
        let before = code[..at].trim_end();
        let after = code[at + name.len()..].trim_start();
        let heads_path = after.starts_with("::") && (!before.ends_with("::") || is_root(before));
        let imports =
            ["use", "extern crate"].iter().any(|keyword| before.ends_with(keyword)) && !after.starts_with("::");
        heads_path || imports
    };
    find_words(code, name).filter(names_crate).map(|at| line(code, at))
}

/// Whether the text ends with the `::` that begins a path to a foreign crate: `::tar::Header`.
fn is_root(before: &str) -> bool {
    before.strip_suffix("::").is_some_and(|rest| {
        rest.is_empty() || rest.ends_with(|last: char| last.is_whitespace() || "(<&{,=".contains(last))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::file;

    fn found(path: &str, text: &str) -> usize {
        check(&[file(&format!("backup-core/src/{path}"), text)]).len()
    }

    #[test]
    fn a_crate_outside_its_owner_is_found_in_every_form() {
        for text in [
            "use blake3::Hasher;",
            "fn a() { blake3::hash(b) }",
            "use blake3;",
            "use {blake3::Hash, zstd::x};",
            "fn a(h: ::blake3::Hash) {}",
        ] {
            assert!(found("pack/mod.rs", text) > 0, "{text}");
            assert_eq!(found("crypto/mod.rs", &text.replace(", zstd::x", "")), 0, "{text}");
        }
    }

    #[test]
    fn modules_and_values_of_the_same_name_do_not_count() {
        for text in [
            "use crate::ops::tar::write;",
            "let tar = 1; a.tar()",
            "// tar::Builder\nlet a = \"tar::Builder\";",
            "mod tar;",
            "use mytar::x;",
        ] {
            assert_eq!(found("pack/mod.rs", text), 0, "{text}");
        }
        assert_eq!(found("pack/mod.rs", "#[cfg(test)]\nmod tests {\n use tar::Builder;\n}"), 0);
    }

    #[test]
    fn a_dependency_without_an_owner_is_found() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\ned25519-dalek.workspace = true\nleft-pad = \"1\"\n\n[dev-dependencies]\nproptest = \"1\"\n";
        assert_eq!(check_manifest(manifest), ["left-pad has no owner in backup-core"]);
    }

    #[test]
    fn a_command_that_reaches_around_the_library_is_found() {
        let text = "use backup_core::Error;\nuse opendal::Operator;\n#[path = \"../../backup-core/src/codec.rs\"]\nmod codec;\nuse jiff::Timestamp;";
        assert_eq!(check_command(&[file("backup-cli/src/main.rs", text)]).len(), 2);
    }
}
