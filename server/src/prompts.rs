//! Prompt sets: kept on disk by name, their features kept in the scorer by content.
//!
//! A request holds a [`PromptLease`] from its admission to its answer; features that nobody holds and the cache has
//! let go of are forgotten by the scorer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use inctrl_model::{ImageLimits, Preprocess};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::decode::{CpuPool, decode};
use crate::failure::{Failure, Quota};
use crate::ids::ResourceId;
use crate::request::{ImageInput, PromptImages, PromptSource};
use crate::scorer::{Garbage, Job, PromptKey, ScorerError};

mod cache;
mod content;
mod file;
mod store;

pub(crate) use cache::FeatureCache;
pub(crate) use store::StoreError;
pub(crate) use store::{PromptSetInfo, Store};

/// Prompt sets that are encoded or wait for it: each holds its images in memory, and a scorer takes about a second for
/// one on a CPU.
const MOST_PENDING: usize = 32;
/// When a caller may try again: about the time of one prompt set on a CPU.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Features of a prompt set, held in the scorer for as long as this lives.
#[derive(Debug)]
pub(crate) struct PromptLease {
    key: PromptKey,
    digest: String,
    bytes: usize,
    garbage: Arc<Garbage>,
}

impl PromptLease {
    pub(crate) fn new(key: PromptKey, digest: String, bytes: usize, garbage: Arc<Garbage>) -> Self {
        Self { key, digest, bytes, garbage }
    }

    pub(crate) fn key(&self) -> PromptKey {
        self.key
    }

    /// Digest of the content.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

impl Drop for PromptLease {
    fn drop(&mut self) {
        self.garbage.forget_prompts(self.key);
    }
}

/// What prompt sets are made with.
#[derive(Debug)]
pub(crate) struct PromptsSpec {
    pub(crate) store: Arc<Store>,
    pub(crate) cache: FeatureCache,
    /// Weak: the batching worker alone decides when the scorer ends.
    pub(crate) jobs: mpsc::WeakSender<Job>,
    pub(crate) pool: Arc<CpuPool>,
    pub(crate) preprocess: Preprocess,
    pub(crate) limits: ImageLimits,
    pub(crate) garbage: Arc<Garbage>,
}

/// Prompt sets and their features; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Prompts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spec: PromptsSpec,
    next_key: AtomicU64,
    pending: Arc<Semaphore>,
}

impl Prompts {
    pub(crate) fn new(spec: PromptsSpec) -> Self {
        let pending = Arc::new(Semaphore::new(MOST_PENDING));
        Self { shared: Arc::new(Shared { spec, next_key: AtomicU64::new(0), pending }) }
    }

    /// The features of a prompt set, and whether they were cached.
    pub(crate) async fn lease(&self, source: &PromptSource) -> Result<(Arc<PromptLease>, bool), Failure> {
        let PromptsSpec { store, cache, .. } = &self.shared.spec;
        match source {
            PromptSource::Stored(id) => {
                let mut info = store.get(id)?;
                loop {
                    match self.lease_stored(&info).await {
                        // It may have been deleted or created anew since: that is no damage.
                        Err(Failure::Store(error)) => {
                            let now = store.get(id)?;
                            if now == info {
                                return Err(Failure::Store(error));
                            }
                            info = now;
                        }
                        other => return other,
                    }
                }
            }
            PromptSource::Inline(content) => {
                let (digest, content) = self.digest(content.clone()).await?;
                let encode = async {
                    let _pending = self.pend()?;
                    self.encode(content, digest.clone()).await
                };
                let leased = cache.get_or_compute(&digest, encode).await;
                leased.map_err(|failure| failure.within("inline_prompts.normal_images"))
            }
        }
    }

    async fn lease_stored(&self, info: &Arc<PromptSetInfo>) -> Result<(Arc<PromptLease>, bool), Failure> {
        let PromptsSpec { store, cache, pool, .. } = &self.shared.spec;
        let read = async {
            let _pending = self.pend()?;
            let (store, kept) = (Arc::clone(store), Arc::clone(info));
            let content = pool.run("reading a prompt set", move || store.read(&kept)).await??;
            self.encode(content, info.digest.clone()).await
        };
        let leased = cache.get_or_compute(&info.digest, read).await;
        leased.map_err(|failure| failure.within("prompt_set"))
    }

