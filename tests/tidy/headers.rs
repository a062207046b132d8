//! Every module starts with `//!`, and with words behind it.

use crate::tree::File;

/// Names the files that begin with anything else.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let has_header =
        |file: &&File| file.text.strip_prefix("//! ").is_some_and(|rest| !rest.starts_with(char::is_whitespace));
    files.iter().filter(|file| !has_header(file)).map(|file| format!("{} does not start with //!", file.path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::file;

    #[test]
    fn a_module_without_words_is_found() {
        assert_eq!(check(&[file("a.rs", "//! Owns a.\n")]), Vec::<String>::new());
        assert_eq!(check(&[file("a.rs", "use b;\n//! Owns a.\n"), file("b.rs", ""), file("c.rs", "//!\n")]).len(), 3);
    }
}
