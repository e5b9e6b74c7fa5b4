//! What the servers say of a head in use: failed, passed, or not enough seen to say.

use super::Context;
use crate::controller::observation::{HeadView, Latency, Role, ServerReport};

/// What the servers say of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Enough was seen, and all of it within bounds.
    Passed,
    /// Not enough was seen.
    TooFew,
    /// A bound is broken: what and how, without numbers that change.
    Failed(String),
}

/// Counts of one head over all servers that answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) requests: i64,
    pub(super) errors: i64,
    /// How many servers have it.
    pub(super) servers: i64,
    latency: Latency,
}

/// What had been counted when a step or a bake began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) requests: i64,
    pub(super) errors: i64,
    /// How many servers that was the sum of; none where an older operator wrote it.
    pub(super) servers: Option<i64>,
}

impl Base {
    /// All that is counted now.
    pub(super) fn now<'a>(reports: impl Iterator<Item = &'a ServerReport>, digest: &str) -> Self {
        let Totals { requests, errors, servers, latency: _ } = totals(reports, digest);
        Self { requests, errors, servers: Some(servers) }
    }

    /// From where counting goes on. Servers come and go with what they counted, and one that was started anew counts from
    /// nought: neither may look like requests, so counting begins again where the sum is of other servers, or fell.
    pub(super) fn kept<'a>(self, reports: impl Iterator<Item = &'a ServerReport>, digest: &str) -> Self {
        let now = Self::now(reports, digest);
        if self.servers.is_some() && self.servers != now.servers {
            return now;
        }
        Self {
            requests: self.requests.min(now.requests),
            errors: self.errors.min(now.errors),
            servers: now.servers,
        }
    }
}

/// Adds up what servers saw of a head in any role.
pub(super) fn totals<'a>(reports: impl Iterator<Item = &'a ServerReport>, digest: &str) -> Totals {
    let mut all = Totals::default();
    for head in reports.flat_map(|report| report.heads.iter().filter(|head| head.digest == digest)) {
        let HeadView { requests, errors, latency, .. } = head;
        all.requests = all.requests.saturating_add((*requests).max(0));
        all.errors = all.errors.saturating_add((*errors).max(0));
        all.servers += 1;
        all.latency.add(latency);
    }
    all
}

/// Judges what was seen of a head since `base`, which [`Base::kept`] was asked for. With `paired`, the candidate's scores are judged too.
pub(super) fn judge<'a>(
    cx: &Context<'_>,
    reports: impl Iterator<Item = &'a ServerReport> + Clone,
    digest: &str,
    base: Base,
    paired: bool,
) -> Verdict {
    let bounds = &cx.spec.rollout.analysis;
    let seen = totals(reports.clone(), digest);
    let requests = (seen.requests - base.requests).max(0);
    let errors = (seen.errors - base.errors).clamp(0, requests);
    // With few requests it fails only where the errors are too many whatever the rest will be.
    let weighed = requests.max(bounds.min_requests).max(1);
    if errors.saturating_mul(10_000) > bounds.max_error_rate_basis_points.saturating_mul(weighed) {
        return Verdict::Failed("requests fail more often than maxErrorRateBasisPoints allows".to_owned());
    }
    let enough = requests >= bounds.min_requests;
    if let Some(most) = bounds.max_latency_p99_millis
        && enough
        && seen.latency.quantile_millis(0.99).is_some_and(|p99| p99 > most as f64)
    {
        return Verdict::Failed("requests take longer than maxLatencyP99Millis allows".to_owned());
    }
    if let Some(most) = bounds.max_score_drift_basis_points.filter(|_| paired) {
        let (count, drift) = drift(reports, digest);
        // One pair at least: no image seen is no proof that scores agree.
        if count < bounds.min_requests.max(1) {
            return Verdict::TooFew;
        }
        if drift * 10_000.0 > most as f64 || !drift.is_finite() {
            return Verdict::Failed(
                "scores differ from the active head's on the same images by more than maxScoreDriftBasisPoints allows"
                    .to_owned(),
            );
        }
    }
    if enough { Verdict::Passed } else { Verdict::TooFew }
}

/// Number of images that both heads scored, and the mean distance of their scores.
fn drift<'a>(reports: impl Iterator<Item = &'a ServerReport>, digest: &str) -> (i64, f64) {
    let paired = reports.filter_map(|report| report.paired.as_ref());
    let (count, sum) = paired.filter(|paired| paired.candidate == digest && paired.count > 0).fold(
        (0, 0.0),
        |(count, sum), paired| {
            (count + paired.count, sum + paired.mean_absolute_difference * paired.count as f64)
        },
    );
    (count, if count > 0 { sum / count as f64 } else { 0.0 })
}

/// Whether every server has loaded a head in a role.
pub(super) fn all_loaded<'a>(
    mut reports: impl Iterator<Item = &'a ServerReport>,
    role: Role,
    digest: &str,
) -> bool {
    reports.all(|report| report.has_loaded(role, digest))
}
