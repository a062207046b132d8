//! Bars as SVG: a panel for each thing that was measured, a bar for each program, each panel on a scale of its own and each bar with its figure.

use std::fmt::Write;

use super::plot::text;

const PANEL_WIDTH: f64 = 470.0;
const BAR_HEIGHT: f64 = 18.0;
const HEAD_HEIGHT: f64 = 34.0;
/// Where bars begin and end within a panel: the names stand before, the figures behind.
const BARS: [f64; 2] = [130.0, 400.0];
const TITLE_HEIGHT: f64 = 44.0;
/// The first bar is the project's own.
const COLOURS: [&str; 2] = ["#d62728", "#9ab3c8"];

/// What was measured: its name with its unit, and values by name.
pub(crate) struct Panel {
    pub title: String,
    pub bars: Vec<(String, f64)>,
}

/// Draws panels, two beside each other. Values that are not numbers are left out.
pub(crate) fn draw(title: &str, panels: &[Panel]) -> String {
    let most = panels.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
    let panel_height = HEAD_HEIGHT + BAR_HEIGHT * most as f64 + 10.0;
    let height = TITLE_HEIGHT + panel_height * panels.len().div_ceil(2) as f64;
    let width = 2.0 * PANEL_WIDTH;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    text(&mut svg, (width / 2.0, 24.0), "middle", "black", title);
    for (number, panel) in panels.iter().enumerate() {
        let corner = ((number % 2) as f64 * PANEL_WIDTH, TITLE_HEIGHT + (number / 2) as f64 * panel_height);
        draw_panel(&mut svg, corner, panel);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, (left, top): (f64, f64), panel: &Panel) {
    text(svg, (left + BARS[0], top + 22.0), "start", "black", &panel.title);
    let longest =
        panel.bars.iter().map(|bar| bar.1).filter(|value| value.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
    let shown = panel.bars.iter().enumerate().filter(|(_, bar)| bar.1.is_finite());
    for (line, (number, (name, value))) in shown.enumerate() {
        let y = top + HEAD_HEIGHT + BAR_HEIGHT * line as f64;
        let length = (BARS[1] - BARS[0]) * value / longest;
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{}\" fill=\"{}\"/>",
            left + BARS[0],
            BAR_HEIGHT - 4.0,
            COLOURS[number.min(1)]
        );
        text(svg, (left + BARS[0] - 6.0, y + 11.0), "end", "black", name);
        let digits = if *value < 10.0 { 2 } else { usize::from(*value < 100.0) };
        text(svg, (left + BARS[0] + length + 5.0, y + 11.0), "start", "black", &format!("{value:.digits$}"));
    }
}
