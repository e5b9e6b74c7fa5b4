//! Conditions, phase and server counts: what the status says of itself in the end. Messages name no pods, times or counters,
//! so that they change only with the state.

use super::desired::Desired;
use super::rollout::{self, reports};
use super::{Context, Draft, history, invalid, pin, run};
use crate::controller::observation::{JobState, Role, ServerReport};
use crate::crd::Servers;
use crate::crd::conditions::{self, ConditionStatus, ConditionType};

/// Failed attempts in a row after which a person should look.
const REPEATED: i64 = 3;

/// For so many seconds nobody is told how many servers have loaded a candidate.
const YOUNG_PRELOAD: i64 = 10;

/// Writes everything that follows from the rest.
pub(super) fn derive(cx: &Context<'_>, draft: &mut Draft) {
    servers(cx, draft);
    ready(cx, draft);
    dataset_resolved(cx, draft);
    trained(cx, draft);
    progressing(cx, draft);
    degraded(cx, draft);
    for type_ in ConditionType::ALL {
        match conditions::find(&draft.status.conditions, type_).cloned() {
            None if type_ == ConditionType::Suspended => draft.set(cx, type_, false, "NotSuspended", ""),
            None => draft.set(cx, type_, ConditionStatus::Unknown, "Pending", ""),
            // Every condition answers to the generation that was acted on.
            Some(_) => {
                let place = draft.status.conditions.iter_mut().find(|known| known.type_ == type_.as_str());
                if let Some(condition) = place {
                    condition.observed_generation = Some(cx.seen.generation);
                }
            }
        }
    }
    draft.status.conditions.sort_by_key(|condition| {
        ConditionType::ALL.iter().position(|type_| type_.as_str() == condition.type_)
    });
    draft.status.phase = Some(phase(cx, draft).to_owned());
}

/// Whether a server answers with a head: as the active one, or as a candidate that answers everything.
fn answers_with(report: &ServerReport, digest: &str) -> bool {
    report.has_loaded(Role::Active, digest)
        || (report.has_loaded(Role::Candidate, digest) && report.weight == 100)
}

fn digests(draft: &Draft) -> (Option<String>, Option<String>) {
    let active = draft.status.active.as_ref().and_then(|active| active.digest.clone());
    let candidate = draft.status.candidate.as_ref().and_then(|candidate| candidate.digest.clone());
    (active, candidate)
}

fn servers(cx: &Context<'_>, draft: &mut Draft) {
    let Some(all) = &cx.seen.servers else { return };
    let (active, candidate) = digests(draft);
    let count = |digest: &Option<String>, holds: fn(&ServerReport, &str) -> bool| {
        let Some(digest) = digest else { return 0 };
        reports(cx).filter(|report| holds(report, digest)).count() as i64
    };
    let told = draft.status.servers.as_ref().map_or(0, |servers| servers.candidate);
    let loaded = count(&candidate, |report, digest| report.has_loaded(Role::Candidate, digest));
    draft.status.servers = Some(Servers {
        total: all.len() as i64,
        active: count(&active, answers_with),
        candidate: if is_preload_young(cx, draft) { told } else { loaded },
        unreachable: all.iter().filter(|server| server.report.is_none()).count() as i64,
    });
}

/// Whether a candidate began to be loaded a moment ago: servers that load it one after another are not worth a write each.
fn is_preload_young(cx: &Context<'_>, draft: &Draft) -> bool {
    let preload = draft.status.canary.as_ref().filter(|canary| canary.step.is_none());
    let began = preload.and_then(|canary| canary.step_started_at);
    began.is_some_and(|began| cx.now < rollout::later(began, YOUNG_PRELOAD))
}

fn ready(cx: &Context<'_>, draft: &mut Draft) {
    let type_ = ConditionType::Ready;
    if let Some(trouble) = &cx.seen.unserved {
        draft.set(cx, type_, false, trouble.reason, trouble.message.clone());
        return;
    }
    let Some(active) = &draft.status.active else {
        draft.set(cx, type_, false, "NoHeadYet", "no head was promoted yet");
        return;
    };
    let (revision, digest) = (active.revision, active.digest.clone().unwrap_or_default());
    let Some(servers) = &cx.seen.servers else { return };
    if servers.is_empty() {
        draft.set(cx, type_, false, "NoServersMatched", "spec.serving.selector matches no running pod");
    } else if reports(cx).next().is_none() {
        draft.set(cx, type_, false, "ServersUnavailable", "no server answers on its rollout port");
    } else if reports(cx).all(|report| answers_with(report, &digest)) {
        draft.set(cx, type_, true, "Serving", format!("revision {revision} is active on all servers"));
    } else {
        let message = format!("not every server answers with revision {revision}");
        draft.set(cx, type_, false, "DigestMismatch", message);
    }
}

