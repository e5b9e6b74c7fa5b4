//! Charts: AUROC by shots, ROC curves, score histograms, training losses.

use super::{classes, figure, legend, multiples, section};
use crate::eval::evaluation::Evaluation;
use crate::eval::table::rows;
use crate::eval::{NamedHead, Outcome, Row, Scored, Scorer};
use crate::report::charts::{Axis, Series, histogram, lines};
use crate::report::evidence::RowScores;
use crate::report::html::Html;
use crate::train::{CURVE_NAME, LossCurve};

/// Image AUROC against the number of shots.
pub(crate) fn by_shots(evaluation: &Evaluation) -> Html {
    if evaluation.shots.len() < 2 {
        return Html::default();
    }
    let classes = classes(&evaluation.methods);
    let all = || rows(evaluation).flat_map(|(_, row)| row.summary.iter().map(|summary| summary.auroc.mean));
    let floor = (all().fold(f64::INFINITY, f64::min) * 10.0).floor() / 10.0;
    let up = Axis::even("image AUROC", (floor.min(0.9), 1.0), 4);
    let last = evaluation.shots.len() - 1;
    let ticks =
        evaluation.shots.iter().enumerate().map(|(place, shots)| (place as f64, format!("K = {shots}")));
    let across = Axis { title: "", range: (-0.15, last as f64 + 0.15), ticks: ticks.collect() };
    let figures = rows(evaluation).map(|(label, row)| {
        let series = evaluation.methods.iter().zip(&classes).map(|(method, class)| {
            let stats = evaluation
                .shots
                .iter()
                .enumerate()
                .filter_map(|(place, &shots)| Some((place as f64, row.of(method.name(), shots)?.auroc)));
            let (points, errors) =
                stats.map(|(place, stat)| ((place, stat.mean), stat.deviation.unwrap_or(0.0))).unzip();
            Series { class: class.clone(), points, errors, marked: true }
        });
        let description = format!("{label}: image AUROC against the number of shots");
        figure(&label, lines(&description, &across, &up, &series.collect::<Vec<_>>()))
    });
    let lead = "Image AUROC by the size of the prompt set; bars are one standard deviation.";
    section("How many normal images it takes", lead, [legend(&evaluation.methods), multiples(figures)])
}

/// ROC curves at the headline shots.
pub(crate) fn roc(outcome: &Outcome) -> Html {
    let evaluation = &outcome.evaluation;
    let classes = classes(&evaluation.methods);
    let across = Axis::even("false-positive rate", (0.0, 1.0), 4);
    let up = Axis::even("recall", (0.0, 1.0), 4);
    let figures = labelled_rows(outcome).map(|(label, scored, row)| {
        let chance = Series {
            class: "chance".to_owned(),
            points: vec![(0.0, 0.0), (1.0, 1.0)],
            errors: Vec::new(),
            marked: false,
        };
        let of_methods = outcome.columns.iter().zip(&classes).map(|((_, scorers), class)| Series {
            class: class.clone(),
            points: RowScores::new(outcome, scored, row, scorers).roc(),
            errors: Vec::new(),
            marked: false,
        });
        let series: Vec<Series> = std::iter::once(chance).chain(of_methods).collect();
        figure(&label, lines(&format!("{label}: ROC curves"), &across, &up, &series))
    });
    let figures: Vec<Html> = figures.collect();
    let lead = format!(
        "At K = {}, averaged over categories, draws and heads: the area under a line is the mean AUROC.",
        evaluation.headline_shots
    );
    section("ROC curves", &lead, [legend(&evaluation.methods), multiples(figures)])
}

