//! Anomaly maps over images: what was missed, what was flagged wrongly, what is usual.

use inctrl_model::Preprocess;

use super::charts_of::{best_scorers, labelled_rows};
use super::section;
use crate::eval::seen::Seen;
use crate::eval::{EvalError, Outcome, Scored, load_image};
use crate::report::evidence::{Example, Examples, RowScores};
use crate::report::html::Html;
use crate::report::pictures::{Scale, data_uri, outlined, overlaid, thumbnail};

/// Examples of the rows of which training has seen nothing, as the best head sees them.
pub(crate) fn examples(outcome: &Outcome, preprocess: &Preprocess) -> Result<Html, EvalError> {
    let Some((name, scorers)) = best_scorers(outcome) else { return Ok(Html::default()) };
    let mut parts = Vec::new();
    let unseen = labelled_rows(outcome).filter(|(_, _, row)| row.cell.is_none_or(Seen::is_unseen));
    for (label, scored, row) in unseen {
        let scores = RowScores::new(outcome, scored, row, &scorers[..1]);
        let Examples { missed, false_alarms, typical } = scores.examples(&scored.runs);
        let shown = [&missed, &false_alarms, &typical].into_iter().flatten();
        let scale = Scale::of(shown.map(|example| map_of(scored, example)));
        parts.push(Html::of_text("h3", &[], label));
        for (title, examples) in [
            ("found, of usual margin", typical),
            ("missed, furthest below", missed),
            ("false alarms, furthest above", false_alarms),
        ] {
            if examples.is_empty() {
                let none = format!("{title}: none in this draw");
                parts.push(Html::of_text("p", &[("class", "note")], none));
                continue;
            }
            parts.push(Html::of_text("p", &[("class", "note")], title));
            let figures: Result<Vec<Html>, EvalError> =
                examples.iter().map(|example| picture(outcome, scored, example, scale, preprocess)).collect();
            parts.push(Html::element("div", &[("class", "examples")], figures?));
        }
    }
    let lead = format!(
        "Images of the first prompt draw at K = {} and what {name} says of them: left what the backbone examined, with \
         the outline of the mask where there is one; right the anomaly map. Found or missed is meant at the threshold of \
         best F1 in the category. Colours run from the median residual of a row's pictures to its largest.",
        outcome.evaluation.headline_shots
    );
    Ok(section("Anomaly maps", &lead, parts))
}

fn map_of<'s>(scored: &'s Scored, example: &Example) -> &'s Vec<f32> {
    &scored.runs[example.task][example.run].maps[example.position]
}

fn picture(
    outcome: &Outcome,
    scored: &Scored,
    example: &Example,
    scale: Scale,
    preprocess: &Preprocess,
) -> Result<Html, EvalError> {
    let task = &scored.benchmark.tasks[example.task];
    let position = scored.runs[example.task][example.run].queries[example.position];
    let sample = scored.benchmark.sample(task.queries[position]);
    let plain = thumbnail(&load_image(&sample.path, preprocess)?, preprocess);
    let map = overlaid(plain.clone(), map_of(scored, example), outcome.evaluation.backbone.grid, scale);
    let plain = match &scored.masks[example.task] {
        Some(masks) => outlined(plain, &masks[position]),
        None => plain,
    };
    let kind = match (&sample.defect, task.queries[position].anomalous) {
        (Some(defect), true) => defect.clone(),
        (None, true) => "anomalous".to_owned(),
        (_, false) => "normal".to_owned(),
    };
    let image = |picture, what: &str| {
        let description = format!("{what} of {}", scored.benchmark.dataset.relative(&sample.path));
        Html::empty("img", &[("src", data_uri(picture).as_str()), ("alt", &description)])
    };
    let caption = Html::element(
        "figcaption",
        &[],
        [
            Html::of_text("b", &[], format!("{:.3}", example.score)),
            Html::text(format!(" (threshold {:.3}) {}: {kind}", example.threshold, task.name)),
        ],
    );
    let parts = [image(&plain, "image"), image(&map, "anomaly map"), caption];
    Ok(Html::element("figure", &[("class", "example")], parts))
}
