//! The rollout of a candidate: loaded everywhere, tried step by step, promoted or taken back.
//!
//! A step is entered in the status before any server is told. It is left only when every server that answers reports the
//! candidate at the step's weight, the pause is over, and enough was seen and all of it within bounds.

use inctrl_proto::v1::{HeadProblem, HeadState};
use jiff::{SignedDuration, Timestamp};

use super::analysis::{self, Base, Verdict};
use super::{Context, Draft, EventReason, history};
use crate::controller::observation::{Role, ServerReport};
use crate::crd::{Approval, Bake, Canary, InCTRLModelStatus, Revision};

/// Reports of the servers that answer.
pub(super) fn reports<'a>(cx: &Context<'a>) -> impl Iterator<Item = &'a ServerReport> + Clone + use<'a> {
    cx.seen.servers.iter().flatten().filter_map(|server| server.report.as_ref())
}

/// Whether a candidate waits for a person.
pub(super) fn awaits_approval(cx: &Context<'_>, candidate: &Revision) -> bool {
    let rollout = &cx.spec.rollout;
    rollout.approval == Approval::Manual && rollout.approved_digest != candidate.digest
}

/// Moves the rollout on as far as the servers' reports allow.
pub(super) fn advance(cx: &Context<'_>, draft: &mut Draft) {
    let spec = cx.spec;
    if spec.suspend || spec.pinned_revision.is_some() || cx.seen.servers.is_none() {
        return;
    }
    let Some(candidate) = draft.status.candidate.clone() else {
        draft.status.canary = None;
        return;
    };
    let digest = candidate.digest.clone().unwrap_or_default();
    // Without a server that answers nothing can be tried: the rollout begins again when there is one.
    if awaits_approval(cx, &candidate) || reports(cx).next().is_none() {
        draft.status.canary = None;
        return;
    }
    if let Some((reason, message)) = refused(cx, &digest) {
        draft.tell(
            EventReason::ServerLoadFailed,
            format!("a server refused revision {}: {message}", candidate.revision),
        );
        take_back(cx, draft, reason, &message);
        return;
    }
    let canary = draft
        .status
        .canary
        .get_or_insert_with(|| Canary { step_started_at: Some(cx.now), ..Canary::default() });
    match canary.step {
        None => preload(cx, draft, &digest),
        Some(step) => in_step(cx, draft, &digest, usize::try_from(step).unwrap_or(0)),
    }
}

/// Why a server will not use the candidate, if one said so. A head that could not be fetched is tried again by the server.
fn refused(cx: &Context<'_>, digest: &str) -> Option<(&'static str, String)> {
    let mut heads = reports(cx).filter_map(|report| report.head(Role::Candidate, digest));
    heads.find_map(|head| match head.state {
        HeadState::Refused if head.problem != HeadProblem::Unreachable => {
            Some(("ServerLoadFailed", head.message.clone()))
        }
        HeadState::Disabled => Some(("CandidateDisabled", head.message.clone())),
        HeadState::Refused | HeadState::Loading | HeadState::Loaded | HeadState::Unspecified => None,
    })
}

fn preload(cx: &Context<'_>, draft: &mut Draft, digest: &str) {
    if analysis::all_loaded(reports(cx), Role::Candidate, digest) {
        // With no head to compare with there is nothing to be cautious about: no head at all answers worse.
        if draft.status.active.is_none() {
            promote(cx, draft, digest);
        } else {
            enter(cx, draft, digest, 0);
        }
    } else if is_overdue(cx, &draft.status, 0) {
        let message = "not every server loaded the candidate within progressDeadlineSeconds";
        take_back(cx, draft, "ProgressDeadlineExceeded", message);
    }
}

fn enter(cx: &Context<'_>, draft: &mut Draft, digest: &str, step: usize) {
    let steps = &cx.spec.rollout.steps;
    let Some(canary) = &mut draft.status.canary else { return };
    let Some(next) = steps.get(step) else { return };
    canary.step = Some(step as i64);
    canary.weight = next.weight;
    canary.step_started_at = Some(cx.now);
    count_from(canary, Base::now(reports(cx), digest));
    let note = format!("step {} of {}: the candidate answers {} percent", step + 1, steps.len(), next.weight);
    draft.tell(EventReason::CanaryStep, note);
}

fn count_from(canary: &mut Canary, base: Base) {
    let Base { requests, errors, servers } = base;
    (canary.base_requests, canary.base_errors, canary.base_servers) = (Some(requests), Some(errors), servers);
}

