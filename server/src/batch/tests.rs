//! The promises of batching, under a paused clock, with this test in the scorer's place.

use std::sync::Arc;
use std::time::Duration;

use inctrl_model::preprocess::Area;
use inctrl_model::{HeadKind, Pixels, Scores};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, advance, timeout};

use super::*;
use crate::failure::{Failure, Quota};
use crate::prompts::PromptLease;
use crate::revisions::{Bell, Revision, Route};
use crate::scorer::{Garbage, HeadInfo, HeadKey, Job, PromptKey, ScorerError};

const CAPACITY: usize = 8;
const MS: Duration = Duration::from_millis(1);

type Answer = oneshot::Receiver<Result<Outcome, Failure>>;

/// A queue with its worker, and what the scorer would receive.
struct Stage {
    queue: Queue,
    load: Arc<Load>,
    jobs: mpsc::Receiver<Job>,
}

impl Stage {
    fn new(max_size: usize, max_wait: Duration) -> Self {
        let load = Arc::new(Load::default());
        let (queue, items) = Queue::new(CAPACITY, Arc::clone(&load));
        // As the scorer's thread has it.
        let (sender, jobs) = mpsc::channel(1);
        let policy = Policy { max_size, max_wait };
        let metrics = BatchMetrics::register(&mut Registry::default());
        let worker = Worker { queue: items, jobs: sender, policy, load: Arc::clone(&load), metrics };
        tokio::spawn(worker.run());
        Self { queue, load, jobs }
    }

    fn submit(&self, name: u32) -> Answer {
        self.submit_until(name, None)
    }

    /// Submits a query that the name in its pixels tells from others.
    fn submit_until(&self, name: u32, deadline: Option<Instant>) -> Answer {
        let mut slots = self.queue.reserve(1, deadline).unwrap();
        self.queue.submit(&mut slots, submission(name)).unwrap()
    }

    /// The next batch, however long it takes.
    async fn batch(&mut self) -> Batch {
        match self.jobs.recv().await {
            Some(Job::Score(batch)) => batch,
            other => panic!("a batch must come, not {other:?}"),
        }
    }

    /// Lets every task run until all of them wait for something.
    async fn settle(&self) {
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
    }
}

