//! One round over one object, and who makes rounds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::apply::{Acted, Actor, ApplyError};
use super::keys;
use super::observation::Observation;
use super::observe::{Caches, observe};
use super::plan::{Action, Event, EventReason, Plan, newest_rollback, plan, plan_invalid};
use super::validate::{Allowed, ValidModel, validate};
use crate::cluster::ClusterError;
use crate::crd::{InCTRLModel, InCTRLModelStatus};
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::packed::{self, PackedModel};
use crate::queue::{Queue, Round};
use crate::servers::ModelKey;

/// Longest a round may take; what it has not done by then the next one finds again.
const LONGEST_ROUND: Duration = Duration::from_mins(5);

/// Wait after a write that came too late, until the cache has what was written before.
const AFTER_CONFLICT: Duration = Duration::from_millis(500);

/// Everything a round needs.
#[derive(Debug)]
pub struct Controller {
    /// What is watched.
    pub caches: Caches,
    /// Who acts.
    pub actor: Actor,
    /// Which object is next.
    pub queue: Arc<Queue<ModelKey>>,
    /// Whether we act.
    pub leadership: watch::Receiver<Leadership>,
    /// What resources may ask for.
    pub allowed: Allowed,
    /// How often every object is looked at though nothing happened.
    pub resync: Duration,
    /// What is counted.
    pub metrics: Metrics,
    /// Objects as we last wrote them.
    pub written: Mutex<BTreeMap<ModelKey, Written>>,
}

/// An object as we last wrote it, with the versions that our writes were based on: a cache that still has one of them has not
/// heard of our last write yet.
#[derive(Debug, Clone)]
pub struct Written {
    bases: Vec<String>,
    object: PackedModel,
}

