//! One image's result as a row.

use std::path::Path;
use std::time::Duration;

use inctrl_proto::v1::{self, Decision, DetectAnomalyResponse};
use serde::Serialize;

use crate::output::{Column, Row};

/// A result; what an image has not (a failed one has no score) is absent: `null`, an empty field, `-`.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(crate) struct ScoreRow {
    pub(crate) image: String,
    pub(crate) score: Option<f32>,
    pub(crate) image_score: Option<f32>,
    pub(crate) text_score: Option<f32>,
    pub(crate) patch_max: Option<f32>,
    pub(crate) holistic_score: Option<f32>,
    /// `normal`, `anomalous`, or `uncalibrated`: a score without a decision.
    pub(crate) decision: Option<&'static str>,
    pub(crate) threshold: Option<f32>,
    pub(crate) model: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) backbone_digest: Option<String>,
    pub(crate) backbone_provenance: Option<String>,
    pub(crate) prompt_digest: Option<String>,
    pub(crate) decode_ms: Option<f64>,
    pub(crate) queue_ms: Option<f64>,
    pub(crate) compute_ms: Option<f64>,
    pub(crate) batch_size: Option<i32>,
    pub(crate) prompt_cache_hit: Option<bool>,
    /// File of the anomaly map.
    pub(crate) map: Option<String>,
    pub(crate) error: Option<String>,
}

impl Row for ScoreRow {
    const COLUMNS: &'static [Column] = &[
        Column::text("image", 5),
        Column::number("score", 6),
        Column::number("image_score", 11),
        Column::number("text_score", 10),
        Column::number("patch_max", 9),
        Column::number("holistic_score", 14),
        Column::text("decision", 12),
    ];

    fn cells(&self) -> Vec<String> {
        let number = |value: Option<f32>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        let failed = if self.error.is_some() { "failed" } else { "-" };
        vec![
            self.image.clone(),
            number(self.score),
            number(self.image_score),
            number(self.text_score),
            number(self.patch_max),
            number(self.holistic_score),
            self.decision.unwrap_or(failed).to_owned(),
        ]
    }
}

impl ScoreRow {
    /// A row that names its image and nothing else yet.
    pub(crate) fn of(image: &Path) -> Self {
        Self { image: image.display().to_string(), ..Self::default() }
    }

    /// Takes over what a server answered.
    pub(crate) fn answered(self, answer: &DetectAnomalyResponse) -> Self {
        let components = answer.components.unwrap_or_default();
        let provenance = answer.provenance.clone().unwrap_or_default();
        let v1::Provenance {
            model,
            revision,
            revision_number: _,
            backbone_digest,
            backbone_provenance,
            prompt_digest,
        } = provenance;
        let v1::Timing { decode_duration, queue_duration, compute_duration, batch_size, is_prompt_cache_hit } =
            answer.timing.unwrap_or_default();
        Self {
            score: Some(answer.score),
            image_score: components.image_score,
            text_score: components.text_score,
            patch_max: Some(components.patch_max),
            holistic_score: components.holistic_score,
            decision: decided(answer.decision()),
            threshold: answer.threshold,
            model: Some(model),
            revision: Some(revision),
            backbone_digest: Some(backbone_digest),
            backbone_provenance: Some(backbone_provenance),
            prompt_digest: Some(prompt_digest),
            decode_ms: milliseconds(decode_duration),
            queue_ms: milliseconds(queue_duration),
            compute_ms: milliseconds(compute_duration),
            batch_size: Some(batch_size),
            prompt_cache_hit: Some(is_prompt_cache_hit),
            ..self
        }
    }
}

fn decided(decision: Decision) -> Option<&'static str> {
    match decision {
        Decision::Unspecified => None,
        Decision::Uncalibrated => Some("uncalibrated"),
        Decision::Normal => Some("normal"),
        Decision::Anomalous => Some("anomalous"),
    }
}

/// Milliseconds with three digits after the point.
fn milliseconds(duration: Option<prost_types::Duration>) -> Option<f64> {
    let duration = Duration::try_from(duration?).ok()?;
    Some(duration.as_micros() as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> DetectAnomalyResponse {
        DetectAnomalyResponse {
            score: 0.75,
            components: Some(v1::ComponentScores { patch_max: 0.5, ..v1::ComponentScores::default() }),
            decision: Decision::Uncalibrated.into(),
            timing: Some(v1::Timing {
                compute_duration: Some(prost_types::Duration { seconds: 1, nanos: 2_345_678 }),
                batch_size: 3,
                ..v1::Timing::default()
            }),
            ..DetectAnomalyResponse::default()
        }
    }

    #[test]
    fn parts_that_a_head_has_not_are_absent() {
        let row = ScoreRow::of(Path::new("a.png")).answered(&answer());
        assert_eq!(row.cells(), ["a.png", "0.7500", "-", "-", "0.5000", "-", "uncalibrated"]);
        assert_eq!((row.text_score, row.compute_ms, row.decode_ms), (None, Some(1002.345), None));
    }

    #[test]
    fn a_failed_image_has_a_row_too() {
        let row = ScoreRow { error: Some("no image".to_owned()), ..ScoreRow::of(Path::new("a.png")) };
        assert_eq!(row.cells(), ["a.png", "-", "-", "-", "-", "-", "failed"]);
    }
}
