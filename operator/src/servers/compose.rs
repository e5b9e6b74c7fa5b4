//! What one server is told of one model.

use inctrl_proto::v1::{Head, ModelRollout};

use super::heads::{Heads, Room};
use super::{ModelKey, PushError, Wanted};
use crate::controller::observation::ServerReport;
use crate::controller::plan::{Desired, HeadRef};

/// What `pod` is told of a model; none where it is to have nothing of it.
pub(super) async fn compose(
    heads: &Heads,
    room: &mut Room,
    key: &ModelKey,
    wanted: &Wanted,
    pod: &str,
    known: &ServerReport,
) -> Result<Option<ModelRollout>, PushError> {
    let Desired { active, candidate, reach: _, weight, standby } =
        wanted.desired.clone().for_server(pod, known);
    if active.is_none() && candidate.is_none() && standby.is_none() {
        return Ok(None);
    }
    let secret = wanted.secret.as_deref();
    let has_candidate = candidate.is_some();
    Ok(Some(ModelRollout {
        model: format!("models/{}", wanted.model),
        active: head(heads, room, key, secret, active, known).await?,
        candidate: head(heads, room, key, secret, candidate, known).await?,
        candidate_weight_percent: i32::try_from(weight).unwrap_or(0),
        shadow: has_candidate,
        standby: head(heads, room, key, secret, standby, known).await?,
    }))
}

/// A head, with its small parts where the server does not have them yet.
async fn head(
    heads: &Heads,
    room: &mut Room,
    key: &ModelKey,
    secret: Option<&str>,
    head: Option<HeadRef>,
    known: &ServerReport,
) -> Result<Option<Head>, PushError> {
    let Some(head) = head else { return Ok(None) };
    let has_it = known.heads.iter().any(|loaded| loaded.digest == head.digest && is_loaded(loaded.state));
    let parts = if has_it { None } else { heads.parts(&key.namespace, secret, &head).await? };
    let HeadRef { revision, digest, uri } = head;
    let parts = parts.map(|parts| room.take(parts)).unwrap_or_default();
    Ok(Some(Head {
        revision,
        digest,
        uri: uri.to_string(),
        manifest: parts.manifest,
        weights: parts.weights,
        self_test: parts.self_test,
    }))
}

fn is_loaded(state: inctrl_proto::v1::HeadState) -> bool {
    state == inctrl_proto::v1::HeadState::Loaded
}