fn dataset_resolved(cx: &Context<'_>, draft: &mut Draft) {
    let type_ = ConditionType::DatasetResolved;
    let pinned = cx.spec.training.dataset.sha256.is_some();
    let trouble = cx.seen.dataset.as_ref().and_then(|look| look.found.as_ref().err()).filter(|_| !pinned);
    if let Some(trouble) = trouble {
        draft.set(cx, type_, false, trouble.reason, trouble.message.clone());
        return;
    }
    let Some(known) = &draft.status.dataset else { return };
    let message =
        known.objects.map_or_else(|| "pinned by sha256".to_owned(), |count| format!("{count} objects"));
    draft.set(cx, type_, true, "FingerprintKnown", message);
}

fn trained(cx: &Context<'_>, draft: &mut Draft) {
    let Some(open) = draft.status.run.as_ref().filter(|run| run::is_open(run)) else { return };
    let type_ = ConditionType::Trained;
    let artifact = run::artifact(cx, open);
    let unread =
        artifact.and_then(|look| look.found.as_ref().err()).filter(|_| run::awaits_artifact(cx, open));
    let blocked = match run::job(cx, open).map(|job| &job.state) {
        Some(JobState::Active { blocked, .. }) => blocked.as_ref(),
        Some(JobState::Complete { .. } | JobState::Failed { .. }) => None,
        None => cx.seen.refused.as_ref(),
    };
    match unread.or(blocked) {
        Some(trouble) => draft.set(cx, type_, false, trouble.reason, trouble.message.clone()),
        None => draft.set(cx, type_, false, "Running", "a training run is under way"),
    }
}

fn progressing(cx: &Context<'_>, draft: &mut Draft) {
    let type_ = ConditionType::Progressing;
    let spec = cx.spec;
    let steps = spec.rollout.steps.len();
    let open = draft.status.run.as_ref().filter(|run| run::is_open(run));
    let job = open.and_then(|run| run::job(cx, run)).map(|job| &job.state);
    // With a spec that cannot be acted on no Job is made, and no artifact is read.
    let training = open.is_some() && (cx.problem.is_none() || matches!(job, Some(JobState::Active { .. })));
    let rolling = draft.status.canary.clone().filter(|_| draft.status.candidate.is_some());
    if spec.suspend {
        draft.set(cx, type_, false, "Suspended", "spec.suspend is true");
    } else if let Some(canary) = rolling {
        let pause = canary.step.and_then(|step| spec.rollout.steps.get(usize::try_from(step).ok()?));
        let pause = pause.map_or(0, |step| step.pause_seconds);
        match canary.step {
            _ if rollout::deadline(cx, &draft.status, pause) <= cx.now => {
                let message = "the candidate does not pass and spec.rollout.autoRollback is false";
                draft.set(cx, type_, false, "ProgressDeadlineExceeded", message);
            }
            None => draft.set(cx, type_, true, "Preloading", "the candidate is being loaded"),
            Some(step) => {
                let message = format!("step {} of {steps} at {} percent", step + 1, canary.weight);
                draft.set(cx, type_, true, "CanaryStep", message);
            }
        }
    } else if training {
        draft.set(cx, type_, true, "Training", "a training run is under way");
    } else if cx.problem.is_some() && draft.status.bake.is_none() {
        draft.set(cx, type_, false, invalid::REASON, "");
    } else if let Some(pin) = spec.pinned_revision {
        draft.set(cx, type_, false, "Pinned", format!("spec.pinnedRevision holds revision {pin}"));
    } else if draft.status.bake.is_some() {
        draft.set(cx, type_, true, "Baking", "the former head is kept ready for a return");
    } else if let Some(candidate) = draft.status.candidate.clone() {
        let digest = candidate.digest.clone().unwrap_or_default();
        if rollout::awaits_approval(cx, &candidate) {
            let message =
                format!("revision {} waits: set spec.rollout.approvedDigest to {digest}", candidate.revision);
            draft.set(cx, type_, false, "AwaitingApproval", message);
        } else {
            draft.set(cx, type_, true, "AwaitingServers", "the candidate waits for a server that answers");
        }
    } else if draft.status.retry_not_before.is_some() {
        draft.set(cx, type_, true, "AwaitingRetry", "the run failed and is tried again");
    } else {
        draft.set(cx, type_, false, "Idle", "");
    }
}

