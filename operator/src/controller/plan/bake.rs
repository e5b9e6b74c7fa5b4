//! The time after a promotion: the former head stays loaded, and returns at once where the new one fails in full use.

use jiff::Timestamp;

use super::analysis::{self, Base, Verdict};
use super::rollout::{later, next_failure, reports};
use super::{Context, Draft, EventReason, history};
use crate::crd::InCTRLModelStatus;

/// When the bake ends.
pub(super) fn ends(cx: &Context<'_>, status: &InCTRLModelStatus) -> Option<Timestamp> {
    status.bake.as_ref().map(|bake| later(bake.started_at, cx.spec.rollout.bake_seconds))
}

/// Ends the bake, or takes the new head back.
pub(super) fn advance(cx: &Context<'_>, draft: &mut Draft) {
    if cx.spec.suspend {
        return;
    }
    let ends = ends(cx, &draft.status);
    let (Some(bake), Some(active)) = (&mut draft.status.bake, &draft.status.active) else {
        draft.status.bake = None;
        return;
    };
    let digest = active.digest.as_deref().unwrap_or_default();
    let base = Base { requests: bake.base_requests, errors: bake.base_errors, servers: bake.base_servers };
    let base = base.kept(reports(cx), digest);
    (bake.base_requests, bake.base_errors, bake.base_servers) = (base.requests, base.errors, base.servers);
    let verdict = analysis::judge(cx, reports(cx), digest, base, false);
    let Verdict::Failed(message) = verdict else {
        if ends.is_some_and(|ends| ends <= cx.now) {
            draft.status.bake = None;
        }
        return;
    };
    let rollout = &cx.spec.rollout;
    let counts = bake.failures <= rollout.analysis.failure_limit;
    if counts && next_failure(cx, bake.failed_at.or(Some(bake.started_at))) <= cx.now {
        bake.failures += 1;
        bake.failed_at = Some(cx.now);
    }
    if bake.failures > rollout.analysis.failure_limit && rollout.auto_rollback {
        let standby = bake.standby_revision;
        return_to(cx, draft, standby, &message);
    } else if ends.is_some_and(|ends| ends <= cx.now) {
        draft.status.bake = None;
    }
}

fn return_to(cx: &Context<'_>, draft: &mut Draft, standby: i64, message: &str) {
    draft.status.bake = None;
    let Some(mut former) = history::find(&draft.status, standby).cloned() else { return };
    let Some(failed) = draft.status.active.take() else { return };
    draft.tell(
        EventReason::RolledBack,
        format!("revision {} is taken back, revision {standby} answers again: {message}", failed.revision),
    );
    draft.status.rejected_digest.clone_from(&failed.digest);
    history::record(&mut draft.status, failed, history::Phase::RolledBack, Some("BakeFailed"));
    former.promoted_at = Some(cx.now);
    former.phase = Some(history::Phase::Active.as_str().to_owned());
    former.reason = None;
    history::record(&mut draft.status, former.clone(), history::Phase::Active, None);
    draft.status.active = Some(former);
}