/// Scores of the best head (or, without heads, of the first baseline).
pub(crate) fn histograms(outcome: &Outcome) -> Html {
    let best = outcome.evaluation.verdict.as_ref().map(|verdict| verdict.head.as_str());
    let Some((method, scorers)) =
        outcome.columns.iter().find(|(method, _)| best.is_none_or(|best| method.name() == best))
    else {
        return Html::default();
    };
    let figures = labelled_rows(outcome).map(|(label, scored, row)| {
        let scores = RowScores::new(outcome, scored, row, scorers);
        let (normal, anomalous) = (scores.of_label(false), scores.of_label(true));
        figure(&label, histogram(&format!("{label}: scores"), &normal, &anomalous))
    });
    let figures: Vec<Html> = figures.collect();
    let sample = |class: &str, name: &str| {
        let class = format!("area {class}");
        let area = Html::empty("path", &[("class", &class), ("d", "M0 9 L0 1 L30 1 L30 9 Z")]);
        let sample = Html::element("svg", &[("viewBox", "0 0 30 10"), ("aria-hidden", "true")], [area]);
        Html::element("span", &[], [sample, Html::text(name)])
    };
    let legend = Html::element(
        "div",
        &[("class", "legend")],
        [sample("normal", "normal"), sample("anomalous", "anomalous")],
    );
    let lead = format!(
        "Scores of {} at K = {}, all categories and draws together, each label as shares of its own count. A category \
         has its own threshold in use; this is not how well one threshold would do.",
        method.name(),
        outcome.evaluation.headline_shots
    );
    section("Scores", &lead, [legend, multiples(figures)])
}

/// Losses of the heads' training, where a curve stands beside a head.
pub(crate) fn losses(outcome: &Outcome) -> Html {
    let figures: Vec<Html> = outcome.heads.iter().filter_map(loss_figure).collect();
    if figures.is_empty() {
        return Html::default();
    }
    let lead = "Mean loss of each epoch; dashed: of classes that training held out. Losses of different kinds of heads \
                cannot be compared.";
    section("Training", lead, [multiples(figures)])
}

fn loss_figure(head: &NamedHead) -> Option<Html> {
    let text = std::fs::read(head.path.with_file_name(CURVE_NAME)).ok()?;
    let LossCurve { epochs, .. } = serde_json::from_slice(&text).ok()?;
    let point = |epoch: u64, loss: f32| (epoch as f64, f64::from(loss));
    let training: Vec<(f64, f64)> = epochs.iter().map(|record| point(record.epoch, record.loss)).collect();
    let validation = epochs.iter().filter_map(|record| Some(point(record.epoch, record.validation?.loss)));
    let validation: Vec<(f64, f64)> = validation.collect();
    let (first, last) = (training.first()?.0, training.last()?.0);
    let highest = training.iter().chain(&validation).map(|point| point.1).fold(0.0, f64::max);
    let across = Axis {
        title: "epoch",
        range: (first, last),
        ticks: [first, last].map(|epoch| (epoch, format!("{epoch:.0}"))).to_vec(),
    };
    let up = Axis::even("loss", (0.0, highest), 4);
    let series = [("head-0", training), ("head-1", validation)].map(|(class, points)| Series {
        class: class.to_owned(),
        points,
        errors: Vec::new(),
        marked: false,
    });
    let title = format!("{} ({})", head.name, short(head.head.digest()));
    Some(figure(&title, lines(&format!("{title}: loss by epoch"), &across, &up, &series)))
}

/// The first digits of a digest.
pub(super) fn short(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(12).collect()
}

/// Rows with their data sets.
pub(super) fn labelled_rows(outcome: &Outcome) -> impl Iterator<Item = (String, &Scored, &Row)> {
    outcome.scored.iter().flat_map(|scored| {
        let name = &scored.benchmark.dataset.name;
        scored.benchmark.rows.iter().map(move |row| (format!("{name}: {}", row.name), scored, row))
    })
}

/// Scorers of the best head; of the first method without heads.
pub(super) fn best_scorers(outcome: &Outcome) -> Option<(&str, &[Scorer])> {
    let best = outcome.evaluation.verdict.as_ref().map(|verdict| verdict.head.as_str());
    let column = outcome.columns.iter().find(|(method, _)| best.is_none_or(|best| method.name() == best));
    column.map(|(method, scorers)| (method.name(), scorers.as_slice()))
}
