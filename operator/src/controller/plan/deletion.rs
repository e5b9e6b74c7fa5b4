//! A deleted object: servers forget the model, Jobs go, artifacts go where asked. Within a deadline, for a finalizer that is
//! never removed is worse than an artifact that is left; what is left is told.

use inctrl_storage::{Scheme, Uri};

use super::rollout::later;
use super::{Action, Context, Event, EventReason, Plan};
use crate::crd::DeletionPolicy;

/// How long a clean-up may take, in seconds.
pub const DEADLINE: i64 = 120;

/// How often to try again, in seconds.
const RETRY: i64 = 5;

/// Plans the end. Policy and folder are read also from a spec that cannot be acted on.
pub(super) fn plan(cx: &Context<'_>) -> Plan {
    let seen = cx.seen;
    let mut plan =
        Plan { status: seen.status.clone(), actions: Vec::new(), events: Vec::new(), look_again: None };
    let (true, Some(deleted_at)) = (seen.has_finalizer, seen.deleted_at) else { return plan };
    let cleanup = &seen.cleanup;
    let jobs = seen.jobs.iter().filter(|job| !job.deleting);
    plan.actions.extend(jobs.map(|job| Action::DeleteJob { name: job.name.clone() }));

    let folder = match cx.spec.deletion_policy {
        DeletionPolicy::Retain => None,
        DeletionPolicy::Delete => Some(folder(cx)),
    };
    // None: nothing to delete, or it is deleted.
    let artifacts_left = match (&folder, &cleanup.artifacts) {
        (None, _) | (Some(Ok(_)), Some(Ok(_))) => None,
        (Some(Err(why)), _) | (Some(Ok(_)), Some(Err(why))) => Some(format!("artifacts are left: {why}")),
        (Some(Ok(_)), None) => Some("artifacts are left".to_owned()),
    };
    let deadline = later(deleted_at, DEADLINE);
    let is_beyond_us = matches!(folder, Some(Err(_)));
    if cleanup.servers_done && (artifacts_left.is_none() || is_beyond_us) || deadline <= cx.now {
        let servers = (!cleanup.servers_done)
            .then(|| "servers that did not answer hold the model until they restart".to_owned());
        let left: Vec<String> = servers.into_iter().chain(artifacts_left).collect();
        if !left.is_empty() {
            plan.events.push(Event { reason: EventReason::CleanupIncomplete, note: left.join("; ") });
        } else if let (Some(_), Some(Ok(folders))) = (folder, &cleanup.artifacts) {
            let note = format!("artifacts of {folders} runs were deleted");
            plan.events.push(Event { reason: EventReason::ArtifactsDeleted, note });
        }
        plan.actions.push(Action::RemoveFinalizer);
        return plan;
    }
    plan.actions.push(Action::CleanUp { artifacts: folder.and_then(Result::ok) });
    plan.look_again = Some(later(cx.now, RETRY).min(deadline).duration_since(cx.now));
    plan
}

/// Folder of the model's artifacts, or why it is not known.
fn folder(cx: &Context<'_>) -> Result<Uri, String> {
    let uri = cx.spec.artifacts.uri.parse::<Uri>().and_then(|uri| uri.join(&cx.seen.uid));
    let uri = uri.map_err(|error| format!("spec.artifacts.uri cannot be used: {error}"))?;
    // Whether paths of the node may be touched is known of a valid spec alone.
    if cx.problem.is_some() && uri.scheme() == Scheme::File {
        return Err("spec.artifacts.uri names a path of the node, and the spec is invalid".to_owned());
    }
    Ok(uri)
}
