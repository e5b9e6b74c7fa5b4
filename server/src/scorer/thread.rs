//! The one thread that owns the device: takes jobs in turn, answers each, outlives their panics.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use inctrl_model::{Pixels, Scores};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{HeadInfo, HeadKey, PromptKey, Query, QueryScores, Scorer, ScorerError, ScorerInfo, Work};
use crate::batch::{Batch, BatchMetrics, Item, Load, Outcome};
use crate::health::Health;
use crate::revisions::{Revision, Route};

type Answer = Result<Scores, ScorerError>;

/// What the thread is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    Score(Batch),
    /// One step of many, so that queries are scored between them.
    EncodeText {
        object_class: String,
        reply: oneshot::Sender<Result<bool, ScorerError>>,
    },
    EncodePrompts {
        key: PromptKey,
        images: Vec<Pixels>,
        object_class: String,
        reply: oneshot::Sender<Result<usize, ScorerError>>,
    },
    LoadHead {
        key: HeadKey,
        bytes: Bytes,
        reply: oneshot::Sender<Result<HeadInfo, ScorerError>>,
    },
    /// A job of its own, so that queries are scored between loading and testing.
    SelfTest {
        key: HeadKey,
        test: Bytes,
        reply: oneshot::Sender<Result<Vec<f32>, ScorerError>>,
    },
    Probe {
        reply: oneshot::Sender<Result<(), ScorerError>>,
    },
}

/// Keys that nobody holds any more; the thread lets go of them before its next job.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    prompts: Vec<PromptKey>,
    heads: Vec<HeadKey>,
}

impl Garbage {
    pub(crate) fn forget_prompts(&self, key: PromptKey) {
        self.lock().prompts.push(key);
    }

    pub(crate) fn forget_head(&self, key: HeadKey) {
        self.lock().heads.push(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Keys> {
        // A list of keys is whole whatever panicked beside it.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Keys {
        std::mem::take(&mut *self.lock())
    }
}

/// What the thread shares with the rest of the server.
#[derive(Debug, Clone)]
pub(crate) struct ThreadSpec {
    pub(crate) health: Arc<Health>,
    pub(crate) load: Arc<Load>,
    pub(crate) metrics: BatchMetrics,
    pub(crate) garbage: Arc<Garbage>,
}

/// The running thread; ends when every sender of its jobs is gone.
#[derive(Debug)]
pub(crate) struct ScorerThread {
    thread: JoinHandle<()>,
    /// Closed by the end of the thread.
    ended: oneshot::Receiver<Infallible>,
}

impl ScorerThread {
    /// Starts the thread and makes the scorer on it.
    ///
    /// # Errors
    ///
    /// What `make` says; the thread has ended then.
    pub(crate) async fn start<E: Send + 'static>(
        make: impl FnOnce() -> Result<Box<dyn Scorer>, E> + Send + 'static,
        spec: ThreadSpec,
    ) -> std::io::Result<Result<(Self, mpsc::Sender<Job>, ScorerInfo), E>> {
        // One: a full batch can wait here while another is computed; more would only bind batches too early.
        let (sender, receiver) = mpsc::channel(1);
        let (made, making) = oneshot::channel();
        let (ends, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("scorer".to_owned()).spawn(move || {
            let _ends = ends;
            match make() {
                Ok(scorer) => {
                    let _ = made.send(Ok(scorer.info().clone()));
                    Owner { scorer, spec }.run(receiver);
                }
                Err(error) => {
                    let _ = made.send(Err(error));
                }
            }
        })?;
        let made =
            making.await.map_err(|_| std::io::Error::other("the scorer's thread panicked at its start"))?;
        Ok(made.map(|info| (Self { thread, ended }, sender, info)))
    }

    /// Completes at the end of the thread, which comes when every sender of its jobs is gone.
    pub(crate) async fn ended(self) {
        let Self { thread, ended } = self;
        let _ = ended.await;
        // It has nothing left to do: joining takes no time.
        if thread.join().is_err() {
            tracing::error!("the scorer's thread panicked outside of its jobs");
        }
    }
}

struct Owner {
    scorer: Box<dyn Scorer>,
    spec: ThreadSpec,
}

impl Owner {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            self.spec.health.scorer_is_busy();
            self.forget();
            self.handle(job);
            self.spec.health.scorer_is_idle();
        }
    }

    fn forget(&mut self) {
        let Keys { prompts, heads } = self.spec.garbage.take();
        for key in prompts {
            self.scorer.forget_prompts(key);
        }
        for key in heads {
            self.scorer.forget_head(key);
        }
    }

