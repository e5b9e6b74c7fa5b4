//! A deleted object: servers forget the model, Jobs go, artifacts go where asked. Within a deadline, for a finalizer that is
//! never removed is worse than an artifact that is left; what is left is told.

use jiff::Timestamp;

use super::rollout::later;
use super::{Action, Event, EventReason, Plan};
use crate::controller::observation::Observation;
use crate::controller::validate::ValidModel;
use crate::crd::DeletionPolicy;

/// How long a clean-up may take, in seconds.
pub const DEADLINE: i64 = 120;

/// How often to try again, in seconds.
const RETRY: i64 = 5;

/// Plans the end. Without a valid model nothing is known of artifacts, and they stay.
pub(super) fn plan(seen: &Observation, model: Option<&ValidModel>, now: Timestamp) -> Plan {
    let mut plan =
        Plan { status: seen.status.clone(), actions: Vec::new(), events: Vec::new(), look_again: None };
    let (true, Some(deleted_at)) = (seen.has_finalizer, seen.deleted_at) else { return plan };
    let delete_artifacts = model.is_some_and(|model| model.spec.deletion_policy == DeletionPolicy::Delete);
    let cleanup = &seen.cleanup;
    let jobs = seen.jobs.iter().filter(|job| !job.deleting);
    plan.actions.extend(jobs.map(|job| Action::DeleteJob { name: job.name.clone() }));

    let artifacts_done = !delete_artifacts || matches!(cleanup.artifacts, Some(Ok(_)));
    if cleanup.servers_done && artifacts_done {
        if let (true, Some(Ok(folders))) = (delete_artifacts, &cleanup.artifacts) {
            let note = format!("artifacts of {folders} runs were deleted");
            plan.events.push(Event { reason: EventReason::ArtifactsDeleted, note });
        }
        plan.actions.push(Action::RemoveFinalizer);
        return plan;
    }
    let deadline = later(deleted_at, DEADLINE);
    if deadline <= now {
        let mut left = Vec::new();
        if !cleanup.servers_done {
            left.push("servers that did not answer hold the model until they restart".to_owned());
        }
        match &cleanup.artifacts {
            Some(Err(what)) if delete_artifacts => left.push(format!("artifacts are left: {what}")),
            None if delete_artifacts => left.push("artifacts are left".to_owned()),
            Some(_) | None => {}
        }
        plan.events.push(Event { reason: EventReason::CleanupIncomplete, note: left.join("; ") });
        plan.actions.push(Action::RemoveFinalizer);
        return plan;
    }
    plan.actions.push(Action::CleanUp { delete_artifacts });
    plan.look_again = Some(later(now, RETRY).min(deadline).duration_since(now));
    plan
}
