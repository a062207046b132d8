//! Imports inside `backup-core` point down the layers only, and never in a circle.
//!
//! A path counts wherever it stands in code, in `use` or inline, in macros too. Comments and code for tests do not count. `lib.rs` may name everything.

use std::collections::{BTreeMap, BTreeSet};

use crate::lexer::{code_only, find_words, leading_word, line, without_tests};
use crate::tree::File;

/// The top-level modules, layer by layer from the ground.
const LAYERS: [&[&str]; 7] = [
    &["id", "error", "limits", "path", "environment", "progress", "words", "time", "buffers"],
    &["codec", "chunker", "compress", "crypto", "pipeline"],
    &["format", "storage"],
    &["pack", "index", "ledger", "keyring", "source", "target"],
    &["repository"],
    &["ops"],
    &["fuzzing"],
];

const SOURCES: &str = "backup-core/src/";

/// The layer of a top-level module.
fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Names the imports that point up, the modules without a layer, and the circles.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let reexports =
        files.iter().find(|file| file.path == format!("{SOURCES}lib.rs")).map(reexports).unwrap_or_default();
    let mut findings = Vec::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let place = module_of(&file.path);
        let Some(own_layer) = layer(place[0]) else {
            if place[0] != "lib" && !is_for_tests(&file.path) {
                findings.push(format!("{} belongs to no layer: give {} one", file.path, place[0]));
            }
            continue;
        };
        for (line, name) in imports(file, &place) {
            let target = reexports.get(&name).cloned().unwrap_or(name);
            match layer(&target) {
                Some(layer) if layer > own_layer => {
                    findings.push(format!(
                        "{}:{line} {} (layer {own_layer}) imports {target} (layer {layer})",
                        file.path, place[0]
                    ));
                }
                Some(_) if target != place[0] => drop(edges.entry(place[0].to_owned()).or_default().insert(target)),
                Some(_) => {}
                None => findings.push(format!("{}:{line} {target} has no layer", file.path)),
            }
        }
    }
    findings.extend(circle(&edges).map(|path| format!("modules import each other in a circle: {}", path.join(" -> "))));
    findings
}

/// The module path of a file: `["format", "tree"]`.
pub(crate) fn module_of(path: &str) -> Vec<&str> {
    let inside = path.strip_prefix(SOURCES).unwrap_or(path);
    let inside = inside.strip_suffix("/mod.rs").or(inside.strip_suffix(".rs")).unwrap_or(inside);
    inside.split('/').collect()
}

/// Whether a file is a module of unit tests.
pub(crate) fn is_for_tests(path: &str) -> bool {
    module_of(path).iter().any(|module| ["tests", "by_hand"].contains(module)) || module_of(path)[0] == "golden"
}

/// Top-level names that a file's code mentions, with their lines.
fn imports(file: &File, place: &[&str]) -> Vec<(usize, String)> {
    if is_for_tests(&file.path) {
        return Vec::new();
    }
    let code = without_tests(&code_only(&file.text));
    let mut found = Vec::new();
    for at in find_words(&code, "crate") {
        if let Some(rest) = after_colons(&code[at + "crate".len()..]) {
            found.extend(first_words(rest).into_iter().map(|name| (line(&code, at), name)));
        }
    }
    // `super::` as often as the module is deep leads to the root as well.
    for at in find_words(&code, "super") {
        let mut rest = &code[at..];
        let mut steps = 0;
        while let Some(after) = rest.strip_prefix("super").and_then(after_colons) {
            (rest, steps) = (after, steps + 1);
        }
        if steps == place.len() {
            let names = first_words(rest).into_iter().filter(|name| layer(name).is_some());
            found.extend(names.map(|name| (line(&code, at), name)));
        }
    }
    found
}

fn after_colons(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix("::").map(str::trim_start)
}