    fn handle(&mut self, job: Job) {
        match job {
            Job::Score(batch) => self.score(batch),
            Job::EncodeText { object_class, reply } => {
                if !reply.is_closed() {
                    let _ = reply.send(self.guarded(Work::Text, |scorer| scorer.encode_text(&object_class)));
                }
            }
            Job::EncodePrompts { key, images, object_class, reply } => {
                // Encoding is dear: whoever wanted it may have left.
                if !reply.is_closed() {
                    let work = Work::Images(images.len());
                    let encoded =
                        self.proving(work, |scorer| scorer.encode_prompts(key, &images, &object_class));
                    if let Err(Ok(_)) = reply.send(encoded) {
                        self.scorer.forget_prompts(key);
                    }
                }
            }
            Job::LoadHead { key, bytes, reply } => {
                let loaded = self.guarded(Work::Head, |scorer| scorer.load_head(key, &bytes));
                if let Err(Ok(_)) = reply.send(loaded) {
                    self.scorer.forget_head(key);
                }
            }
            Job::SelfTest { key, test, reply } => {
                if !reply.is_closed() {
                    let _ = reply.send(self.proving(Work::SelfTest, |scorer| scorer.self_test(key, &test)));
                }
            }
            Job::Probe { reply } => {
                let probed = self.proving(Work::Images(1), |scorer| scorer.probe());
                // What is probed is the device alone: no image of a caller is to blame.
                if matches!(probed, Err(ScorerError::NotFinite)) {
                    self.spec.health.scorer_failed();
                }
                let _ = reply.send(probed);
            }
        }
    }

    fn score(&mut self, mut batch: Batch) {
        let metrics = self.spec.metrics.clone();
        // A batch that waited here has aged.
        batch.drop_unwanted(|dropped| metrics.dropped(dropped));
        let Batch { items, running } = batch;
        if items.is_empty() {
            return;
        }
        let started = Instant::now();
        let queries: Vec<Query<'_>> = items.iter().map(Item::query).collect();
        let (answers, backbone) = self.score_or_halve(&queries);
        for (item, answer) in items.iter().zip(&answers) {
            item.note(answer);
        }
        let answers = self.relieve(&items, answers);
        let compute = started.elapsed();
        let batch_size = items.len();
        self.spec.load.observe(batch_size, compute);
        metrics.computed(batch_size, compute, backbone);
        for (item, (revision, scores)) in items.into_iter().zip(answers) {
            let queue = item.waited_until(started);
            metrics.waited(queue);
            let outcome = scores.map(|scores| Outcome { scores, revision, queue, compute, batch_size });
            item.answer(outcome.map_err(Into::into));
        }
        // Only now may the worker send what it has: its queries waited for these.
        drop(running);
    }

    /// Who answers what: the head that was asked, or where that failed by itself, the other one of the query.
    fn relieve(&mut self, items: &[Item], answers: Vec<QueryScores>) -> Vec<(Arc<Revision>, Answer)> {
        let relieved = items.iter().zip(answers).map(|(item, QueryScores { scores, shadow })| {
            let Some(other) = item.route.relief(&scores) else {
                return (Arc::clone(&item.route.revision), scores);
            };
            // Where the other scored besides, its answer is there; else the query is scored again.
            let scores = shadow.filter(Result::is_ok).unwrap_or_else(|| {
                let query = item.query_to(other);
                let (mut again, _) = self.score_or_halve(std::slice::from_ref(&query));
                let answer = again.pop().expect("one query has one answer");
                Route::to(Arc::clone(other)).note(&answer, None);
                answer.scores
            });
            (Arc::clone(other), scores)
        });
        relieved.collect()
    }

