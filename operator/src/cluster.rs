//! Every call to the API server but watches: limited in rate, bounded in time, counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as CoreEvent, ObjectReference, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy};
use kube::runtime::events::{Event as ToldEvent, EventType, Recorder, Reporter};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::controller::plan::Event;
use crate::crd::{FINALIZER, InCTRLModel, InCTRLModelStatus};
use crate::limiter::Limiter;
use crate::metrics::Metrics;

/// Who owns what we apply.
pub const FIELD_MANAGER: &str = "inctrl-operator";

/// Who owns what may change of a Job, apart from its template.
pub const LIFECYCLE_MANAGER: &str = "inctrl-operator-lifecycle";

/// Longest note of an event.
const LONGEST_NOTE: usize = 1000;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// No answer in time.
    #[error("{call}: the API server did not answer within {} s", patience.as_secs())]
    Slow {
        /// Which call.
        call: &'static str,
        /// How long we waited.
        patience: Duration,
    },
    /// What was written is based on something older than what there is.
    #[error("{call}: the object has changed meanwhile")]
    Conflict {
        /// Which call.
        call: &'static str,
    },
    /// Refused, or no connection.
    #[error("{call} failed")]
    Call {
        /// Which call.
        call: &'static str,
        /// What was answered.
        #[source]
        source: Box<kube::Error>,
    },
}

impl ClusterError {
    /// Status of the answer, where there was one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Call { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Conflict { .. } => Some(409),
            Self::Slow { .. } => None,
        }
    }

    /// Whether the API server understood and said no: asking again changes nothing until somebody changes something.
    pub fn is_refusal(&self) -> bool {
        matches!(self.code(), Some(400 | 403 | 404 | 405 | 413 | 422))
    }

    /// What the API server said.
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Call { source, .. } => match &**source {
                kube::Error::Api(status) => Some(&status.message),
                _ => None,
            },
            Self::Conflict { .. } | Self::Slow { .. } => None,
        }
    }
}

