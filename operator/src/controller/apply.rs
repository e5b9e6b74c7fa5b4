//! Last step: acts. Every action is idempotent; one that fails is found again by the next plan.

use std::sync::Arc;
use std::time::Duration;

use inctrl_storage::{Uri, UriError};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt as _;

use super::build::job::{self, BuildError, JobDefaults, Owner};
use super::looks::{DatasetKey, Looks};
use super::observation::{CleanupView, Trouble};
use super::plan::{Action, Event, EventReason};
use super::stores::{SecretValues, Stores, verifying_key};
use super::validate::ValidModel;
use crate::cluster::{Cluster, ClusterError};
use crate::crd::conditions::reason;
use crate::crd::{InCTRLModel, LocalReference};
use crate::servers::{Fleet, ModelKey, PushError};

mod refusal;

/// Wait before what became of a push is looked at: what came inline is loaded by then, and a server that does not do as it is
/// told is not told more often than this.
const AFTER_PUSH: Duration = Duration::from_secs(1);

/// First and longest wait before a Job that was refused is tried again.
const REFUSED: Duration = Duration::from_secs(1);
const LONGEST_REFUSED: Duration = Duration::from_mins(5);

/// Why an action was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The API server.
    #[error("cannot change the cluster")]
    Cluster(#[from] ClusterError),
    /// The Job.
    #[error("cannot build the training job")]
    Build(#[from] BuildError),
    /// A URI.
    #[error("cannot name an artifact")]
    Uri(#[from] UriError),
    /// The servers.
    #[error("cannot tell the servers")]
    Push(#[from] PushError),
}

/// What acting needs.
#[derive(Debug)]
pub struct Actor {
    /// The API server.
    pub cluster: Cluster,
    /// Data sets and artifacts.
    pub stores: Stores,
    /// What was seen of them.
    pub looks: Looks,
    /// The scoring servers.
    pub fleet: Arc<Fleet>,
    /// What the operator decides for all Jobs.
    pub defaults: JobDefaults,
}

/// What an action brought.
#[derive(Debug, Default)]
pub struct Acted {
    /// After how long a look may bring something new, where it does.
    pub again: Option<Duration>,
    /// The object as it is now, where the action wrote it.
    pub object: Option<InCTRLModel>,
}

impl Acted {
    fn look_again(wait: Duration) -> Self {
        Self { again: Some(wait), object: None }
    }

    fn wrote(object: Option<InCTRLModel>) -> Self {
        Self { again: None, object }
    }
}

impl Actor {
    /// Does one thing.
    pub async fn act(
        &self,
        object: &InCTRLModel,
        model: Option<&ValidModel>,
        action: Action,
    ) -> Result<Acted, ApplyError> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let uid = object.uid().unwrap_or_default();
        match (action, model) {
            (Action::AddFinalizer, _) => {
                let object = self.cluster.set_finalizer(object, true).await?;
                Ok(Acted::wrote(Some(object)))
            }
            (Action::RemoveFinalizer, _) => {
                let written = match self.cluster.set_finalizer(object, false).await {
                    Err(error) if error.code() == Some(404) => None,
                    written => Some(written?),
                };
                self.fleet.forget(&ModelKey::of(object));
                self.looks.forget(&uid);
                Ok(Acted::wrote(written))
            }
            (Action::ResolveDataset, Some(model)) => {
                self.resolve_dataset(&namespace, model).await?;
                Ok(Acted::look_again(Duration::ZERO))
            }
            (Action::ReadArtifact { key }, Some(model)) => {
                self.read_artifact(&namespace, &uid, &key, model).await?;
                Ok(Acted::look_again(Duration::ZERO))
            }
            (Action::CreateJob(intent), Some(model)) => {
                let owner = Owner { namespace: &namespace, name: &name, uid: &uid };
                let body = job::build(model, &owner, &intent, &self.defaults)?;
                match self.cluster.create_job(&namespace, &intent.name, &body).await {
                    Ok(()) => {
                        self.looks.saw_job(&uid);
                        Ok(Acted::default())
                    }
                    // Not an error of the round: what else there is to do, such as telling servers, is done.
                    Err(error) => match refusal::of_job(&error) {
                        Some(trouble) => Ok(self.refused(&uid, &intent.key, trouble, &error)),
                        None => Err(error.into()),
                    },
                }
            }
            (Action::SetJob { name, suspend, ttl }, _) => {
                let body = job::lifecycle(&namespace, &name, suspend, ttl);
                self.cluster.set_job(&namespace, &name, &body).await?;
                Ok(Acted::default())
            }
            (Action::DeleteJob { name }, _) => {
                self.cluster.delete_job(&namespace, &name).await?;
                Ok(Acted::default())
            }
            (Action::Push(desired), _) => {
                self.fleet.push(&ModelKey::of(object), object, desired).await?;
                Ok(Acted::look_again(AFTER_PUSH))
            }
            (Action::CleanUp { artifacts }, _) => {
                self.clean_up(object, artifacts.as_ref()).await?;
                Ok(Acted::look_again(Duration::ZERO))
            }
            // A spec that cannot be acted on plans none of these.
            (Action::ResolveDataset | Action::ReadArtifact { .. } | Action::CreateJob(_), None) => {
                Ok(Acted::default())
            }
        }
    }

    /// Tells of transitions, each to the API server and the log.
    pub async fn tell(&self, object: &InCTRLModel, events: &[Event]) {
        let about = ObjectReference {
            api_version: Some("inctrl.dev/v1alpha1".to_owned()),
            kind: Some("InCTRLModel".to_owned()),
            name: object.metadata.name.clone(),
            namespace: object.metadata.namespace.clone(),
            uid: object.metadata.uid.clone(),
            // Events about one version are counted as a series under the note of the first; every transition is a version.
            resource_version: object.metadata.resource_version.clone(),
            ..ObjectReference::default()
        };
        for event in events {
            let Event { reason, note } = event;
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            if *reason == EventReason::RolledBack || reason.is_warning() {
                tracing::warn!(namespace, model = name, reason = reason.as_str(), note, "transition");
            } else {
                tracing::info!(namespace, model = name, reason = reason.as_str(), note, "transition");
            }
            self.cluster.tell(&about, event).await;
        }
    }

    async fn secret(
        &self,
        namespace: &str,
        reference: Option<&LocalReference>,
    ) -> Result<Result<Option<SecretValues>, Trouble>, ClusterError> {
        let Some(LocalReference { name }) = reference else { return Ok(Ok(None)) };
        match self.cluster.secret(namespace, name).await {
            Ok(found) => Ok(found.map(Some).ok_or_else(|| Trouble::no_secret(name))),
            Err(error) => refusal::of_secret(name, &error).map(Err).ok_or(error),
        }
    }

    /// Remembers that a Job was refused. Tried again at once, so that it is told, then ever more seldom.
    fn refused(&self, uid: &str, key: &str, trouble: Trouble, error: &ClusterError) -> Acted {
        tracing::warn!(reason = trouble.reason, error = %inctrl_telemetry::Chain(error), "the Job is refused");
        let times = self.looks.saw_refusal(uid, key, trouble);
        let wait = REFUSED.saturating_mul(1 << times.saturating_sub(1).min(16));
        Acted::look_again(wait.min(LONGEST_REFUSED))
    }

    async fn resolve_dataset(&self, namespace: &str, model: &ValidModel) -> Result<(), ClusterError> {
        let dataset = model.dataset();
        let found = match self.secret(namespace, dataset.secret_ref.as_ref()).await? {
            Ok(secret) => self.stores.dataset(&model.training, secret.as_ref(), dataset.fingerprint).await,
            Err(trouble) => Err(trouble),
        };
        self.looks.saw_dataset(DatasetKey::of(namespace, dataset), found, Timestamp::now());
        Ok(())
    }

    async fn read_artifact(
        &self,
        namespace: &str,
        uid: &str,
        key: &str,
        model: &ValidModel,
    ) -> Result<(), ApplyError> {
        let artifacts = &model.spec.artifacts;
        let folder = model.artifact(uid, key)?;
        let secret = self.secret(namespace, artifacts.secret_ref.as_ref()).await?;
        let signing = self.secret(namespace, artifacts.signing_key_ref.as_ref()).await?;
        let found = match (secret, signing) {
            (Ok(secret), Ok(signing)) => match signing.as_ref().map(verifying_key).transpose() {
                Ok(key) => self.stores.artifact(&folder, secret.as_ref(), key.as_ref()).await,
                Err(trouble) => Err(trouble),
            },
            (Err(trouble), _) | (_, Err(trouble)) => Err(trouble),
        };
        self.looks.saw_artifact(uid, key, found, Timestamp::now());
        Ok(())
    }

    async fn clean_up(&self, object: &InCTRLModel, artifacts: Option<&Uri>) -> Result<(), ApplyError> {
        let uid = object.uid().unwrap_or_default();
        let namespace = object.namespace().unwrap_or_default();
        let servers_done = self.fleet.withdraw(&ModelKey::of(object), object).await;
        let mut view = CleanupView { servers_done, artifacts: self.looks.cleanup(&uid).artifacts };
        if let (Some(folder), None | Some(Err(_))) = (artifacts, &view.artifacts) {
            view.artifacts = Some(self.delete_artifacts(&namespace, folder, object).await?);
        }
        self.looks.saw_cleanup(&uid, view);
        Ok(())
    }

    async fn delete_artifacts(
        &self,
        namespace: &str,
        folder: &Uri,
        object: &InCTRLModel,
    ) -> Result<Result<usize, String>, ClusterError> {
        let secret = self.secret(namespace, object.spec.artifacts.secret_ref.as_ref()).await?;
        let deleted = match secret {
            Ok(secret) => self.stores.delete_artifacts(folder, secret.as_ref()).await,
            Err(trouble) => Err(trouble),
        };
        Ok(match deleted {
            Ok(count) => Ok(count),
            // Nothing was ever published.
            Err(Trouble { reason: reason::NOT_FOUND, .. }) => Ok(0),
            Err(Trouble { message, .. }) => Err(message),
        })
    }
}
