//! The training data set: its fingerprint, and when to look at it again. A look that failed is no change.

use jiff::{SignedDuration, Timestamp};

use super::{Context, Draft, EventReason};
use crate::controller::observation::{DatasetView, Look};
use crate::crd::{DatasetStatus, RetrainTrigger};

/// First and longest wait before a look that failed is repeated.
const FIRST_RETRY: i64 = 5;
const LONGEST_RETRY: i64 = 300;

/// Takes in the newest look.
pub(super) fn advance(cx: &Context<'_>, draft: &mut Draft) {
    let Some(view) = known(cx) else { return };
    let DatasetView { fingerprint, objects, bytes } = view;
    let before = draft.status.dataset.as_ref().and_then(|dataset| dataset.fingerprint.as_deref());
    if before == Some(fingerprint.as_str()) {
        return;
    }
    if before.is_some() {
        draft.tell(EventReason::DatasetChanged, "the training data set has another fingerprint");
    }
    draft.status.dataset =
        Some(DatasetStatus { fingerprint: Some(fingerprint), objects, bytes, checked_at: Some(cx.now) });
}

/// The data set as it is known to be: as pinned, or as last seen.
fn known(cx: &Context<'_>) -> Option<DatasetView> {
    if let Some(sha256) = &cx.spec.training.dataset.sha256 {
        return Some(DatasetView { fingerprint: format!("sha256:{sha256}"), objects: None, bytes: None });
    }
    cx.seen.dataset.as_ref()?.found.as_ref().ok().cloned()
}

/// Whether what is known is new enough to start a run from.
pub(super) fn is_fresh(cx: &Context<'_>) -> bool {
    if cx.spec.training.dataset.sha256.is_some() {
        return true;
    }
    cx.seen.dataset.as_ref().is_some_and(|look| look.found.is_ok() && cx.now < next_look(cx, look))
}

/// When the data set is to be looked at again; none where it need not be.
pub(super) fn due(cx: &Context<'_>, run_wanted: bool) -> Option<Timestamp> {
    let watched = cx.spec.training.retrain_on.contains(&RetrainTrigger::DatasetChange);
    let pinned = cx.spec.training.dataset.sha256.is_some();
    if cx.problem.is_some() || pinned || cx.spec.suspend || !(watched || run_wanted) {
        return None;
    }
    Some(cx.seen.dataset.as_ref().map_or(cx.now, |look| next_look(cx, look)))
}

fn next_look(cx: &Context<'_>, look: &Look<DatasetView>) -> Timestamp {
    let period = cx.spec.training.dataset.refresh_period_seconds;
    let wait = if look.found.is_ok() {
        period
    } else {
        let doubled = FIRST_RETRY.saturating_mul(1 << look.failures.saturating_sub(1).min(16));
        doubled.min(LONGEST_RETRY).min(period)
    };
    look.at.checked_add(SignedDuration::from_secs(wait)).unwrap_or(Timestamp::MAX)
}
