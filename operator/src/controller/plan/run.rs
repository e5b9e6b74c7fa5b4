//! The newest training run: from intent to outcome. An outcome is taken from the Job and the artifact that it left; once it
//! stands in the status neither is needed again.

use inctrl_storage::Digest;
use jiff::{SignedDuration, Timestamp};

use super::{Context, Draft, EventReason, gate, history, limits};
use crate::controller::keys;
use crate::controller::observation::{ArtifactView, FailureClass, JobState, JobView, Look};
use crate::crd::conditions::{ConditionType, reason};
use crate::crd::{Approval, Revision, Run};

/// First and longest wait before a run that failed for reasons of infrastructure is tried again, in seconds.
const FIRST_RETRY: i64 = 60;
const LONGEST_RETRY: i64 = 6 * 3600;

/// Progress is shown in steps of this many percent, so that showing it costs few writes.
const PROGRESS_STEP: i64 = 25;

/// Longest text of a pod that is repeated in a condition.
const LONGEST_MESSAGE: usize = 512;

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Intended; its Job was not seen yet.
    Pending,
    /// Its Job was seen.
    Running,
    /// Its artifact was verified.
    Succeeded,
    /// It ended without.
    Failed,
}

impl Outcome {
    /// As the status writes it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// What the status says; a run of an unknown outcome has ended.
    pub(super) fn of(run: &Run) -> Self {
        let known = [Self::Pending, Self::Running, Self::Succeeded, Self::Failed];
        let said = run.outcome.as_deref();
        known.into_iter().find(|outcome| said == Some(outcome.as_str())).unwrap_or(Self::Failed)
    }
}

/// Whether a run has not ended.
pub(super) fn is_open(run: &Run) -> bool {
    matches!(Outcome::of(run), Outcome::Pending | Outcome::Running)
}

/// Whether a run ended without a head.
pub(super) fn has_failed(run: &Run) -> bool {
    Outcome::of(run) == Outcome::Failed
}

/// The Job of a run; one that is being deleted is none.
pub(super) fn job<'a>(cx: &Context<'a>, run: &Run) -> Option<&'a JobView> {
    cx.seen.jobs.iter().find(|job| Some(&job.run_key) == run.key.as_ref() && !job.deleting)
}

/// Takes in what became of the open run.
pub(super) fn advance(cx: &Context<'_>, draft: &mut Draft) {
    let Some(run) = draft.status.run.as_mut().filter(|run| is_open(run)) else { return };
    match job(cx, run).map(|job| &job.state) {
        Some(JobState::Active { started_at, progress, blocked: _ }) => {
            run.outcome = Some(Outcome::Running.as_str().to_owned());
            run.started_at = run.started_at.or(*started_at);
            let shown = progress.map(|percent| percent.clamp(0, 100) / PROGRESS_STEP * PROGRESS_STEP);
            run.progress_percent = run.progress_percent.max(shown);
        }
        Some(JobState::Failed { at, class, message }) => fail(cx, draft, *class, *at, message),
        Some(JobState::Complete { at }) => end(cx, draft, *at, FailureClass::ArtifactMissing),
        // Pending: it is yet to be made. Running: it was seen and is gone, so only its artifact can tell.
        None if Outcome::of(run) == Outcome::Pending => {}
        None => end(cx, draft, None, FailureClass::JobLost),
    }
}

/// Whether the run's artifact has to be read to know its outcome.
pub(super) fn awaits_artifact(cx: &Context<'_>, run: &Run) -> bool {
    let ended = match job(cx, run).map(|job| &job.state) {
        Some(JobState::Complete { .. }) => true,
        Some(JobState::Active { .. } | JobState::Failed { .. }) => false,
        None => Outcome::of(run) == Outcome::Running,
    };
    is_open(run) && ended
}

/// The newest look at the run's artifact, where it still says something: that there was none is no news of a run that has ended
/// since.
pub(super) fn artifact<'a>(cx: &Context<'a>, run: &Run) -> Option<&'a Look<ArtifactView>> {
    let since = match job(cx, run).map(|job| &job.state) {
        Some(JobState::Complete { at }) => *at,
        Some(JobState::Active { .. } | JobState::Failed { .. }) | None => run.started_at,
    };
    let look = cx.seen.artifacts.get(run.key.as_deref()?)?;
    (look.found.is_ok() || since.is_none_or(|since| since <= look.at)).then_some(look)
}

fn end(cx: &Context<'_>, draft: &mut Draft, at: Option<Timestamp>, without: FailureClass) {
    let Some(run) = &draft.status.run else { return };
    match artifact(cx, run).map(|look| &look.found) {
        Some(Ok(artifact)) => match mismatch(cx, run, artifact) {
            Some(message) => fail(cx, draft, FailureClass::WrongArtifact, at, &message),
            None => succeed(cx, draft, artifact, at),
        },
        Some(Err(trouble)) if trouble.reason == reason::ARTIFACT_MISSING => {
            fail(cx, draft, without, at, &trouble.message);
        }
        Some(Err(trouble)) if trouble.reason == reason::DIGEST_MISMATCH => {
            fail(cx, draft, FailureClass::WrongArtifact, at, &trouble.message);
        }
        // The store does not answer: that says nothing of the run.
        Some(Err(_)) | None => {}
    }
}

