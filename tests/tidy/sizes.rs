//! Files of at most 400 lines, functions of at most 60, tests included.

use crate::lexer::{code_only, find_words, item_end, leading_word, line};
use crate::tree::File;

/// Most lines of a file.
const FILE_LINES_MAX: usize = 400;
/// Most lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 60;

/// Names the files and functions that are too long.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(format!("{} has {lines} lines, {FILE_LINES_MAX} are allowed", file.path));
    }
    for function in functions(&file.text) {
        if function.lines > FUNCTION_LINES_MAX {
            findings.push(format!(
                "{}:{} {} has {} lines, {FUNCTION_LINES_MAX} are allowed",
                file.path, function.line, function.name, function.lines
            ));
        }
    }
    findings
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// All functions of a source, those inside others as well.
fn functions(source: &str) -> Vec<Function> {
    let code = code_only(source);
    let mut found = Vec::new();
    for at in find_words(&code, "fn") {
        let rest = code[at + 2..].trim_start();
        let name = leading_word(rest.trim_start_matches('$'));
        if name.is_empty() {
            continue; // the type `fn(..)`
        }
        let first = line(&code, at);
        let last = line(&code, item_end(code.as_bytes(), at) - 1);
        found.push(Function { name: name.to_owned(), line: first, lines: last - first + 1 });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::file;

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(check(&[file("a.rs", &"x\n".repeat(400))]), Vec::<String>::new());
        assert_eq!(check(&[file("a.rs", &"x\n".repeat(401))]), ["a.rs has 401 lines, 400 are allowed"]);
    }

    #[test]
    fn a_long_function_is_found_and_a_short_one_is_not() {
        let short = format!("fn short(x: [u8; 3]) {{\n{}}}\n", "    \"}\";\n".repeat(58));
        let long = format!(
            "impl X {{\n    pub fn long<F: Fn(fn(u8))>(f: F)\n    where\n        F: Copy,\n    {{\n{}    }}\n}}\n",
            "{ '}' }\n".repeat(56)
        );
        assert_eq!(check(&[file("a.rs", &short)]), Vec::<String>::new());
        assert_eq!(check(&[file("a.rs", &(short + &long))]), ["a.rs:62 long has 61 lines, 60 are allowed"]);
    }

    #[test]
    fn a_declaration_ends_with_its_line() {
        let found = functions("trait T { fn a(&self);\n fn b(&self) {\n} }");
        assert_eq!(found.iter().map(|function| function.lines).collect::<Vec<_>>(), [1, 2]);
    }
}
