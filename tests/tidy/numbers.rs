//! The tables of `docs/format.md` against the constants of the code.

use crate::markdown::{cells, lines};

/// The section of the page that lists the maxima.
const LIMITS: &str = "## 14.";

/// Names and numbers of section 14, in order.
pub(crate) fn limits(page: &str) -> Vec<(String, u64)> {
    sections(page).filter(|(is_limits, _)| *is_limits).filter_map(|(_, line)| row(line)).collect()
}

/// Names and numbers of all other tables, and those of prose in the form `` `FRAME_NODE` 2 ``.
pub(crate) fn kinds(page: &str) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for (_, line) in sections(page).filter(|(is_limits, _)| !is_limits) {
        found.extend(row(line));
        found.extend(prose(line));
    }
    found
}

/// Names what only one side has, has twice, or has with another number.
pub(crate) fn compare(page: &[(String, u64)], code: &[(&str, u64)]) -> Vec<String> {
    let mut findings = Vec::new();
    if page.is_empty() {
        findings.push("the page has no numbers".to_owned());
    }
    for (index, (name, number)) in page.iter().enumerate() {
        if page[..index].iter().any(|(earlier, _)| earlier == name) {
            findings.push(format!("{name} stands twice on the page"));
        }
        match code.iter().find(|(known, _)| known == name) {
            None => findings.push(format!("{name} is not in the code")),
            Some((_, found)) if found != number => {
                findings.push(format!("{name} is {number} on the page and {found} in the code"));
            }
            Some(_) => {}
        }
    }
    let is_missing = |(known, _): &&(&str, u64)| !page.iter().any(|(name, _)| name == known);
    findings.extend(code.iter().filter(is_missing).map(|(name, _)| format!("{name} is not on the page")));
    findings
}

/// Lines of the page, with whether they are of section 14.
fn sections(page: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut is_limits = false;
    lines(page).map(move |(_, line)| {
        if line.starts_with("## ") {
            is_limits = line.starts_with(LIMITS);
        }
        (is_limits, line)
    })
}

/// A row in which a cell is a name and the next one a number, in whichever column.
fn row(line: &str) -> Option<(String, u64)> {
    let cells = cells(line);
    cells.windows(2).find_map(|pair| Some((constant(pair[0])?.to_owned(), number(pair[1])?)))
}

/// Names that a number follows in running text.
fn prose(line: &str) -> Vec<(String, u64)> {
    let parts: Vec<&str> = line.split('`').collect();
    let spans = parts.iter().enumerate().skip(1).step_by(2);
    let found = spans.filter_map(|(index, span)| {
        let follows = parts.get(index + 1)?.strip_prefix(' ')?;
        let digits = follows.split(|character: char| !character.is_ascii_digit()).next()?;
        Some((is_constant(span).then(|| (*span).to_owned())?, digits.parse().ok()?))
    });
    found.collect()
}

fn constant(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`').filter(|name| is_constant(name))
}

fn is_constant(name: &str) -> bool {
    name.contains('_')
        && name
            .chars()
            .all(|character| character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_')
}

fn number(cell: &str) -> Option<u64> {
    cell.replace([',', '_'], "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "## 1. Kinds\n| kind | number | more |\n|---|---|---|\n| `KIND_A` | 1 | x |\n| text | `KIND_B` | 2 |\n\n`KIND_C` 3 or `KIND_D` 44: which\n\
                        | `x` | `KIND_A` or `KIND_B` |\n```\n| `KIND_X` | 9 |\n```\n## 14. Numbers\n| `MOST_B` | 65,536 |\n| `MOST_A` | 2 |\n## 15. History\n| 1 | first |\n";

    fn named(list: &[(&str, u64)]) -> Vec<(String, u64)> {
        list.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
    }

    #[test]
    fn tables_are_read_in_every_form() {
        assert_eq!(kinds(PAGE), named(&[("KIND_A", 1), ("KIND_B", 2), ("KIND_C", 3), ("KIND_D", 44)]));
        assert_eq!(limits(PAGE), named(&[("MOST_B", 65536), ("MOST_A", 2)]));
    }

    #[test]
    fn every_difference_is_found() {
        let page = named(&[("A", 1), ("B", 2), ("B", 2), ("D", 4)]);
        assert_eq!(
            compare(&page, &[("A", 7), ("B", 2), ("C", 3)]),
            [
                "A is 1 on the page and 7 in the code",
                "B stands twice on the page",
                "D is not in the code",
                "C is not on the page"
            ]
        );
        assert_eq!(compare(&named(&[("A", 1)]), &[("A", 1)]), Vec::<String>::new());
        assert_eq!(compare(&[], &[]).len(), 1);
    }
}
