//! When to look again though nothing happened.

use jiff::{SignedDuration, Timestamp};

use super::rollout::{self, later};
use super::{Action, Context, bake, dataset, run, trigger};
use crate::controller::observation::{ArtifactView, JobState, Look};
use crate::crd::InCTRLModelStatus;

/// How often to look at what does not tell of its changes: pods that cannot start, servers that do not converge.
const POLL: i64 = 5;

/// How often to look at a Job that was just made, and for how long: what keeps its pod from starting shows by then.
const POLL_YOUNG: i64 = 1;
const YOUNG: i64 = 10;

/// Longest wait before an artifact that could not be read is read again.
const LONGEST_ARTIFACT_RETRY: i64 = 300;

/// When an artifact that could not be read is read again.
pub(super) fn artifact_retry(look: &Look<ArtifactView>) -> Timestamp {
    let doubled = POLL.saturating_mul(1 << look.failures.saturating_sub(1).min(16));
    later(look.at, doubled.min(LONGEST_ARTIFACT_RETRY))
}

/// Time until the nearest of all that time alone brings about.
pub(super) fn derive(
    cx: &Context<'_>,
    status: &InCTRLModelStatus,
    actions: &[Action],
) -> Option<SignedDuration> {
    let mut times: Vec<Timestamp> = Vec::new();
    times.extend(dataset::due(cx, trigger::is_wanted(cx, status)));
    times.extend(status.retry_not_before.filter(|_| !cx.model.spec.suspend));
    times.extend(status.next_schedule_time.filter(|_| !cx.model.spec.suspend));
    times.extend(bake::ends(cx, status));
    times.extend(of_run(cx, status));
    times.extend(of_rollout(cx, status));
    if actions.iter().any(|action| matches!(action, Action::Push(_))) {
        times.push(later(cx.now, POLL));
    }
    let nearest = times.into_iter().min()?;
    // What is due and yet not done waits for an answer from outside; asking without pause would not bring it.
    Some(nearest.duration_since(cx.now).max(SignedDuration::from_secs(1)))
}

fn of_run(cx: &Context<'_>, status: &InCTRLModelStatus) -> Option<Timestamp> {
    let open = status.run.as_ref().filter(|run| run::is_open(run))?;
    if run::awaits_artifact(cx, open) {
        return Some(run::artifact(cx, open).map_or(cx.now, artifact_retry));
    }
    let job = run::job(cx, open)?;
    // A pod that cannot start does not say so by a change of the Job.
    let unstarted = matches!(&job.state, JobState::Active { progress: None, blocked, .. }
        if blocked.is_some() || open.progress_percent.is_none());
    let JobState::Active { started_at, .. } = &job.state else { return None };
    let is_young = started_at.is_none_or(|started| cx.now < later(started, YOUNG));
    let wait = if is_young { POLL_YOUNG } else { POLL };
    (unstarted && !cx.model.spec.suspend).then(|| later(cx.now, wait))
}

fn of_rollout(cx: &Context<'_>, status: &InCTRLModelStatus) -> Option<Timestamp> {
    let spec = &cx.model.spec;
    if spec.suspend {
        return None;
    }
    let interval = later(cx.now, spec.rollout.analysis.interval_seconds);
    let Some(canary) = &status.canary else {
        return status.bake.as_ref().map(|_| interval);
    };
    let pause = canary.step.and_then(|step| spec.rollout.steps.get(usize::try_from(step).ok()?));
    let pause = pause.map_or(0, |step| step.pause_seconds);
    let started = canary.step_started_at.unwrap_or(cx.now);
    let over = later(started, pause);
    let times = [
        over,
        rollout::deadline(cx, status, pause),
        interval,
        later(cx.now, if canary.step.is_none() { POLL } else { i64::MAX }),
    ];
    times.into_iter().filter(|time| *time > cx.now).min()
}