/// The first word of a path, or those of all paths in a group: `{a::b, c::{d, e}}` has `a` and `c`.
fn first_words(text: &str) -> Vec<String> {
    let Some(group) = text.strip_prefix('{') else {
        return Some(leading_word(text)).filter(|word| !word.is_empty()).map(str::to_owned).into_iter().collect();
    };
    let mut words = Vec::new();
    let mut depth = 0usize;
    let mut starts_path = true;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts_path = true,
            _ if starts_path && !character.is_whitespace() => {
                starts_path = false;
                words.push(leading_word(&group[at..]).to_owned());
            }
            _ => {}
        }
    }
    words.retain(|word| !word.is_empty() && word != "self");
    words
}

/// What `lib.rs` re-exports, and from which module.
fn reexports(library: &File) -> BTreeMap<String, String> {
    let code = code_only(&library.text);
    let mut owners = BTreeMap::new();
    for statement in code.split(';') {
        let Some((_, path)) = statement.split_once("pub use ") else { continue };
        let path = path.trim_start().trim_start_matches("crate::");
        let module = leading_word(path);
        for name in path[module.len()..].split(|character: char| !character.is_alphanumeric() && character != '_') {
            owners.insert(name.to_owned(), module.to_owned());
        }
    }
    owners
}

/// A circle, if there is one, as the modules along it.
fn circle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    edges.keys().find_map(|start| visit(start, edges, &mut Vec::new(), &mut done))
}

fn visit(
    module: &str,
    edges: &BTreeMap<String, BTreeSet<String>>,
    path: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(at) = path.iter().position(|earlier| earlier == module) {
        let mut found = path[at..].to_vec();
        found.push(module.to_owned());
        return Some(found);
    }
    if !done.contains(module) {
        path.push(module.to_owned());
        let found = edges.get(module).into_iter().flatten().find_map(|next| visit(next, edges, path, done));
        if found.is_some() {
            return found;
        }
        path.pop();
        done.insert(module.to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::file;

    fn found(path: &str, text: &str) -> Vec<String> {
        let library = file("backup-core/src/lib.rs", "pub use error::{Error, Result};\npub use ops::backup::Report;");
        check(&[library, file(&format!("{SOURCES}{path}"), text)])
    }

    #[test]
    fn an_import_downwards_is_fine() {
        assert_eq!(
            found("pack/writer.rs", "use crate::{codec, format::{tree, x}, Error};\nuse super::reader;"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_import_upwards_is_found_in_every_form() {
        let upwards = [
            "use crate::ops::backup;",
            "use crate::{\n id,\n ops::{a, b}};",
            "fn a() { crate::ops::a() }",
            "use super::super::ops::a;",
            "use crate::Report;",
        ];
        for text in upwards {
            let findings = found("pack/writer.rs", text);
            assert_eq!(findings.len(), 1, "{text}: {findings:?}");
            assert!(findings[0].ends_with("pack (layer 3) imports ops (layer 5)"), "{findings:?}");
        }
    }

    #[test]
    fn comments_strings_and_tests_do_not_count() {
        let text = "//! See [`crate::ops`].\nconst A: &str = \"crate::ops\";\n#[cfg(test)]\nmod tests {\n    use crate::ops;\n}\n";
        assert_eq!(found("id.rs", text), Vec::<String>::new());
        assert_eq!(found("pack/tests.rs", "use crate::ops;"), Vec::<String>::new());
    }

    #[test]
    fn a_module_or_name_without_a_layer_is_found() {
        assert_eq!(found("stray.rs", ""), ["backup-core/src/stray.rs belongs to no layer: give stray one"]);
        assert_eq!(found("id.rs", "\nuse crate::stray;"), ["backup-core/src/id.rs:2 stray has no layer"]);
    }

    #[test]
    fn a_circle_within_a_layer_is_found() {
        let files = [
            ("pack/mod.rs", "use crate::index;"),
            ("index.rs", "use crate::ledger::x;"),
            ("ledger/x.rs", "use crate::pack;"),
        ];
        let files: Vec<File> = files.iter().map(|(path, text)| file(&format!("{SOURCES}{path}"), text)).collect();
        assert_eq!(check(&files), ["modules import each other in a circle: index -> ledger -> pack -> index"]);
        assert_eq!(check(&files[..2]), Vec::<String>::new());
    }
}
