//! Lines over steps as SVG, written by hand: a logarithmic axis of bytes, and a name at the end of each line.

use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 480.0;
/// Left, right, upper and lower margins: the names stand in the right one.
const MARGINS: [f64; 4] = [70.0, 250.0, 40.0, 50.0];
const COLOURS: [&str; 8] = ["#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f"];
/// Least distance between the names of two lines.
const NAME_HEIGHT: f64 = 16.0;

/// A line: its name, and bytes over steps. Zeros are left out.
pub(crate) struct Line {
    pub name: String,
    pub points: Vec<(usize, u64)>,
}

/// Draws lines.
pub(crate) fn draw(title: &str, across: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points).filter(|point| point.1 > 0);
    let last = all().map(|point| point.0).max().unwrap_or(1).max(1);
    let lowest = all().map(|point| point.1).min().unwrap_or(1) as f64;
    let highest = all().map(|point| point.1).max().unwrap_or(10) as f64;
    let axes = Axes {
        last: last as f64,
        lowest: lowest.log10().floor(),
        highest: highest.log10().ceil().max(lowest.log10().floor() + 1.0),
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    axes.draw(&mut svg, across);
    text(&mut svg, (WIDTH / 2.0, 22.0), "middle", "black", title);
    let mut names: Vec<(f64, usize)> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let points: Vec<(f64, f64)> =
            line.points.iter().filter(|point| point.1 > 0).map(|point| axes.place(*point)).collect();
        let Some(end) = points.last() else { continue };
        names.push((end.1, number));
        let colour = COLOURS[number % COLOURS.len()];
        let path: String = points.iter().fold(String::new(), |mut path, (x, y)| {
            let _ = write!(path, "{x:.1},{y:.1} ");
            path
        });
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            path.trim()
        );
    }
    name_lines(&mut svg, names, lines);
    svg.push_str("</svg>\n");
    svg
}

/// Writes each line's name at its end, those of neighbours below each other.
fn name_lines(svg: &mut String, mut names: Vec<(f64, usize)>, lines: &[Line]) {
    names.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut free = f64::NEG_INFINITY;
    for (y, number) in names {
        let y = y.max(free);
        free = y + NAME_HEIGHT;
        text(svg, (WIDTH - MARGINS[1] + 8.0, y + 4.0), "start", COLOURS[number % COLOURS.len()], &lines[number].name);
    }
}

/// Where steps and bytes stand: up to the last step, between two powers of ten.
struct Axes {
    last: f64,
    lowest: f64,
    highest: f64,
}

impl Axes {
    fn place(&self, (step, bytes): (usize, u64)) -> (f64, f64) {
        let x = MARGINS[0] + (WIDTH - MARGINS[0] - MARGINS[1]) * step as f64 / self.last;
        let share = ((bytes as f64).log10() - self.lowest) / (self.highest - self.lowest);
        (x, HEIGHT - MARGINS[3] - (HEIGHT - MARGINS[2] - MARGINS[3]) * share)
    }

    fn draw(&self, svg: &mut String, across: &str) {
        let (left, right, bottom) = (MARGINS[0], WIDTH - MARGINS[1], HEIGHT - MARGINS[3]);
        for power in self.lowest as u32..=self.highest as u32 {
            let (_, y) = self.place((0, 10u64.pow(power)));
            let _ = writeln!(svg, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>");
            text(svg, (left - 6.0, y + 4.0), "end", "black", &bytes_of(power));
        }
        for tenth in 0..=10 {
            let step = (self.last * f64::from(tenth) / 10.0).round() as usize;
            let (x, _) = self.place((step, 1));
            text(svg, (x, bottom + 18.0), "middle", "black", &step.to_string());
        }
        let _ = writeln!(svg, "<path d=\"M{left} {}V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>", MARGINS[2]);
        text(svg, ((left + right) / 2.0, HEIGHT - 12.0), "middle", "black", across);
    }
}

fn bytes_of(power: u32) -> String {
    let (unit, of) = [("B", 0), ("kB", 3), ("MB", 6), ("GB", 9)][(power / 3).min(3) as usize];
    format!("{} {unit}", 10u64.pow(power - of))
}

/// Writes some text.
pub(super) fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, colour: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>");
}
