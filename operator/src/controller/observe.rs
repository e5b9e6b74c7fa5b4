//! First step: everything that the planner may look at, read from caches, and from the API server where a cache could lead to
//! a wrong "there is none".

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::reflector::Store;

use super::apply::Actor;
use super::build::job::{MODEL_LABEL, RUN_LABEL};
use super::build::volumes::secrets;
use super::looks::DatasetKey;
use super::observation::{JobState, JobView, Observation, Trouble};
use crate::cluster::{Cluster, ClusterError};
use crate::crd::conditions::ConditionType;
use crate::crd::{FINALIZER, InCTRLModel, InCTRLModelStatus, RETRAIN_AT};
use crate::packed::PackedModel;

mod job;

pub use job::{JOB_STATES, job_state};

/// What is watched.
#[derive(Clone)]
pub struct Caches {
    /// All models in scope.
    pub models: Store<PackedModel>,
    /// The Jobs made for them.
    pub jobs: Store<Job>,
    /// Pods of Jobs and of scoring servers.
    pub pods: Store<Pod>,
}

impl std::fmt::Debug for Caches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caches").finish_non_exhaustive()
    }
}

/// Reads all that concerns a model.
pub async fn observe(
    model: &InCTRLModel,
    caches: &Caches,
    actor: &Actor,
) -> Result<Observation, ClusterError> {
    let Actor { cluster, looks, fleet, stores: _, defaults: _ } = actor;
    let (name, namespace) = (model.name_any(), model.namespace().unwrap_or_default());
    let uid = model.uid().unwrap_or_default();
    let mut status = model.status.clone().unwrap_or_default();
    in_order(&mut status);
    let dataset = DatasetKey::of(&namespace, &model.spec.training.dataset);
    let run = status.run.clone().unwrap_or_default();
    let key = run.key.clone().unwrap_or_default();
    let artifacts = looks.artifact(&uid, &key).map(|look| BTreeMap::from([(key.clone(), look)]));

    let mut jobs = owned_jobs(caches, &namespace, &name, &uid);
    let running = run.outcome.as_deref() == Some("Running");
    let known = jobs.iter().any(|job| job.labels().get(RUN_LABEL) == Some(&key));
    if let Some(job_name) = run.job_name.filter(|_| running && !known) {
        // It was there once: that a cache does not know it is no proof that it is gone.
        let live = cluster.job(&namespace, &job_name).await?;
        jobs.extend(live.filter(|job| is_owned(job, &uid)).map(std::sync::Arc::new));
    }
    let mut views = Vec::with_capacity(jobs.len());
    for job in jobs {
        views.push(view(&job, model, caches, cluster).await?);
    }
    let (servers, unserved) = fleet.views(model).map_or((None, None), |(views, why)| (Some(views), why));
    Ok(Observation {
        generation: model.metadata.generation.unwrap_or_default(),
        has_finalizer: model.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
        deleted_at: model.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        retrain_at: model.annotations().get(RETRAIN_AT).cloned(),
        jobs: views,
        dataset: looks.dataset(&dataset),
        artifacts: artifacts.unwrap_or_default(),
        servers,
        unserved,
        refused: looks.refusal(&uid, &key),
        cleanup: looks.cleanup(&uid),
        name,
        namespace,
        uid,
        status,
    })
}

/// Brings lists that the API server may have merged in another order into ours, so that equal is equal.
fn in_order(status: &mut InCTRLModelStatus) {
    let InCTRLModelStatus { conditions, active, candidate, history, .. } = status;
    conditions.sort_by_key(|condition| {
        ConditionType::ALL.iter().position(|type_| type_.as_str() == condition.type_)
    });
    history.sort_by_key(|row| std::cmp::Reverse(row.revision));
    for row in history.iter_mut().chain(active).chain(candidate) {
        row.metrics.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

/// What servers call a model.
pub fn fleet_name(model: &InCTRLModel) -> String {
    model.spec.serving.model_name.clone().unwrap_or_else(|| model.name_any())
}

fn owned_jobs(caches: &Caches, namespace: &str, name: &str, uid: &str) -> Vec<std::sync::Arc<Job>> {
    caches.jobs.state_filter(|job| {
        job.metadata.namespace.as_deref() == Some(namespace)
            && job.labels().get(MODEL_LABEL).map(String::as_str) == Some(name)
            && is_owned(job, uid)
    })
}

fn is_owned(job: &Job, uid: &str) -> bool {
    job.owner_references().iter().any(|owner| owner.uid == uid)
}

async fn view(
    job: &Job,
    model: &InCTRLModel,
    caches: &Caches,
    cluster: &Cluster,
) -> Result<JobView, ClusterError> {
    let (uid, namespace) = (job.uid().unwrap_or_default(), model.namespace().unwrap_or_default());
    let pods = caches.pods.state_filter(|pod| pod.owner_references().iter().any(|owner| owner.uid == uid));
    // A Job without a pod says why only in its events.
    let complaint =
        if job::is_without_pods(job, &pods) { cluster.complaint(&namespace, &uid).await? } else { None };
    let mut view = job::view(job, &pods, complaint.as_deref());
    if let JobState::Active { blocked: blocked @ None, .. } = &mut view.state
        && job::is_being_made(&pods)
    {
        *blocked = missing_secret(model, cluster).await;
    }
    Ok(view)
}

/// The first Secret of those that the training pod mounts that is not there. One that cannot be asked for may be there.
async fn missing_secret(model: &InCTRLModel, cluster: &Cluster) -> Option<Trouble> {
    let namespace = model.namespace().unwrap_or_default();
    for name in secrets(&model.spec) {
        if matches!(cluster.secret(&namespace, name).await, Ok(None)) {
            return Some(Trouble::no_secret(name));
        }
    }
    None
}