fn in_step(cx: &Context<'_>, draft: &mut Draft, digest: &str, step: usize) {
    let rollout = &cx.spec.rollout;
    let Some(canary) = &mut draft.status.canary else { return };
    let base = Base {
        requests: canary.base_requests.unwrap_or_default(),
        errors: canary.base_errors.unwrap_or_default(),
        servers: canary.base_servers,
    };
    let base = base.kept(reports(cx), digest);
    count_from(canary, base);
    let verdict = analysis::judge(cx, reports(cx), digest, base, true);
    // Beyond the limit nothing more is decided by counting.
    if let Verdict::Failed(_) = verdict
        && canary.failures <= rollout.analysis.failure_limit
        && let due = next_failure(cx, canary.failed_at.max(canary.step_started_at))
        && due <= cx.now
    {
        canary.failures += 1;
        canary.failed_at = Some(cx.now);
    }
    let exceeded = canary.failures > rollout.analysis.failure_limit;
    // The spec may have lost steps meanwhile: the last one is at 100 percent anyway.
    let pause = rollout.steps.get(step).map_or(0, |step| step.pause_seconds);
    let weight = canary.weight;
    let in_place =
        reports(cx).all(|report| report.has_loaded(Role::Candidate, digest) && report.weight == weight);
    match verdict {
        Verdict::Failed(message) if exceeded => hold_or_take_back(cx, draft, "AnalysisFailed", &message),
        Verdict::Passed if !exceeded && in_place && has_passed(cx, &draft.status, pause) => {
            if step + 1 < rollout.steps.len() {
                enter(cx, draft, digest, step + 1);
            } else {
                promote(cx, draft, digest);
            }
        }
        Verdict::Failed(_) | Verdict::Passed | Verdict::TooFew => {
            if is_overdue(cx, &draft.status, pause) {
                let message = "the step did not pass within progressDeadlineSeconds after its pause: too few requests, \
                               a broken bound, or a server without the candidate";
                hold_or_take_back(cx, draft, "ProgressDeadlineExceeded", message);
            }
        }
    }
}

/// When the next failed look counts: once an interval, so that a hundred looks at one bad minute are one failure.
pub(super) fn next_failure(cx: &Context<'_>, last: Option<Timestamp>) -> Timestamp {
    later(last.unwrap_or(cx.now), cx.spec.rollout.analysis.interval_seconds)
}

fn step_started(cx: &Context<'_>, status: &InCTRLModelStatus) -> Timestamp {
    status.canary.as_ref().and_then(|canary| canary.step_started_at).unwrap_or(cx.now)
}

fn has_passed(cx: &Context<'_>, status: &InCTRLModelStatus, pause: i64) -> bool {
    later(step_started(cx, status), pause) <= cx.now
}

/// When a rollout that stands in a step with this pause has stood too long.
pub(super) fn deadline(cx: &Context<'_>, status: &InCTRLModelStatus, pause: i64) -> Timestamp {
    later(step_started(cx, status), pause.saturating_add(cx.spec.rollout.progress_deadline_seconds))
}

fn is_overdue(cx: &Context<'_>, status: &InCTRLModelStatus, pause: i64) -> bool {
    deadline(cx, status, pause) <= cx.now
}

pub(super) fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

fn hold_or_take_back(cx: &Context<'_>, draft: &mut Draft, reason: &'static str, message: &str) {
    if cx.spec.rollout.auto_rollback {
        take_back(cx, draft, reason, message);
    }
}

/// Gives the candidate up and remembers it. The active head never stopped answering.
fn take_back(_: &Context<'_>, draft: &mut Draft, reason: &'static str, message: &str) {
    let Some(candidate) = draft.status.candidate.take() else { return };
    draft.tell(EventReason::RolledBack, format!("revision {} is taken back: {message}", candidate.revision));
    draft.status.canary = None;
    draft.status.rejected_digest.clone_from(&candidate.digest);
    history::record(&mut draft.status, candidate, history::Phase::RolledBack, Some(reason));
}

fn promote(cx: &Context<'_>, draft: &mut Draft, digest: &str) {
    let Some(mut promoted) = draft.status.candidate.take() else { return };
    draft.status.canary = None;
    promoted.promoted_at = Some(cx.now);
    promoted.phase = Some(history::Phase::Active.as_str().to_owned());
    if let Some(former) = draft.status.active.take() {
        let Base { requests, errors, servers } = Base::now(reports(cx), digest);
        draft.status.bake = (cx.spec.rollout.bake_seconds > 0).then_some(Bake {
            standby_revision: former.revision,
            started_at: cx.now,
            failures: 0,
            failed_at: None,
            base_requests: requests,
            base_errors: errors,
            base_servers: servers,
        });
        history::record(&mut draft.status, former, history::Phase::Superseded, None);
    }
    draft.tell(EventReason::Promoted, format!("revision {} answers all requests", promoted.revision));
    history::record(&mut draft.status, promoted.clone(), history::Phase::Active, None);
    draft.status.active = Some(promoted);
}

/// Starts the clocks of step and bake anew, after a time that does not count.
pub(super) fn restart_clocks(cx: &Context<'_>, status: &mut InCTRLModelStatus) {
    if let Some(canary) = &mut status.canary {
        canary.step_started_at = Some(cx.now);
        let digest = status.candidate.as_ref().and_then(|candidate| candidate.digest.as_deref());
        count_from(canary, Base::now(reports(cx), digest.unwrap_or_default()));
    }
    if let Some(bake) = &mut status.bake {
        bake.started_at = cx.now;
    }
}