    /// Encodes a prompt set, then keeps it; it is on disk when this returns.
    pub(crate) async fn create(
        &self,
        id: ResourceId,
        content: PromptImages,
    ) -> Result<Arc<PromptSetInfo>, Failure> {
        let (digest, content) = self.digest(content).await?;
        // What must be refused is refused before it is computed; storing asks again, another may be faster.
        self.shared.spec.store.kept(&id, &digest)?;
        // Goes on when the caller leaves: the features are wanted as long as the caller tries again.
        let (this, key, kept, pending) = (self.clone(), digest.clone(), content.clone(), self.pend()?);
        let warming = tokio::spawn(async move {
            let _pending = pending;
            let encode = this.encode(kept, key.clone());
            this.shared.spec.cache.get_or_compute(&key, encode).await
        });
        let warmed = warming.await.map_err(|_| Failure::Panicked { doing: "encoding a prompt set" })?;
        warmed.map_err(|failure| failure.within("prompts.normal_images"))?;
        let PromptsSpec { store, pool, .. } = &self.shared.spec;
        let store = Arc::clone(store);
        pool.run("storing a prompt set", move || store.create(&id, &content, &digest)).await?
    }

    pub(crate) fn get(&self, id: &ResourceId) -> Result<Arc<PromptSetInfo>, Failure> {
        self.shared.spec.store.get(id)
    }

    pub(crate) fn list(&self, after: Option<&ResourceId>, most: usize) -> (Vec<Arc<PromptSetInfo>>, bool) {
        self.shared.spec.store.list(after, most)
    }

    pub(crate) async fn delete(&self, id: ResourceId, etag: Option<String>) -> Result<(), Failure> {
        let PromptsSpec { store, pool, .. } = &self.shared.spec;
        let store = Arc::clone(store);
        pool.run("deleting a prompt set", move || store.delete(&id, etag.as_deref())).await?
    }

    async fn digest(&self, content: PromptImages) -> Result<(String, PromptImages), Failure> {
        let hash = move || (content::digest(&content), content);
        self.shared.spec.pool.run("hashing a prompt set", hash).await
    }

    /// Decodes the images and has the scorer encode them. Callers with the same images share what comes of it, a failure
    /// too, so that one of an image says its number alone: where the images stand is each caller's own.
    async fn encode(&self, content: PromptImages, digest: String) -> Result<Arc<PromptLease>, Failure> {
        let PromptsSpec { pool, preprocess, limits, garbage, .. } = &self.shared.spec;
        let PromptImages { object_class, images } = content;
        let decoded = images.into_iter().enumerate().map(|(index, image): (usize, ImageInput)| {
            let (preprocess, limits) = (preprocess.clone(), *limits);
            async move {
                let pixels = pool.run("decoding", move || decode(&image, &preprocess, &limits)).await?;
                pixels
                    .map_err(|error| Failure::Image { field: format!("[{index}]"), source: Arc::new(error) })
            }
        });
        let images = try_join_all(decoded).await?;
        while !self.ask(|reply| Job::EncodeText { object_class: object_class.clone(), reply }).await? {}
        let key = PromptKey(self.shared.next_key.fetch_add(1, Ordering::Relaxed));
        let bytes = self.ask(|reply| Job::EncodePrompts { key, images, object_class, reply }).await?;
        Ok(Arc::new(PromptLease::new(key, digest, bytes, Arc::clone(garbage))))
    }

