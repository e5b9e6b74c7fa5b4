//! Charts as inline SVG: lines with error bars, and histograms. Colours and fonts come from the page's style sheet.

use super::html::Html;

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 34.0;

/// A line of a chart.
pub(super) struct Series {
    /// Class of the style sheet that gives colour and dashes.
    pub(super) class: String,
    /// Points from left to right.
    pub(super) points: Vec<(f64, f64)>,
    /// Half the length of the error bar at each point; empty without.
    pub(super) errors: Vec<f64>,
    /// Whether points are marked.
    pub(super) marked: bool,
}

/// Range and ticks of an axis.
pub(super) struct Axis {
    /// What it shows.
    pub(super) title: &'static str,
    /// Least and largest value.
    pub(super) range: (f64, f64),
    /// Where a tick stands and what it reads.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From `from` to `to` in even steps, read with two digits.
    pub(super) fn even(title: &'static str, (from, to): (f64, f64), steps: u32) -> Self {
        let tick = |step: u32| {
            let value = from + (to - from) * f64::from(step) / f64::from(steps);
            (value, short(value))
        };
        Self { title, range: (from, to), ticks: (0..=steps).map(tick).collect() }
    }
}

/// Where values stand in the drawing.
struct Frame<'a> {
    across: &'a Axis,
    up: &'a Axis,
}

impl Frame<'_> {
    fn x(&self, value: f64) -> f64 {
        LEFT + share(value, self.across.range) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - share(value, self.up.range) * (HEIGHT - TOP - BOTTOM)
    }

    /// Grid, ticks and titles.
    fn draw(&self) -> Html {
        let mut parts = Vec::new();
        for (value, label) in &self.up.ticks {
            let y = self.y(*value);
            parts.push(line("grid", (LEFT, y), (WIDTH - RIGHT, y)));
            parts.push(text("tick end", (LEFT - 5.0, y + 3.5), label));
        }
        for (value, label) in &self.across.ticks {
            let x = self.x(*value);
            parts.push(line("axis", (x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 3.0)));
            parts.push(text("tick middle", (x, HEIGHT - BOTTOM + 14.0), label));
        }
        parts.push(line("axis", (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM)));
        parts.push(text("label middle", (LEFT.midpoint(WIDTH - RIGHT), HEIGHT - 4.0), self.across.title));
        Html::all(parts)
    }
}

fn share(value: f64, (from, to): (f64, f64)) -> f64 {
    if to <= from { 0.5 } else { ((value - from) / (to - from)).clamp(0.0, 1.0) }
}

/// Lines over a common pair of axes; `description` is what a screen reader says.
pub(super) fn lines(description: &str, across: &Axis, up: &Axis, series: &[Series]) -> Html {
    let frame = Frame { across, up };
    let mut parts = vec![frame.draw()];
    for Series { class, points, errors, marked } in series {
        let path: Vec<String> = points
            .iter()
            .enumerate()
            .map(|(index, &(x, y))| {
                format!("{}{} {}", if index == 0 { "M" } else { "L" }, at(frame.x(x)), at(frame.y(y)))
            })
            .collect();
        for (&(x, y), &error) in points.iter().zip(errors).filter(|(_, error)| 0.0 < **error) {
            let (x, high, low) = (frame.x(x), frame.y(y + error), frame.y(y - error));
            parts.push(line(&format!("bar {class}"), (x, high), (x, low)));
        }
        parts.push(Html::empty("path", &[("class", &format!("line {class}")), ("d", &path.join(" "))]));
        if *marked {
            for &(x, y) in points {
                let (x, y) = (at(frame.x(x)), at(frame.y(y)));
                let class = format!("dot {class}");
                parts.push(Html::empty("circle", &[("class", &class), ("cx", &x), ("cy", &y), ("r", "2.6")]));
            }
        }
    }
    svg(description, parts)
}

/// Two overlaid histograms of scores, each as shares of its own count.
pub(super) fn histogram(description: &str, normal: &[f32], anomalous: &[f32]) -> Html {
    const BINS: usize = 30;
    let all = || normal.iter().chain(anomalous).map(|&score| f64::from(score));
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let most = if most <= least { least + 1e-6 } else { most };
    let shares = |scores: &[f32]| {
        let mut counts = [0.0; BINS];
        for &score in scores {
            let bin = share(f64::from(score), (least, most)) * BINS as f64;
            counts[(bin as usize).min(BINS - 1)] += 1.0 / scores.len().max(1) as f64;
        }
        counts
    };
    let both = [("normal", shares(normal)), ("anomalous", shares(anomalous))];
    let highest = both.iter().flat_map(|(_, shares)| shares).copied().fold(0.0, f64::max);
    let across = Axis::even("score", (least, most), 4);
    let up = Axis::even("share", (0.0, highest), 2);
    let frame = Frame { across: &across, up: &up };
    let mut parts = vec![frame.draw()];
    for (class, shares) in &both {
        let width = (most - least) / BINS as f64;
        let mut corners = vec![format!("M{} {}", at(frame.x(least)), at(frame.y(0.0)))];
        for (bin, share) in shares.iter().enumerate() {
            let (from, to) = (least + width * bin as f64, least + width * (bin + 1) as f64);
            let y = at(frame.y(*share));
            corners.push(format!("L{} {y} L{} {y}", at(frame.x(from)), at(frame.x(to))));
        }
        corners.push(format!("L{} {} Z", at(frame.x(most)), at(frame.y(0.0))));
        let path = corners.join(" ");
        parts.push(Html::empty("path", &[("class", &format!("area {class}")), ("d", &path)]));
    }
    svg(description, parts)
}

fn svg(description: &str, parts: Vec<Html>) -> Html {
    let view_box = format!("0 0 {WIDTH} {HEIGHT}");
    let attributes = [("viewBox", view_box.as_str()), ("role", "img"), ("aria-label", description)];
    Html::element("svg", &attributes, parts)
}

fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> Html {
    let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(at);
    Html::empty("line", &[("class", class), ("x1", &x1), ("y1", &y1), ("x2", &x2), ("y2", &y2)])
}

fn text(class: &str, (x, y): (f64, f64), text: &str) -> Html {
    Html::of_text("text", &[("class", class), ("x", &at(x)), ("y", &at(y))], text)
}

/// A coordinate: a tenth of a pixel is enough.
fn at(value: f64) -> String {
    let rounded = format!("{value:.1}");
    rounded.strip_suffix(".0").map_or(rounded.clone(), str::to_owned)
}

/// Two digits behind the point for what is near 1, fewer for large values.
fn short(value: f64) -> String {
    if 10.0 <= value.abs() { format!("{value:.0}") } else { format!("{value:.2}") }
}
