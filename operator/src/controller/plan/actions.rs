//! What has to be done, from what is to be and what is. Nothing here depends on how the status came to be as it is, so that
//! work that was cut off is found again.

use inctrl_storage::{Uri, UriError};

use super::desired::{Desired, HeadRef};
use super::{Context, dataset, run, trigger};
use crate::controller::observation::{JobState, JobView};
use crate::crd::{InCTRLModelStatus, Run};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Put our finalizer on the object.
    AddFinalizer,
    /// Look at the training data set.
    ResolveDataset,
    /// Read and verify the artifact of a run.
    ReadArtifact {
        /// Key of the run.
        key: String,
    },
    /// Make the Job of a run.
    CreateJob(JobIntent),
    /// Set what of a Job may change: whether it is held, and when it may be collected.
    SetJob {
        /// Its name.
        name: String,
        /// Whether it is held.
        suspend: bool,
        /// Seconds after its end until it may be collected; none until its outcome is recorded.
        ttl: Option<i64>,
    },
    /// Delete a Job whose run nobody wants any more.
    DeleteJob {
        /// Its name.
        name: String,
    },
    /// Tell the servers.
    Push(Desired),
    /// Make the servers forget the model and, where asked, delete its artifacts.
    CleanUp {
        /// Folder of the artifacts that go too.
        artifacts: Option<Uri>,
    },
    /// Let the object go.
    RemoveFinalizer,
}

/// A training Job to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobIntent {
    /// Its name.
    pub name: String,
    /// Key of the run.
    pub key: String,
    /// Hash of the training inputs.
    pub spec_hash: String,
    /// Fingerprint that the data set should have.
    pub fingerprint: String,
    /// The head to compare with.
    pub active: Option<HeadRef>,
}

/// Everything there is to do.
pub(super) fn derive(cx: &Context<'_>, status: &InCTRLModelStatus) -> Result<Vec<Action>, UriError> {
    let mut actions = Vec::new();
    let looks = dataset::due(cx, trigger::is_wanted(cx, status));
    if looks.is_some_and(|time| time <= cx.now) {
        actions.push(Action::ResolveDataset);
    }
    let desired = Desired::of(status, cx.seen.servers.as_deref())?;
    if let Some(run) = &status.run {
        let readable = cx.problem.is_none();
        if readable && run::awaits_artifact(cx, run) && needs_reading(cx, run) {
            actions.push(Action::ReadArtifact { key: run.key.clone().unwrap_or_default() });
        }
        let pending = run::Outcome::of(run) == run::Outcome::Pending;
        if readable && pending && run::job(cx, run).is_none() && !cx.spec.suspend {
            actions.push(Action::CreateJob(intent(run, desired.active.clone())));
        }
    }
    for job in cx.seen.jobs.iter().filter(|job| !job.deleting) {
        actions.extend(of_job(cx, status, job));
    }
    if needs_push(cx, &desired) {
        actions.push(Action::Push(desired));
    }
    Ok(actions)
}

/// An answer that says nothing of the artifact is asked for again, after a while.
fn needs_reading(cx: &Context<'_>, run: &Run) -> bool {
    run::artifact(cx, run)
        .is_none_or(|look| look.found.is_err() && super::look_again::artifact_retry(look) <= cx.now)
}

fn intent(run: &Run, active: Option<HeadRef>) -> JobIntent {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    JobIntent {
        name: text(&run.job_name),
        key: text(&run.key),
        spec_hash: text(&run.spec_hash),
        fingerprint: text(&run.dataset_fingerprint),
        active,
    }
}

fn of_job(cx: &Context<'_>, status: &InCTRLModelStatus, job: &JobView) -> Option<Action> {
    let active = matches!(job.state, JobState::Active { .. });
    let name = job.name.clone();
    let current = status.run.as_ref().filter(|run| run.key.as_ref() == Some(&job.run_key));
    let wanted = current.is_some_and(run::is_open);
    if active && !wanted {
        return Some(Action::DeleteJob { name });
    }
    let suspend = active && cx.spec.suspend;
    if active && job.suspended != suspend {
        return Some(Action::SetJob { name, suspend, ttl: None });
    }
    // The law: only an outcome that was read back from the status lets the evidence go.
    let recorded = cx
        .seen
        .status
        .run
        .as_ref()
        .is_some_and(|run| run.key.as_ref() != Some(&job.run_key) || !run::is_open(run));
    let ttl = cx.spec.training.ttl_seconds_after_finished;
    (!active && !wanted && recorded && !job.has_ttl).then_some(Action::SetJob {
        name,
        suspend: false,
        ttl: Some(ttl),
    })
}

fn needs_push(cx: &Context<'_>, desired: &Desired) -> bool {
    let servers = cx.seen.servers.iter().flatten();
    let mut reports = servers.filter_map(|server| Some((&server.name, server.report.as_ref()?)));
    reports.any(|(name, report)| !desired.clone().for_server(name, report).is_known_to(report))
}