    /// Has the scorer do a job.
    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, ScorerError>>) -> Job,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        // Held for one job alone: a server that drains does not wait for those that follow.
        let jobs = self.shared.spec.jobs.upgrade().ok_or(Failure::Draining)?;
        jobs.send(job(reply)).await.map_err(|_| Failure::Scorer(ScorerError::Ended))?;
        drop(jobs);
        let answered = answer.await.map_err(|_| Failure::Scorer(ScorerError::Ended))?;
        Ok(answered?)
    }

    fn pend(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let pending = Arc::clone(&self.shared.pending);
        pending.try_acquire_owned().map_err(|_| Failure::Overloaded {
            quota: Quota::PendingPromptSets,
            limit: MOST_PENDING,
            retry_after: RETRY_AFTER,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use inctrl_model::preprocess::Fit;
    use prometheus_client::registry::Registry;

    use super::*;

    fn content(value: u8) -> PromptImages {
        let rgb = Bytes::from(vec![value; 8 * 8 * 3]);
        PromptImages {
            object_class: "nut".to_owned(),
            images: vec![ImageInput::Raw { width: 8, height: 8, rgb }],
        }
    }

    fn keep(store: &Store, value: u8) -> Arc<PromptSetInfo> {
        let content = content(value);
        store.create(&ResourceId::parse("nut").unwrap(), &content, &content::digest(&content)).unwrap()
    }

    /// Prompt sets in a folder, with one thread for all that is read, hashed and decoded.
    struct Stage {
        store: Arc<Store>,
        pool: Arc<CpuPool>,
        prompts: Prompts,
        _jobs: mpsc::Sender<Job>,
        _state: tempfile::TempDir,
    }

    fn stage() -> Stage {
        let state = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(state.path()).unwrap());
        let (jobs, mut asked) = mpsc::channel(1);
        let pool = Arc::new(CpuPool::new(1).unwrap());
        let prompts = Prompts::new(PromptsSpec {
            store: Arc::clone(&store),
            cache: FeatureCache::new(1 << 20, &mut Registry::default()),
            jobs: jobs.downgrade(),
            pool: Arc::clone(&pool),
            preprocess: Preprocess { size: 8, mean: [0.0; 3], std: [1.0; 3], fit: Fit::Crop },
            limits: ImageLimits { max_bytes: 1 << 10, max_pixels: 1 << 10 },
            garbage: Arc::default(),
        });
        tokio::spawn(async move {
            while let Some(job) = asked.recv().await {
                match job {
                    Job::EncodeText { reply, .. } => drop(reply.send(Ok(true))),
                    Job::EncodePrompts { reply, .. } => drop(reply.send(Ok(1))),
                    other => panic!("nobody asked for {other:?}"),
                }
            }
        });
        Stage { store, pool, prompts, _jobs: jobs, _state: state }
    }

    /// Leases the prompt set `nut`; `meanwhile` comes between looking for it and reading it.
    async fn lease_while(meanwhile: impl FnOnce(&Store)) -> Result<String, Failure> {
        let Stage { store, pool, prompts, _jobs, _state } = stage();
        keep(&store, 1);
        // The one thread that could read it is busy until it has changed.
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let mut busy = Box::pin(pool.run("waiting", move || blocked.recv()));
        assert!(futures::poll!(&mut busy).is_pending());
        let source = PromptSource::Stored(ResourceId::parse("nut").unwrap());
        let mut leasing = Box::pin(prompts.lease(&source));
        assert!(futures::poll!(&mut leasing).is_pending());
        meanwhile(&store);
        release.send(()).unwrap();
        leasing.await.map(|(lease, _)| lease.digest().to_owned())
    }

    #[tokio::test]
    async fn a_prompt_set_that_is_deleted_while_it_is_read_is_not_found() {
        let id = ResourceId::parse("nut").unwrap();
        let gone = lease_while(|store| store.delete(&id, None).unwrap()).await.unwrap_err();
        assert!(matches!(gone, Failure::NotFound { .. }), "{gone}");
    }

    #[tokio::test]
    async fn a_prompt_set_that_is_created_anew_while_it_is_read_is_used_as_it_is_now() {
        let id = ResourceId::parse("nut").unwrap();
        let mut anew = None;
        let leased = lease_while(|store| {
            store.delete(&id, None).unwrap();
            anew = Some(keep(store, 2).digest.clone());
        });
        let leased = leased.await.unwrap();
        assert_eq!(Some(leased), anew);
    }

    #[tokio::test]
    async fn callers_that_share_a_failure_are_told_where_their_own_image_stands() {
        let Stage { pool, prompts, _jobs, _state, .. } = stage();
        let content = PromptImages {
            object_class: "nut".to_owned(),
            images: vec![ImageInput::Encoded(Bytes::from_static(b"no image"))],
        };
        // The one thread is busy until both callers wait for it.
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let mut busy = Box::pin(pool.run("waiting", move || blocked.recv()));
        assert!(futures::poll!(&mut busy).is_pending());
        let source = PromptSource::Inline(content.clone());
        let mut inline = Box::pin(prompts.lease(&source));
        let mut stored = Box::pin(prompts.create(ResourceId::parse("nut").unwrap(), content));
        assert!(futures::poll!(&mut inline).is_pending() && futures::poll!(&mut stored).is_pending());
        release.send(()).unwrap();
        let (inline, stored) = futures::join!(inline, stored);
        let field = |failure: Failure| match failure {
            Failure::Image { field, .. } => field,
            other => panic!("{other} is not about an image"),
        };
        assert_eq!(field(inline.map(drop).unwrap_err()), "inline_prompts.normal_images[0]");
        assert_eq!(field(stored.map(drop).unwrap_err()), "prompts.normal_images[0]");
    }

    #[tokio::test]
    async fn a_prompt_set_that_is_damaged_is_told_of_as_such() {
        let damage = |store: &Store| {
            let path = store.path(&ResourceId::parse("nut").unwrap());
            std::fs::write(path, "damaged").unwrap();
        };
        let damaged = lease_while(damage).await.unwrap_err();
        assert!(matches!(damaged, Failure::Store(_)), "{damaged}");
    }
}