/// The API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    limiter: Arc<Limiter>,
    patience: Duration,
    recorder: Recorder,
    metrics: Metrics,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Calls through a client, at this rate and with this patience for each. `instance` is named in events.
    pub fn new(
        client: Client,
        limiter: Limiter,
        patience: Duration,
        instance: String,
        metrics: Metrics,
    ) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(instance) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, limiter: Arc::new(limiter), patience, recorder, metrics }
    }

    async fn call<T>(
        &self,
        call: &'static str,
        work: BoxFuture<'_, Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        self.limiter.take().await;
        let start = Instant::now();
        let patience = self.patience;
        let (result, answer) = match timeout(patience, work).await {
            Err(_) => ("timeout", Err(ClusterError::Slow { call, patience })),
            Ok(Ok(answer)) => ("ok", Ok(answer)),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                ("conflict", Err(ClusterError::Conflict { call }))
            }
            Ok(Err(source)) => ("error", Err(ClusterError::Call { call, source: Box::new(source) })),
        };
        self.metrics.call(call, result, start.elapsed());
        answer
    }

    fn models(&self, namespace: &str) -> Api<InCTRLModel> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn jobs(&self, namespace: &str) -> Api<Job> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Writes the whole status, if the object is still the one that was looked at, and returns what became of it.
    pub async fn write_status(
        &self,
        model: &InCTRLModel,
        status: &InCTRLModelStatus,
    ) -> Result<InCTRLModel, ClusterError> {
        let (name, namespace) = (model.name_any(), model.namespace().unwrap_or_default());
        let body = status_body(model, status);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.call(
            "write status",
            Box::pin(self.models(&namespace).patch_status(&name, &params, &Patch::Apply(&body))),
        )
        .await
    }

    /// Puts our finalizer on, or takes it off, if the object is still the one that was looked at.
    pub async fn set_finalizer(
        &self,
        model: &InCTRLModel,
        wanted: bool,
    ) -> Result<InCTRLModel, ClusterError> {
        let (name, namespace) = (model.name_any(), model.namespace().unwrap_or_default());
        let body = finalizer_body(model, wanted);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.call(
            "set finalizer",
            Box::pin(self.models(&namespace).patch(&name, &params, &Patch::Merge(&body))),
        )
        .await
    }

    /// Makes a Job, or leaves the one of this name as it is.
    pub async fn create_job(&self, namespace: &str, name: &str, job: &Value) -> Result<(), ClusterError> {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let made = self
            .call("create job", Box::pin(self.jobs(namespace).patch(name, &params, &Patch::Apply(job))))
            .await;
        match made {
            Ok(_) => Ok(()),
            // The template of a Job that is there already cannot change, and need not: its name is its content.
            Err(error) if error.code() == Some(422) && self.job(namespace, name).await?.is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sets what may change of a Job. One that is gone needs nothing.
    pub async fn set_job(&self, namespace: &str, name: &str, body: &Value) -> Result<(), ClusterError> {
        let params = PatchParams::apply(LIFECYCLE_MANAGER).force();
        let set = self
            .call("set job", Box::pin(self.jobs(namespace).patch(name, &params, &Patch::Apply(body))))
            .await;
        match set {
            Ok(_) => Ok(()),
            // Applying to nothing would make a Job without template, which is refused.
            Err(error)
                if matches!(error.code(), Some(404 | 422)) && self.job(namespace, name).await?.is_none() =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes a Job and its pods.
    pub async fn delete_job(&self, namespace: &str, name: &str) -> Result<(), ClusterError> {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match self.call("delete job", Box::pin(self.jobs(namespace).delete(name, &params))).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A Job as the API server has it, not as a cache remembers it.
    pub async fn job(&self, namespace: &str, name: &str) -> Result<Option<Job>, ClusterError> {
        self.call("get job", Box::pin(self.jobs(namespace).get_opt(name))).await
    }

    /// What the Job controller said when it could not make a pod.
    pub async fn complaint(&self, namespace: &str, job_uid: &str) -> Result<Option<String>, ClusterError> {
        let events: Api<CoreEvent> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default()
            .fields(&format!("involvedObject.uid={job_uid},reason=FailedCreate"))
            .limit(20);
        let list = self.call("list events", Box::pin(events.list(&params))).await?;
        let newest =
            list.items.into_iter().max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
        Ok(newest.and_then(|event| event.message))
    }

    /// The text values of a Secret; none where there is no such Secret.
    pub async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, ClusterError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = self.call("get secret", Box::pin(secrets.get_opt(name))).await?;
        let text =
            |(key, value): (String, k8s_openapi::ByteString)| Some((key, String::from_utf8(value.0).ok()?));
        Ok(secret.map(|secret| secret.data.unwrap_or_default().into_iter().filter_map(text).collect()))
    }

    /// Tells of a transition. An event that cannot be written is lost; nothing depends on it.
    pub async fn tell(&self, about: &ObjectReference, event: &Event) {
        let note: String = event.note.chars().take(LONGEST_NOTE).collect();
        let told = ToldEvent {
            type_: if event.reason.is_warning() { EventType::Warning } else { EventType::Normal },
            reason: event.reason.as_str().to_owned(),
            note: (!note.is_empty()).then_some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.call("write event", Box::pin(self.recorder.publish(&told, about))).await {
            let error = inctrl_telemetry::Chain(&error).to_string();
            tracing::warn!(reason = event.reason.as_str(), error, "event was not written");
        }
    }
}

/// The status as it is applied: all of it, onto the very version that was looked at.
fn status_body(model: &InCTRLModel, status: &InCTRLModelStatus) -> Value {
    json!({
        "apiVersion": "inctrl.dev/v1alpha1",
        "kind": "InCTRLModel",
        "metadata": {
            "name": model.metadata.name,
            "namespace": model.metadata.namespace,
            "uid": model.metadata.uid,
            "resourceVersion": model.metadata.resource_version,
        },
        "status": status,
    })
}

/// The finalizers as they are to be, on the very version that was looked at: others' are kept.
fn finalizer_body(model: &InCTRLModel, wanted: bool) -> Value {
    let others = model.finalizers().iter().filter(|name| *name != FINALIZER).cloned();
    let finalizers: Vec<String> = others.chain(wanted.then(|| FINALIZER.to_owned())).collect();
    json!({
        "metadata": {
            "uid": model.metadata.uid,
            "resourceVersion": model.metadata.resource_version,
            "finalizers": finalizers,
        },
    })
}