fn degraded(cx: &Context<'_>, draft: &mut Draft) {
    let type_ = ConditionType::Degraded;
    // Said already, and more pressing than all else.
    if cx.problem.is_some() {
        return;
    }
    if pin::is_missing(cx, draft) {
        let message = "spec.pinnedRevision names no revision of status.history that passed the gate; the active one is kept";
        draft.set(cx, type_, true, "RevisionMissing", message);
        return;
    }
    let limit = cx.spec.rollout.analysis.failure_limit;
    if draft.status.canary.as_ref().is_some_and(|canary| canary.failures > limit) {
        let message = "the candidate fails its analysis and spec.rollout.autoRollback is false; pin a revision or change \
                       the spec";
        draft.set(cx, type_, true, "AnalysisFailed", message);
        return;
    }
    if let Some(refusal) = refused_active(cx, draft) {
        draft.set(cx, type_, true, "ServerPartiallyLoaded", refusal);
        return;
    }
    if let Some(run) = draft.status.run.clone().filter(run::has_failed) {
        let again = draft.status.retry_not_before.is_some();
        if run.attempt.unwrap_or_default() + 1 >= REPEATED {
            draft.set(
                cx,
                type_,
                true,
                "RepeatedFailures",
                "training fails again and again; see the condition Trained",
            );
            return;
        }
        if !again {
            draft.set(cx, type_, true, "TrainingFailed", "training failed; see the condition Trained");
            return;
        }
    }
    let active = draft.status.active.as_ref().map_or(0, |active| active.revision);
    let newest = draft.status.history.first().filter(|row| row.revision > active).cloned();
    match newest {
        Some(row) if history::Phase::RolledBack.is_of(&row) => {
            let message =
                format!("revision {} was taken back: {}", row.revision, row.reason.unwrap_or_default());
            draft.set(cx, type_, true, "RolledBack", message);
        }
        Some(row) if history::Phase::Rejected.is_of(&row) => {
            let message =
                format!("the gate refused revision {}: {}", row.revision, row.reason.unwrap_or_default());
            draft.set(cx, type_, true, "GateFailed", message);
        }
        Some(_) | None => draft.set(cx, type_, false, "AsExpected", ""),
    }
}

/// What a server said that refused the active head.
fn refused_active(cx: &Context<'_>, draft: &Draft) -> Option<String> {
    use inctrl_proto::v1::HeadState;
    let desired = Desired::of(&draft.status, None).ok()?;
    let digest = desired.active?.digest;
    let mut heads = reports(cx).filter_map(|report| report.head(Role::Active, &digest));
    heads
        .find(|head| matches!(head.state, HeadState::Refused | HeadState::Disabled))
        .map(|head| format!("a server refused the active head: {}", head.message))
}

fn phase(cx: &Context<'_>, draft: &Draft) -> &'static str {
    let status = &draft.status;
    let canary = status.canary.as_ref().filter(|_| status.candidate.is_some());
    let open = status.run.as_ref().is_some_and(run::is_open);
    if cx.problem.is_some() {
        "Invalid"
    } else if cx.spec.suspend {
        "Suspended"
    } else if let Some(canary) = canary {
        if canary.step.is_some() { "Canary" } else { "Preloading" }
    } else if open {
        "Training"
    } else if cx.spec.pinned_revision.is_some() && !pin::is_missing(cx, draft) {
        "Pinned"
    } else if status.bake.is_some() {
        "Baking"
    } else if status.candidate.as_ref().is_some_and(|candidate| rollout::awaits_approval(cx, candidate)) {
        "AwaitingApproval"
    } else if status.candidate.is_some() {
        "AwaitingServers"
    } else if status.run.as_ref().is_some_and(run::has_failed) && status.active.is_none() {
        "Failed"
    } else if status.active.is_some() {
        "Serving"
    } else if status.dataset.is_none() {
        "ResolvingDataset"
    } else {
        "Pending"
    }
}
