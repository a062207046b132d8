//! The project speaks of itself only: not of the place where it was made, nor of where its dependencies were fetched.

use crate::lexer::find_words;
use crate::tree::File;

/// Files that must name where packages come from.
const MAY_NAME_REGISTRIES: [&str; 3] = ["Cargo.lock", "fuzz/Cargo.lock", "deny.toml"];

/// Directories of the machine on which something was once built. In two halves, so that this file does not name them.
const PLACES: [[&str; 2]; 3] = [["/wo", "rk"], ["/ro", "ot"], ["/tmp/ba", "sh"]];

/// Words of a workplace.
const WORKPLACE: [[&str; 2]; 4] = [["hel", "per"], ["hel", "pers"], ["ses", "sion"], ["ses", "sions"]];

/// Hosts of registries and their documentation.
const REGISTRIES: [[&str; 2]; 7] = [
    ["crates", ".io"],
    ["docs", ".rs"],
    ["pypi", ".org"],
    ["pythonhosted", ".org"],
    ["debian", ".org"],
    ["ubuntu", ".com"],
    ["npmjs", ".com"],
];

/// Names the lines that speak of something else.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    files
        .iter()
        .flat_map(|file| file.text.lines().enumerate().flat_map(move |(index, line)| check_line(file, index + 1, line)))
        .collect()
}

fn check_line(file: &File, number: usize, line: &str) -> Vec<String> {
    let lower = line.to_lowercase();
    let places = PLACES.iter().map(|halves| halves.concat()).filter(|place| has_place(&lower, place));
    let words = WORKPLACE.iter().map(|halves| halves.concat()).filter(|word| find_words(&lower, word).next().is_some());
    let may_name = MAY_NAME_REGISTRIES.contains(&file.path.as_str());
    let hosts = REGISTRIES
        .iter()
        .map(|halves| halves.concat())
        .filter(|host| !may_name && find_words(&lower, host).next().is_some());
    places.chain(words).chain(hosts).map(|found| format!("{}:{number} says {found}", file.path)).collect()
}

/// Whether a line names an absolute path that is the place or lies in it.
fn has_place(line: &str, place: &str) -> bool {
    let continues = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    line.match_indices(place).any(|(at, _)| {
        let before = at.checked_sub(1).map(|at| line.as_bytes()[at]);
        let after = line.as_bytes().get(at + place.len());
        !before.is_some_and(continues) && !after.is_some_and(|&byte| continues(byte) && byte != b'.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::file;

    fn found(path: &str, text: &str) -> usize {
        check(&[file(path, text)]).len()
    }

    #[test]
    fn places_of_the_machine_are_found() {
        for [left, right] in PLACES {
            assert_eq!(found("a.rs", &format!("// see {left}{right}/x")), 1);
            assert_eq!(found("a.rs", &format!("// see {left}{right}.")), 1);
            assert_eq!(found("a.rs", &format!("// a{left}{right}, {left}{right}s and {left}{right}ed")), 0);
        }
    }

    #[test]
    fn workplace_words_are_found_whole() {
        for [left, right] in WORKPLACE {
            assert_eq!(found("a.md", &format!("The {left}{right} did it.").to_uppercase()), 1);
            assert_eq!(found("a.md", &format!("{left}{right}_id un{left}{right}")), 0);
        }
    }

    #[test]
    fn registries_are_found_where_they_need_not_stand() {
        for [left, right] in REGISTRIES {
            assert_eq!(found("docs/a.md", &format!("https://www.{left}{right}/x")), 1);
            assert_eq!(found("deny.toml", &format!("https://{left}{right}/x")), 0);
        }
    }
}