/// What in an artifact is not what the run was told, if anything.
fn mismatch(cx: &Context<'_>, run: &Run, artifact: &ArtifactView) -> Option<String> {
    let backbone = &cx.spec.backbone.sha256;
    if artifact.run_key != run.key {
        return Some("the manifest is of another run".to_owned());
    }
    if artifact.spec_hash != run.spec_hash {
        return Some("the manifest is of another spec".to_owned());
    }
    // Taken for what was read, it would be a change of the data set that no run ever settles.
    if Some(&artifact.dataset_fingerprint) != run.dataset_fingerprint.as_ref() {
        return Some("the manifest is of another data set".to_owned());
    }
    // Where the spec changed meanwhile the hash above is of the former; so is its backbone.
    let unchanged = run.spec_hash.as_deref() == Some(cx.spec_hash);
    if unchanged && artifact.backbone_sha256.as_ref().is_some_and(|sha256| sha256 != backbone) {
        return Some("the head goes with another backbone".to_owned());
    }
    artifact.digest.parse::<Digest>().err().map(|error| error.to_string())
}

fn fail(cx: &Context<'_>, draft: &mut Draft, class: FailureClass, at: Option<Timestamp>, said: &str) {
    let Some(run) = &mut draft.status.run else { return };
    run.outcome = Some(Outcome::Failed.as_str().to_owned());
    run.reason = Some(class.reason().to_owned());
    run.finished_at = Some(at.unwrap_or(cx.now));
    let attempt = run.attempt.unwrap_or_default();
    draft.status.retry_not_before = class.is_transient().then(|| retry_at(cx, attempt));
    let said: String = said.chars().take(LONGEST_MESSAGE).collect();
    let message = match said.trim() {
        "" => class.advice().to_owned(),
        said => format!("{said}; {}", class.advice()),
    };
    draft.set(cx, ConditionType::Trained, false, class.reason(), message.clone());
    draft.tell(EventReason::TrainingFailed, format!("{}: {message}", class.reason()));
}

/// A minute, doubled with each attempt to six hours at most, and up to a tenth more so that many models do not come at once.
fn retry_at(cx: &Context<'_>, attempt: i64) -> Timestamp {
    let doubled = FIRST_RETRY.saturating_mul(1 << attempt.clamp(0, 16)).min(LONGEST_RETRY);
    let extra = keys::spread(&format!("{}{attempt}", cx.seen.uid)) * 0.1 * doubled as f64;
    cx.now.checked_add(SignedDuration::from_secs(doubled + extra as i64)).unwrap_or(Timestamp::MAX)
}

fn succeed(cx: &Context<'_>, draft: &mut Draft, artifact: &ArtifactView, at: Option<Timestamp>) {
    let Some(run) = &mut draft.status.run else { return };
    run.outcome = Some(Outcome::Succeeded.as_str().to_owned());
    run.reason = None;
    run.finished_at = Some(at.unwrap_or(artifact.created_at));
    run.progress_percent = None;
    let job_name = run.job_name.clone();
    draft.status.retry_not_before = None;
    draft.set(
        cx,
        ConditionType::Trained,
        true,
        "JobComplete",
        "the run completed and its artifact was verified",
    );
    draft.tell(EventReason::TrainingSucceeded, format!("the run left head {}", artifact.digest));

    let digest = Some(&artifact.digest);
    if draft.status.active.as_ref().and_then(|active| active.digest.as_ref()) == digest {
        draft.set(cx, ConditionType::GatePassed, true, "SameHead", "the run left the head that is active");
        return;
    }
    if draft.status.rejected_digest.as_ref() == digest {
        let message = "the run left the head that was refused before; change the spec, or annotate \
                       inctrl.dev/retrain-at to try it again";
        draft.set(cx, ConditionType::GatePassed, false, "AlreadyRejected", message);
        return;
    }
    let number = history::next(&draft.status);
    draft.status.last_revision = Some(number);
    let candidate = revision(number, artifact, job_name);
    gate_candidate(cx, draft, candidate, artifact);
}

fn revision(number: i64, artifact: &ArtifactView, job_name: Option<String>) -> Revision {
    let gate = artifact.gate.as_ref();
    Revision {
        revision: number,
        digest: Some(artifact.digest.clone()),
        uri: Some(artifact.uri.clone()),
        spec_hash: artifact.spec_hash.clone(),
        dataset_fingerprint: Some(artifact.dataset_fingerprint.clone()),
        backbone_digest: Some(artifact.backbone_digest.clone()),
        gate_fingerprint: gate.map(|gate| gate.fingerprint.clone()),
        gate_samples: gate.map(|gate| gate.samples),
        job_name,
        metrics: gate.map(|gate| limits::metrics(&gate.candidate)).unwrap_or_default(),
        trained_at: Some(artifact.created_at),
        promoted_at: None,
        phase: Some(history::Phase::Candidate.as_str().to_owned()),
        reason: None,
    }
}

fn gate_candidate(cx: &Context<'_>, draft: &mut Draft, candidate: Revision, artifact: &ArtifactView) {
    let number = candidate.revision;
    match gate::judge(&cx.spec.gate, artifact.gate.as_ref(), draft.status.active.as_ref()) {
        Ok(message) => {
            draft.set(cx, ConditionType::GatePassed, true, "AllBoundsMet", message.clone());
            draft.tell(EventReason::GatePassed, format!("revision {number}: {message}"));
            let rollout = &cx.spec.rollout;
            if rollout.approval == Approval::Manual && rollout.approved_digest != candidate.digest {
                let note = format!(
                    "revision {number} waits: set spec.rollout.approvedDigest to {} to roll it out",
                    artifact.digest
                );
                draft.tell(EventReason::ApprovalNeeded, note);
            }
            draft.status.candidate = Some(candidate);
        }
        Err(refusal) => {
            draft.set(cx, ConditionType::GatePassed, false, refusal.reason, refusal.message.clone());
            draft.tell(EventReason::GateFailed, format!("revision {number}: {}", refusal.message));
            draft.status.rejected_digest.clone_from(&candidate.digest);
            history::record(&mut draft.status, candidate, history::Phase::Rejected, Some(refusal.reason));
        }
    }
}
