//! What a user does with a model, and waits for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use inctrl_tests::interposer::Kind;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::Value;
use tokio::time::{interval, timeout};

use crate::lane::Lane;
use crate::model::manifest;
use crate::traffic::Asked;

/// Longest time for one step of a life on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A life under way.
pub(crate) struct Life<'a> {
    lane: &'a Lane,
    /// Name of the model.
    pub(crate) name: String,
}

impl<'a> Life<'a> {
    /// Of a model of this name.
    pub(crate) fn new(lane: &'a Lane, name: String) -> Self {
        Self { lane, name }
    }

    /// Applies the model, as a user does, with this seed and this way of rolling out.
    pub(crate) async fn train(&self, seed: u64, rollout: &Value) {
        let model = manifest(self.lane.stage, &self.name, seed, rollout);
        let params = PatchParams::apply("kubectl").force();
        self.lane.models().patch(&self.name, &params, &Patch::Apply(model)).await.unwrap();
    }

    /// Waits until the status is as it should be; one that can come to nothing good ends the wait.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let models = self.lane.models();
        let found = self.wait(what, async || {
            // An API server that is away is asked again.
            let status = models.get_status(&self.name).await.ok()?.data["status"].take();
            is_so(&status).then_some(status)
        });
        found.await
    }

    /// Looks again and again until there is an answer; panics with all evidence where none comes.
    pub(crate) async fn wait<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let mut looks = interval(LOOK_AGAIN);
        let found = async {
            loop {
                looks.tick().await;
                if let Some(found) = look().await {
                    return found;
                }
            }
        };
        if let Ok(found) = timeout(PATIENCE, found).await {
            return found;
        }
        let model = self.lane.models().get_opt(&self.name).await.ok().flatten();
        let model = model.map(|model| format!("{:#}", model.data)).unwrap_or_default();
        let writes = self.lane.interposer.writes();
        let writes: Vec<_> = writes.iter().filter(|call| call.kind == Kind::Work).collect();
        panic!("{what} must be there within {PATIENCE:?}\n{model}\n{writes:#?}\n{}", self.lane.log());
    }

    /// The model on each server, with images to score.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let images = self.lane.stage.claims.join("data/held-out/bolt");
        let servers = self.lane.servers.iter().cloned();
        servers.map(|server| Asked { server, model: self.name.clone(), images: images.clone() }).collect()
    }

    fn ours(&self) -> ListParams {
        ListParams::default().labels(&format!("inctrl.dev/model={}", self.name))
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.lane.stage.client.clone(), &self.lane.namespace)
    }

    /// As many Jobs, once the outcome of each is recorded and it may be collected.
    pub(crate) async fn jobs_when_all_may_go(&self, count: usize) -> Vec<Job> {
        let jobs = self.jobs();
        self.wait("Jobs that may all be collected", async || {
            let jobs = jobs.list(&self.ours()).await.ok()?.items;
            let may_go =
                |job: &Job| job.spec.as_ref().is_some_and(|spec| spec.ttl_seconds_after_finished.is_some());
            (jobs.len() == count && jobs.iter().all(may_go)).then_some(jobs)
        })
        .await
    }

    /// How many pods the Jobs had.
    pub(crate) async fn pods(&self) -> usize {
        let pods: Api<Pod> = Api::namespaced(self.lane.stage.client.clone(), &self.lane.namespace);
        pods.list(&self.ours()).await.unwrap().items.len()
    }

    /// Deletes the model; nothing of it may be left.
    pub(crate) async fn delete(&self) {
        let uid = self.lane.models().get(&self.name).await.unwrap().uid().unwrap();
        let artifacts = self.lane.stage.claims.join("data/heads").join(uid);
        assert!(!files(&artifacts).is_empty(), "there must be artifacts");
        self.lane.models().delete(&self.name, &DeleteParams::default()).await.unwrap();
        let models = self.lane.models();
        self.wait("the end of the model", async || {
            matches!(models.get_opt(&self.name).await, Ok(None)).then_some(())
        })
        .await;
        let jobs = self.jobs();
        self.wait("the end of its Jobs", async || {
            jobs.list(&self.ours()).await.is_ok_and(|jobs| jobs.items.is_empty()).then_some(())
        })
        .await;
        self.wait("servers that know the model no more", async || {
            for asked in self.asked() {
                asked.scored().await.err()?;
            }
            Some(())
        })
        .await;
        let left = files(&artifacts);
        assert!(left.is_empty(), "artifacts must be gone: {left:?}");
    }
}

/// All files below a folder; a store keeps empty folders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
