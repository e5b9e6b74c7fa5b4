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

/// How often to look at an older one: whenever a tenth has been added to its age, and at least so often.
const AGES: i64 = 10;
const LONGEST_POLL: i64 = 300;

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
    // One that is over and began nothing waits for something else: the end of a run or of a rollout, a look at the data set.
    let timed = [status.retry_not_before, status.next_schedule_time, bake::ends(cx, status)];
    let is_quiet = cx.spec.suspend;
    times.extend(timed.into_iter().flatten().filter(|time| !is_quiet && *time > cx.now));
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
        return cx.problem.is_none().then(|| run::artifact(cx, open).map_or(cx.now, artifact_retry));
    }
    let job = run::job(cx, open)?;
    // A pod that cannot start does not say so by a change of the Job; one that runs is not told from it here, and so is looked
    // at ever more seldom.
    let JobState::Active { started_at, .. } = &job.state else { return None };
    let age = started_at.map(|started| cx.now.duration_since(started).as_secs());
    let wait = match age {
        None => POLL,
        Some(age) if age < YOUNG => POLL_YOUNG,
        Some(age) => (age / AGES).clamp(POLL, LONGEST_POLL),
    };
    (!cx.spec.suspend).then(|| later(cx.now, wait))
}

fn of_rollout(cx: &Context<'_>, status: &InCTRLModelStatus) -> Option<Timestamp> {
    let spec = cx.spec;
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
