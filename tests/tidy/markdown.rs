//! The little of Markdown that the checks need: code spans, links and table rows, outside fenced blocks.

/// A line outside of fenced blocks, with its number counted from 1.
pub(crate) fn lines(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    page.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        (!fenced && !is_fence).then_some((index + 1, line))
    })
}

/// The code spans of a line, without their back-ticks.
pub(crate) fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of the links of a line.
pub(crate) fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The cells of a table row; none for other lines.
pub(crate) fn cells(line: &str) -> Vec<&str> {
    let inside = line.trim().strip_prefix('|').and_then(|rest| rest.strip_suffix('|'));
    inside.map(|inside| inside.split('|').map(str::trim).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fenced_blocks_are_left_out() {
        assert_eq!(lines("a\n```sh\nb\n```\nc").collect::<Vec<_>>(), [(1, "a"), (5, "c")]);
    }

    #[test]
    fn spans_links_and_cells_are_found() {
        assert_eq!(code_spans("a `b/c` d `e`").collect::<Vec<_>>(), ["b/c", "e"]);
        assert_eq!(links("see [a](b.md#c) and [`d`](../e.rs).").collect::<Vec<_>>(), ["b.md#c", "../e.rs"]);
        assert_eq!(cells("| a | `B` | |"), ["a", "`B`", ""]);
        assert_eq!(cells("a | b"), Vec::<&str>::new());
    }
}