    /// Scores a batch; one that does not fit the device is halved once.
    fn score_or_halve(&mut self, queries: &[Query<'_>]) -> (Vec<QueryScores>, Duration) {
        match self.score_once(queries) {
            Err(ScorerError::OutOfMemory { work }) if queries.len() > 1 => {
                tracing::warn!(%work, "batch does not fit the device: halving it");
                let (first, second) = queries.split_at(queries.len() / 2);
                let halves = [first, second].map(|half| (half.len(), self.score_once(half)));
                let mut all = Vec::with_capacity(queries.len());
                let mut backbone = Duration::ZERO;
                for (length, half) in halves {
                    let (answers, time) = unpack(length, half);
                    all.extend(answers);
                    backbone += time;
                }
                (all, backbone)
            }
            other => unpack(queries.len(), other),
        }
    }

    fn score_once(&mut self, queries: &[Query<'_>]) -> Result<super::Scored, ScorerError> {
        self.proving(Work::Images(queries.len()), |scorer| scorer.score(queries))
    }

    /// Runs a call that computes on the device: its success shows that the device works.
    fn proving<T>(
        &mut self,
        work: Work,
        call: impl FnOnce(&mut dyn Scorer) -> Result<T, ScorerError>,
    ) -> Result<T, ScorerError> {
        let result = self.guarded(work, call);
        if result.is_ok() {
            self.spec.health.scorer_succeeded();
        }
        result
    }

    /// Runs a call; a panic in it becomes an error of this call. It counts, as does a device that fails; a success does
    /// not, since the call may have had nothing to compute.
    fn guarded<T>(
        &mut self,
        work: Work,
        call: impl FnOnce(&mut dyn Scorer) -> Result<T, ScorerError>,
    ) -> Result<T, ScorerError> {
        match catch_unwind(AssertUnwindSafe(|| call(self.scorer.as_mut()))) {
            Ok(result) => {
                if let Err(error) = &result
                    && error.is_of_the_device()
                {
                    tracing::error!(error = %inctrl_telemetry::Chain(error), "the scorer failed");
                    self.spec.health.scorer_failed();
                }
                result
            }
            Err(panic) => {
                let message = panic_message(panic.as_ref());
                if message.contains("out of memory") {
                    return Err(ScorerError::OutOfMemory { work });
                }
                tracing::error!(message, "the scorer panicked");
                self.spec.health.scorer_failed();
                Err(ScorerError::Panicked { message })
            }
        }
    }
}

fn unpack(queries: usize, scored: Result<super::Scored, ScorerError>) -> (Vec<QueryScores>, Duration) {
    match scored {
        Ok(super::Scored { queries, backbone }) => (queries, backbone),
        Err(error) => (vec![QueryScores { scores: Err(error), shadow: None }; queries], Duration::ZERO),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::health::Phase;
    use crate::scorer::fake::{FakeScorer, Hand};

    /// A thread with its fake.
    struct Stage {
        health: Arc<Health>,
        jobs: mpsc::Sender<Job>,
        hand: Hand,
        _thread: ScorerThread,
    }

    impl Stage {
        async fn start() -> Self {
            let health = Arc::new(Health::new());
            health.enter(Phase::Serving);
            let spec = ThreadSpec {
                health: Arc::clone(&health),
                load: Arc::default(),
                metrics: BatchMetrics::register(&mut Registry::default()),
                garbage: Arc::default(),
            };
            let (scorer, hand) = FakeScorer::new();
            let make = move || Ok::<Box<dyn Scorer>, Infallible>(Box::new(scorer));
            let (thread, jobs, _info) = ScorerThread::start(make, spec).await.unwrap().unwrap();
            Self { health, jobs, hand, _thread: thread }
        }

        async fn ask<T>(
            &self,
            job: impl FnOnce(oneshot::Sender<Result<T, ScorerError>>) -> Job,
        ) -> Result<T, ScorerError> {
            let (reply, answer) = oneshot::channel();
            self.jobs.send(job(reply)).await.unwrap();
            answer.await.unwrap()
        }

        async fn probe(&self) -> Result<(), ScorerError> {
            self.ask(|reply| Job::Probe { reply }).await
        }

        async fn encode_text(&self) -> Result<bool, ScorerError> {
            self.ask(|reply| Job::EncodeText { object_class: "nut".to_owned(), reply }).await
        }
    }

    fn broken() -> ScorerError {
        ScorerError::Backbone(Arc::new(std::io::Error::other("device-side assert")))
    }

    #[tokio::test]
    async fn a_device_that_fails_three_times_makes_the_server_unready_until_it_works() {
        let stage = Stage::start().await;
        let short = ScorerError::OutOfMemory { work: Work::Images(1) };
        for error in [broken(), short, ScorerError::NotFinite, broken()] {
            assert_eq!(stage.health.ready(), Ok(()), "memory that is short is no failure of the device");
            stage.hand.fail_next_check(error);
            stage.probe().await.unwrap_err();
        }
        assert!(stage.health.ready().unwrap_err().contains("failed 3 times"));
        stage.probe().await.unwrap();
        assert_eq!(stage.health.ready(), Ok(()));
    }

    #[tokio::test]
    async fn text_that_needs_no_device_does_not_hide_that_it_fails() {
        let stage = Stage::start().await;
        for _ in 0..3 {
            stage.encode_text().await.unwrap();
            stage.hand.fail_next_check(broken());
            stage.probe().await.unwrap_err();
        }
        stage.encode_text().await.unwrap();
        assert!(stage.health.ready().unwrap_err().contains("failed 3 times"));
    }
}
