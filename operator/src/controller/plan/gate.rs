//! The gate: what a head must have shown on held-out images, against fixed bounds and against the head that is active.

use crate::controller::observation::GateView;
use crate::crd::{Gate, GateMetric, MetricName, Revision, RevisionMetric};

/// Why a head may not be rolled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// One word, as a condition's reason.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) message: String,
}

fn refuse<T>(reason: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { reason, message: message.into() })
}

/// Judges a head; what passed is said for people.
pub(super) fn judge(
    gate: &Gate,
    shown: Option<&GateView>,
    active: Option<&Revision>,
) -> Result<String, Refusal> {
    let Some(shown) = shown else {
        return refuse("EvaluationFailed", "the artifact says nothing of the gate data set");
    };
    if shown.samples < gate.min_samples {
        let message = format!(
            "{} images were scored, spec.gate.minSamples asks for {}",
            shown.samples, gate.min_samples
        );
        return refuse("TooFewSamples", message);
    }
    for bound in &gate.metrics {
        check(bound, shown, active)?;
    }
    Ok(format!("{} of {} metrics within bounds", gate.metrics.len(), gate.metrics.len()))
}

/// Name of a metric in manifests and status: with its split after a slash.
pub(super) fn full_name(bound: &GateMetric) -> String {
    match &bound.split {
        Some(split) => format!("{}/{split}", bound.name.as_str()),
        None => bound.name.as_str().to_owned(),
    }
}

fn value(metrics: &[RevisionMetric], name: &str) -> Option<i64> {
    metrics.iter().find(|metric| metric.name == name).and_then(|metric| metric.basis_points.or(metric.value))
}

fn check(bound: &GateMetric, shown: &GateView, active: Option<&Revision>) -> Result<(), Refusal> {
    let name = full_name(bound);
    let GateMetric { name: kind, split: _, min_basis_points, max_value, max_regression_basis_points } = bound;
    let Some(measured) = value(&shown.candidate, &name) else {
        return refuse("EvaluationFailed", format!("{name} was not measured"));
    };
    if let Some(least) = min_basis_points.filter(|least| measured < *least) {
        let message = format!("{name} is {measured} basis points, at least {least} are asked for");
        return refuse("BelowMinimum", message);
    }
    if let Some(most) = max_value.filter(|most| measured > *most) {
        return refuse("BelowMinimum", format!("{name} is {measured}, at most {most} is asked for"));
    }
    let (Some(allowed), Some(active)) = (*max_regression_basis_points, active) else { return Ok(()) };
    let Some(former) = former_value(&name, shown, active) else {
        let message = format!(
            "{name} of the active head was not measured on the same images, so they cannot be compared; restore its \
             artifact, or drop this bound's maxRegressionBasisPoints for one run, then annotate inctrl.dev/retrain-at"
        );
        return refuse("EvaluationFailed", message);
    };
    let worse = match kind {
        MetricName::ImageAuroc | MetricName::ImageAuprc | MetricName::F1Max => former - measured,
        // Relative: basis points of the former latency.
        MetricName::LatencyP99Millis => (measured - former).saturating_mul(10_000) / former.max(1),
    };
    if worse > allowed {
        let message = format!(
            "{name} is {worse} basis points worse than the active head, at most {allowed} are allowed"
        );
        return refuse("Regressed", message);
    }
    Ok(())
}

/// The active head's figure on the same images: from this very run, or from its own where the images are the same.
fn former_value(name: &str, shown: &GateView, active: &Revision) -> Option<i64> {
    if let Some((digest, metrics)) = &shown.active
        && active.digest.as_ref() == Some(digest)
    {
        return value(metrics, name);
    }
    if active.gate_fingerprint.as_ref() == Some(&shown.fingerprint) {
        return value(&active.metrics, name);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, figure: i64) -> RevisionMetric {
        let latency = name.starts_with("latency");
        RevisionMetric {
            name: name.to_owned(),
            basis_points: (!latency).then_some(figure),
            value: latency.then_some(figure),
        }
    }

    fn shown(auroc: i64, latency: i64) -> GateView {
        GateView {
            fingerprint: "sha256:gate".to_owned(),
            samples: 200,
            candidate: vec![metric("imageAUROC", auroc), metric("latencyP99Millis", latency)],
            active: None,
        }
    }

    fn gate() -> Gate {
        serde_json::from_value(serde_json::json!({
            "dataset": { "uri": "s3://b/g" },
            "metrics": [
                { "name": "imageAUROC", "minBasisPoints": 8500, "maxRegressionBasisPoints": 50 },
                { "name": "latencyP99Millis", "maxValue": 40 },
            ],
            "minSamples": 100,
        }))
        .unwrap()
    }

    fn active(fingerprint: &str, auroc: i64) -> Revision {
        Revision {
            revision: 1,
            digest: Some("sha256:active".to_owned()),
            gate_fingerprint: Some(fingerprint.to_owned()),
            metrics: vec![metric("imageAUROC", auroc)],
            ..Revision::default()
        }
    }

    fn reason(shown: &GateView, active: Option<&Revision>) -> &'static str {
        judge(&gate(), Some(shown), active).map_or_else(|refusal| refusal.reason, |_| "passed")
    }

    #[test]
    fn bounds_hold_including_their_ends() {
        assert_eq!(reason(&shown(8500, 40), None), "passed");
        assert_eq!(reason(&shown(8499, 40), None), "BelowMinimum");
        assert_eq!(reason(&shown(8500, 41), None), "BelowMinimum");
    }

    #[test]
    fn a_head_is_compared_with_the_active_one_only_on_the_same_images() {
        assert_eq!(reason(&shown(8700, 40), Some(&active("sha256:gate", 8750))), "passed");
        assert_eq!(reason(&shown(8700, 40), Some(&active("sha256:gate", 8751))), "Regressed");
        assert_eq!(reason(&shown(8700, 40), Some(&active("sha256:other", 8000))), "EvaluationFailed");
        let mut beside = shown(8700, 40);
        beside.active = Some(("sha256:active".to_owned(), vec![metric("imageAUROC", 8900)]));
        assert_eq!(reason(&beside, Some(&active("sha256:other", 8000))), "Regressed");
        beside.active = Some(("sha256:someone else".to_owned(), vec![metric("imageAUROC", 8900)]));
        assert_eq!(reason(&beside, Some(&active("sha256:gate", 8700))), "passed");
    }

    #[test]
    fn silence_does_not_pass() {
        let mut few = shown(9900, 1);
        few.samples = 99;
        assert_eq!(reason(&few, None), "TooFewSamples");
        let mut without = shown(9900, 1);
        without.candidate.remove(1);
        assert_eq!(reason(&without, None), "EvaluationFailed");
        assert!(judge(&gate(), None, None).is_err());
    }
}
