//! The table on the terminal: heads beside baselines, row by row, and which head is best.

use std::fmt::Write as _;

use super::evaluation::{Evaluation, RowResult, Summary, Verdict};
use super::methods::Method;
use super::statistics::Stat;

/// Marks the largest number of a row.
const BEST: &str = "*";

/// The whole table, ready to print.
pub fn render(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    let heading = heading(evaluation);
    let _ = writeln!(text, "{heading}");
    let methods: Vec<&str> = evaluation.methods.iter().map(Method::name).collect();
    let mut lines =
        vec![group_line(&evaluation.methods), with_first("", methods.iter().map(|&name| name.to_owned()))];
    for (label, row) in rows(evaluation) {
        let stats = methods.iter().map(|name| row.of(name, evaluation.headline_shots).map(|of| of.auroc));
        lines.push(with_first(&label, marked(&stats.collect::<Vec<_>>())));
    }
    let _ = writeln!(text, "{}", aligned(&lines));
    text.push_str(&other_metrics(evaluation));
    text.push_str(&by_shots(evaluation, &methods));
    if let Some(conclusion) = conclusion(evaluation) {
        let _ = writeln!(text, "{conclusion}");
    }
    text
}

/// What the numbers are, of what.
pub fn heading(evaluation: &Evaluation) -> String {
    let Evaluation { headline_shots, draws, seed, .. } = evaluation;
    format!(
        "{}\nimage AUROC at K = {headline_shots}, mean over categories ± deviation over {draws} prompt draws and the \
         heads of a name; seed {seed}; {BEST} best of the row\n",
        backbone_line(evaluation)
    )
}

/// The backbone, and plainly what it is not.
pub fn backbone_line(evaluation: &Evaluation) -> String {
    let backbone = &evaluation.backbone;
    let plainly = if backbone.provenance == "clip" {
        "CLIP".to_owned()
    } else {
        format!("{}: this is not CLIP, and the numbers are not those of the paper", backbone.provenance)
    };
    format!("backbone {} ({plainly})", backbone.name)
}

/// Which head is best, or why that cannot be said; nothing without heads.
pub fn conclusion(evaluation: &Evaluation) -> Option<String> {
    match &evaluation.verdict {
        Some(verdict) => Some(statement(verdict, evaluation.headline_shots)),
        None if evaluation.methods.iter().any(Method::is_head) => {
            Some("best head: none can be named, training has seen something of every row".to_owned())
        }
        None => None,
    }
}

/// Which head is best, and where it is not above every baseline.
fn statement(verdict: &Verdict, shots: usize) -> String {
    let Verdict { head, auroc, rows } = verdict;
    let behind = rows.iter().filter(|row| !row.is_above()).filter_map(|row| {
        let (baseline, of_baseline) = row.baseline.as_ref()?;
        Some(format!("{}, {} ({:.3}; {baseline} {of_baseline:.3})", row.data_set, row.row, row.auroc))
    });
    let behind: Vec<String> = behind.collect();
    let against = if rows.iter().all(|row| row.baseline.is_none()) {
        "no baseline was asked for".to_owned()
    } else if behind.is_empty() {
        "above every baseline everywhere".to_owned()
    } else {
        format!("not above every baseline on {}", behind.join("; "))
    };
    format!(
        "best head: {head}, image AUROC {auroc:.3} at K = {shots} over what training has not seen; {against}"
    )
}

/// Rows of all data sets with their labels.
pub fn rows(evaluation: &Evaluation) -> impl Iterator<Item = (String, &RowResult)> {
    evaluation.data_sets.iter().flat_map(|data_set| {
        data_set.rows.iter().map(move |row| (format!("{}: {}", data_set.name, row.name), row))
    })
}

/// A mean with its deviation.
pub fn number(stat: Stat) -> String {
    match stat.deviation {
        Some(deviation) => format!("{:.3} ± {deviation:.3}", stat.mean),
        None => format!("{:.3}", stat.mean),
    }
}

/// Above the names: which columns are heads and which baselines.
fn group_line(methods: &[Method]) -> Vec<String> {
    let mut before = None;
    let groups = methods.iter().map(|method| {
        let again = before.replace(method.is_head()) == Some(method.is_head());
        match (again, method.is_head()) {
            (true, _) => String::new(),
            (false, true) => "heads".to_owned(),
            (false, false) => "baselines".to_owned(),
        }
    });
    with_first("", groups)
}

/// Numbers of a row, the largest mean marked.
fn marked(stats: &[Option<Stat>]) -> Vec<String> {
    let best = stats.iter().flatten().map(|stat| stat.mean).fold(f64::NEG_INFINITY, f64::max);
    let cell = |stat: &Option<Stat>| match stat {
        Some(stat) if best <= stat.mean => format!("{} {BEST}", number(*stat)),
        Some(stat) => number(*stat),
        None => "–".to_owned(),
    };
    stats.iter().map(cell).collect()
}

/// Average precision, F1-max and the map of the best head (or else of the first method).
fn other_metrics(evaluation: &Evaluation) -> String {
    let best = evaluation.verdict.as_ref().map(|verdict| verdict.head.as_str());
    let Some(method) = best.or_else(|| evaluation.methods.first().map(Method::name)) else {
        return String::new();
    };
    let titles = ["AP", "F1-max (optimistic)", "pixel AUROC", "AUPRO@0.3"];
    let mut lines = vec![with_first(&format!("{method}:"), titles.map(str::to_owned))];
    for (label, row) in rows(evaluation) {
        let Some(Summary { average_precision, f1_max, map, .. }) = row.of(method, evaluation.headline_shots)
        else {
            continue;
        };
        let of_map = map.map(|map| [map.pixel_auroc, map.aupro]);
        let image = [*average_precision, *f1_max].map(number);
        let pixels = of_map.map_or_else(|| ["–".to_owned(), "–".to_owned()], |stats| stats.map(number));
        lines.push(with_first(&label, image.into_iter().chain(pixels)));
    }
    format!("{}\n", aligned(&lines))
}

/// Mean over the rows that count, by shots.
fn by_shots(evaluation: &Evaluation, methods: &[&str]) -> String {
    let mut lines = vec![with_first(
        "mean over the rows above that training has not seen:",
        methods.iter().map(|&name| name.to_owned()),
    )];
    for &shots in &evaluation.shots {
        let means = methods.iter().map(|method| {
            let counted = rows(evaluation).filter(|(_, row)| row.counts());
            let means: Vec<f64> =
                counted.filter_map(|(_, row)| Some(row.of(method, shots)?.auroc.mean)).collect();
            Stat::of(&means).map(|stat| Stat { deviation: None, ..stat })
        });
        lines.push(with_first(&format!("K = {shots}"), marked(&means.collect::<Vec<_>>())));
    }
    format!("{}\n", aligned(&lines))
}

fn with_first(first: &str, rest: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(rest).collect()
}

/// Columns of equal width, the first left-aligned.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let cells: Vec<String> = cells.collect();
        let _ = writeln!(text, "{}", cells.join("   ").trim_end());
    }
    text
}