fn submission(name: u32) -> Submission {
    let garbage = Arc::new(Garbage::default());
    let info = HeadInfo { digest: "sha256:aa".to_owned(), kind: HeadKind::Contextual };
    let examined = Area { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
    Submission {
        pixels: Pixels { values: vec![], size: name, source: (1, 1), examined },
        prompts: Arc::new(PromptLease::new(PromptKey(0), "sha256:bb".to_owned(), 1, Arc::clone(&garbage))),
        route: Route::to(Arc::new(Revision::new(HeadKey(0), info, Arc::new(Bell::new()), garbage))),
        threshold: None,
    }
}

fn names(batch: &Batch) -> Vec<u32> {
    batch.items.iter().map(|item| item.pixels.size).collect()
}

fn finish(batch: Batch) {
    let Batch { items, running } = batch;
    let batch_size = items.len();
    for item in items {
        let name = item.pixels.size as f32;
        let scores = Scores {
            score: name,
            image_score: None,
            text_score: None,
            patch_max: name,
            holistic_score: None,
            map: vec![],
        };
        let (revision, took) = (Arc::clone(&item.route.revision), Duration::ZERO);
        item.answer(Ok(Outcome { scores, revision, queue: took, compute: took, batch_size }));
    }
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn an_idle_device_gets_what_is_there_at_once() {
    let mut stage = Stage::new(4, Duration::ZERO);
    let began = Instant::now();
    let answer = stage.submit(7);
    let batch = stage.batch().await;
    assert_eq!(names(&batch), [7]);
    assert_eq!(began.elapsed(), Duration::ZERO, "nothing is worth waiting for");
    finish(batch);
    assert_eq!(answer.await.unwrap().unwrap().batch_size, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_device_waits_for_company_no_longer_than_it_may() {
    let mut stage = Stage::new(4, 100 * MS);
    let began = Instant::now();
    let _first = stage.submit(1);
    stage.settle().await;
    advance(60 * MS).await;
    let _second = stage.submit(2);
    assert_eq!(names(&stage.batch().await), [1, 2]);
    assert_eq!(began.elapsed(), 100 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let mut stage = Stage::new(2, 100 * MS);
    let began = Instant::now();
    let _answers = [1, 2, 3].map(|name| stage.submit(name));
    assert_eq!(names(&stage.batch().await), [1, 2]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_tightest_deadline_closes_a_batch() {
    let mut stage = Stage::new(4, 100 * MS);
    stage.load.observe(1, 10 * MS);
    let began = Instant::now();
    let _patient = stage.submit(1);
    let _hurried = stage.submit_until(2, Some(began + 50 * MS));
    assert_eq!(names(&stage.batch().await), [1, 2]);
    assert_eq!(began.elapsed(), 30 * MS, "two images take 20 ms");
}

#[tokio::test(start_paused = true)]
async fn while_the_device_works_a_batch_grows() {
    let mut stage = Stage::new(4, Duration::ZERO);
    let _first = stage.submit(1);
    let working = stage.batch().await;
    let mut answers = Vec::new();
    for name in [2, 3, 4] {
        answers.push(stage.submit(name));
        stage.settle().await;
        advance(10 * MS).await;
    }
    assert!(stage.jobs.try_recv().is_err(), "an early batch would only wait elsewhere");
    finish(working);
    assert_eq!(names(&stage.batch().await), [2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_departed_caller_costs_no_compute_and_its_place_is_taken() {
    let mut stage = Stage::new(2, Duration::ZERO);
    let _first = stage.submit(1);
    let working = stage.batch().await;
    // One full batch waits in the channel to the scorer, where dropping is the scorer's.
    let queued = [2, 3].map(|name| stage.submit(name));
    stage.settle().await;
    let (gone, _stays, _late) = (stage.submit(4), stage.submit(5), stage.submit(6));
    stage.settle().await;
    drop(gone);
    finish(working);
    let mut aged = stage.batch().await;
    drop(queued);
    let mut told = 0;
    aged.drop_unwanted(|_| told += 1);
    assert_eq!((aged.items.len(), told), (0, 2), "what waited in the channel is looked at once more");
    finish(aged);
    assert_eq!(names(&stage.batch().await), [5, 6], "the place of the departed is taken");
}

#[tokio::test(start_paused = true)]
async fn a_query_whose_deadline_passes_in_the_queue_is_told_and_not_computed() {
    let mut stage = Stage::new(1, Duration::ZERO);
    let _first = stage.submit(1);
    let working = stage.batch().await;
    // In the channel to the scorer, and in the worker's hand.
    let _second = stage.submit(2);
    stage.settle().await;
    let late = stage.submit_until(3, Some(Instant::now() + 10 * MS));
    stage.settle().await;
    advance(20 * MS).await;
    finish(working);
    finish(stage.batch().await);
    let told = timeout(10 * MS, late).await.expect("the caller must be told").unwrap();
    assert!(matches!(told, Err(Failure::Deadline { predicted_wait: None })), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once_and_takes_again_when_a_batch_leaves() {
    let mut stage = Stage::new(CAPACITY, 100 * MS);
    let all = stage.queue.reserve(CAPACITY, None).unwrap();
    let refused = stage.queue.reserve(1, None).unwrap_err();
    assert!(
        matches!(refused, Failure::Overloaded { quota: Quota::QueuedImages, limit: CAPACITY, .. }),
        "{refused:?}"
    );
    drop(all);
    let _answers: Vec<Answer> = (0..CAPACITY as u32).map(|name| stage.submit(name)).collect();
    assert!(stage.queue.reserve(1, None).is_err());
    let _working = stage.batch().await;
    assert_eq!(stage.queue.len(), 0, "what is computed waits no more");
    stage.queue.reserve(CAPACITY, None).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_the_queue_cannot_meet_is_refused_before_any_work() {
    let mut stage = Stage::new(1, Duration::ZERO);
    stage.load.observe(1, 100 * MS);
    let _first = stage.submit(1);
    let _working = stage.batch().await;
    let refused = stage.queue.reserve(1, Some(Instant::now() + 50 * MS)).unwrap_err();
    assert!(
        matches!(refused, Failure::Deadline { predicted_wait: Some(wait) } if wait == 100 * MS),
        "{refused:?}"
    );
    stage.queue.reserve(1, Some(Instant::now() + 150 * MS)).unwrap();
    let past = stage.queue.reserve(1, Some(Instant::now())).unwrap_err();
    assert!(matches!(past, Failure::Deadline { predicted_wait: None }), "{past:?}");
}

#[tokio::test(start_paused = true)]
async fn when_the_scorer_has_ended_callers_are_told() {
    let mut stage = Stage::new(2, Duration::ZERO);
    stage.jobs.close();
    let told = stage.submit(1).await.unwrap();
    assert!(matches!(told, Err(Failure::Scorer(ScorerError::Ended))), "{told:?}");
    stage.settle().await;
    let mut slots = stage.queue.reserve(1, None).unwrap();
    let refused = stage.queue.submit(&mut slots, submission(2)).unwrap_err();
    assert!(matches!(refused, Failure::Draining), "{refused:?}");
}