/// Most writes that a cache can be behind.
const MOST_BASES: usize = 32;

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("cannot observe")]
    Observe(#[source] ClusterError),
    #[error("an artifact in the status has no URI")]
    Plan(#[source] inctrl_storage::UriError),
    #[error("cannot write the status")]
    Status(#[source] ClusterError),
    #[error("cannot act")]
    Apply(#[source] Box<ApplyError>),
    #[error("the round took longer than {} s", LONGEST_ROUND.as_secs())]
    Slow,
}

impl RoundError {
    fn step(&self) -> &'static str {
        match self {
            Self::Observe(_) => "observe",
            Self::Plan(_) => "plan",
            Self::Status(_) => "status",
            Self::Apply(_) => "apply",
            Self::Slow => "slow",
        }
    }

    fn is_conflict(&self) -> bool {
        let code = match self {
            Self::Observe(error) | Self::Status(error) => error.code(),
            Self::Apply(error) => match &**error {
                ApplyError::Cluster(error) => error.code(),
                _ => None,
            },
            Self::Plan(_) | Self::Slow => None,
        };
        code == Some(409)
    }
}

impl Controller {
    /// Makes rounds for ever.
    pub async fn work(self: Arc<Self>) {
        loop {
            let key = self.queue.next().await;
            let start = Instant::now();
            let ended = timeout(LONGEST_ROUND, self.boxed_round(&key)).await.unwrap_or(Err(RoundError::Slow));
            self.metrics.round(start.elapsed());
            let round = match ended {
                Ok(round) => round,
                Err(error) if error.is_conflict() => Round::Done(Some(AFTER_CONFLICT)),
                Err(error) => {
                    self.metrics.failed(error.step());
                    let ModelKey { namespace, name } = &key;
                    let error = inctrl_telemetry::Chain(&error).to_string();
                    tracing::warn!(namespace, model = name, error, "round failed; it is tried again");
                    Round::Failed
                }
            };
            self.queue.finish(&key, round);
        }
    }

    /// A round on the heap: large, and of one type that can move between threads.
    fn boxed_round<'a>(&'a self, key: &'a ModelKey) -> BoxFuture<'a, Result<Round, RoundError>> {
        Box::pin(self.round(key))
    }

    fn acted<'a>(
        &'a self,
        object: &'a InCTRLModel,
        model: Option<&'a ValidModel>,
        action: Action,
    ) -> BoxFuture<'a, Result<Acted, ApplyError>> {
        Box::pin(self.actor.act(object, model, action))
    }

    fn written<'a>(
        &'a self,
        key: &'a ModelKey,
        object: &'a InCTRLModel,
        status: &'a InCTRLModelStatus,
    ) -> BoxFuture<'a, Result<InCTRLModel, RoundError>> {
        Box::pin(self.write(key, object, status))
    }

    fn told<'a>(&'a self, object: &'a InCTRLModel, events: &'a [Event]) -> BoxFuture<'a, ()> {
        Box::pin(self.actor.tell(object, events))
    }

    fn observed<'a>(&'a self, object: &'a InCTRLModel) -> BoxFuture<'a, Result<Observation, ClusterError>> {
        Box::pin(observe(object, &self.caches, &self.actor))
    }

    async fn round(&self, key: &ModelKey) -> Result<Round, RoundError> {
        let Some(epoch) = self.leadership.borrow().epoch else { return Ok(Round::Done(None)) };
        let Some(mut object) = self.newest(key) else {
            self.actor.fleet.forget(key);
            return Ok(Round::Gone);
        };
        if self.actor.fleet.note(key, &object) {
            self.actor.fleet.saw_pods(&self.caches.pods.state());
        }
        let seen = self.observed(&object).await.map_err(RoundError::Observe)?;
        let model = validate(&seen.name, &object.spec, self.allowed);
        let now = Timestamp::now();
        let Plan { status, actions, events, look_again } = match &model {
            Ok(model) => plan(model, &seen, now),
            Err(problem) => plan_invalid(&object.spec, &seen, problem, now),
        }
        .map_err(RoundError::Plan)?;
        if status == seen.status {
            self.metrics.status("skipped");
        } else {
            object = self.written(key, &object, &status).await?;
        }
        for event in &events {
            self.metrics.transition(event.reason);
            if event.reason == EventReason::RolledBack {
                self.metrics.rollback(newest_rollback(&status).unwrap_or("unknown"));
            }
        }
        self.told(&object, &events).await;
        let mut again = look_again.and_then(|wait| Duration::try_from(wait).ok());
        for action in actions {
            // A leader that was stopped in its tracks must not go on where another has begun.
            if self.leadership.borrow().epoch != Some(epoch) {
                return Ok(Round::Done(None));
            }
            let acted = self.acted(&object, model.as_ref().ok(), action).await;
            let Acted { again: sooner, object: written } =
                acted.map_err(|error| RoundError::Apply(Box::new(error)))?;
            again = again.into_iter().chain(sooner).min();
            if let Some(written) = written {
                object = self.remember(key, &object, written);
            }
        }
        let resync = self.resync.mul_f64(0.8 + 0.4 * keys::spread(&seen.uid));
        Ok(Round::Done(Some(again.map_or(resync, |again| again.min(resync)))))
    }

    async fn write(
        &self,
        key: &ModelKey,
        object: &InCTRLModel,
        status: &InCTRLModelStatus,
    ) -> Result<InCTRLModel, RoundError> {
        let written = self.actor.cluster.write_status(object, status).await;
        let result = match &written {
            Ok(_) => "applied",
            Err(error) if error.code() == Some(409) => "conflict",
            Err(_) => "failed",
        };
        self.metrics.status(result);
        Ok(self.remember(key, object, written.map_err(RoundError::Status)?))
    }

    /// Remembers an object as we have just written it, until the cache has heard of it.
    fn remember(&self, key: &ModelKey, base: &InCTRLModel, mut written: InCTRLModel) -> InCTRLModel {
        packed::strip(&mut written);
        let object = PackedModel::new(written.clone());
        let mut all = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bases = all.remove(key).map(|former| former.bases).unwrap_or_default();
        bases.extend(base.resource_version());
        bases.drain(..bases.len().saturating_sub(MOST_BASES));
        all.insert(key.clone(), Written { bases, object });
        written
    }

    /// The object as the cache has it, or as we wrote it where the cache has not heard of that.
    fn newest(&self, key: &ModelKey) -> Option<InCTRLModel> {
        let reference = ObjectRef::new(&key.name).within(&key.namespace);
        let cached = self.caches.models.get(&reference);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(cached) = cached else {
            written.remove(key);
            return None;
        };
        match written.get(key) {
            Some(Written { bases, object })
                if cached.version().is_some_and(|version| bases.iter().any(|base| base == version))
                    && object.uid() == cached.uid() =>
            {
                Some(object.open())
            }
            Some(_) => {
                written.remove(key);
                Some(cached.open())
            }
            None => Some(cached.open()),
        }
    }
}

#[cfg(test)]
mod tests;
