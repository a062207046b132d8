//! Documents name only paths that exist: in code spans, and in links.

use crate::markdown;
use crate::tree::File;

/// Directories at the top; a word in a code span that begins with one of them is a path of the repository.
const TOP: [&str; 7] = ["backup-core", "backup-cli", "benches", "fuzz", "tests", "docs", ".ci"];

/// Paths that the specification names and that are written after it.
const AWAITED: [&str; 2] = ["tests/golden", "tests/golden/reader.py"];

/// Names the paths that a page mentions and that `exists` does not know. Paths are relative to the repository.
pub(crate) fn check(pages: &[File], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    for page in pages {
        for (number, line) in markdown::lines(&page.text) {
            let named = markdown::code_spans(line).flat_map(str::split_whitespace).filter_map(repository_path);
            let linked = markdown::links(line).filter_map(|target| linked_path(&page.path, target));
            let missing = named.chain(linked).filter(|path| !exists(path) && !AWAITED.contains(&path.as_str()));
            findings.extend(missing.map(|path| format!("{}:{number} names {path}, which does not exist", page.path)));
        }
    }
    findings
}

/// A word of a code span as a path of the repository, if it looks like one. Patterns and placeholders do not.
fn repository_path(word: &str) -> Option<String> {
    let word = word.trim_matches(|character: char| {
        ".,;()\"'".contains(character) && !(character == '.' && word.starts_with(".ci"))
    });
    let word = word.trim_end_matches(['.', ',', ';']);
    let word = word.split("::").next().unwrap_or(word);
    let word = word.split_once(':').map_or(word, |(path, _)| path);
    let (top, _) = word.split_once('/')?;
    (TOP.contains(&top) && !word.contains(['*', '<', '{', '$', '['])).then(|| word.trim_end_matches('/').to_owned())
}

/// The target of a relative link as a path of the repository.
fn linked_path(page: &str, target: &str) -> Option<String> {
    let path = target.split('#').next().unwrap_or_default();
    if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
        return None;
    }
    let mut components: Vec<&str> = page.split('/').collect();
    components.pop();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    Some(components.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::file;

    fn found(text: &str) -> Vec<String> {
        let known = ["docs/format.md", "docs", "tests/tidy", ".ci/run", "README.md"];
        check(&[file("docs/page.md", text)], &|path| known.contains(&path))
    }

    #[test]
    fn paths_that_exist_are_fine() {
        let text = "`docs/format.md`, `tests/tidy/`, `.ci/run`, `cat docs/format.md:12`, [f](format.md#x), [r](../README.md), <https://a.b/c>, [w](https://a/b.md)";
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_path_of_the_repository_is_left_alone() {
        assert_eq!(
            found("`packs/<class>/x`, `tests/<kind>/main.rs`, `and/or`, `docs`, tests/none\n```\ndocs/none.md\n```"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_path_that_is_gone_is_found() {
        assert_eq!(found("x\n`tests/gone.rs`"), ["docs/page.md:2 names tests/gone.rs, which does not exist"]);
        assert_eq!(found("`python3 tests/gone.py --all`").len(), 1);
        assert_eq!(found("`.ci/gone`").len(), 1);
        assert_eq!(found("[gone](gone.md#part) and [gone](../fuzz/a.rs)").len(), 2);
    }
}
