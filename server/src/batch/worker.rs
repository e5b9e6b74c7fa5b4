//! Forms batches: the only reader of the queue, the only sender of batches.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::message::{Batch, Item, retain_wanted};
use super::metrics::BatchMetrics;
use super::policy::Policy;
use super::queue::Load;
use crate::failure::Failure;
use crate::scorer::{Job, ScorerError};

/// Forms batches until the queue is closed and empty, or the scorer has ended.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) queue: mpsc::Receiver<Item>,
    /// To the scorer's thread; its capacity of one lets one full batch wait there while another is computed.
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) policy: Policy,
    pub(crate) load: Arc<Load>,
    pub(crate) metrics: BatchMetrics,
}

impl Worker {
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::with_capacity(self.policy.max_size);
        while self.fill(&mut waiting).await {
            let Ok(place) = self.jobs.reserve().await else {
                for item in waiting {
                    item.answer(Err(Failure::Scorer(ScorerError::Ended)));
                }
                return;
            };
            retain_wanted(&mut waiting, &mut |dropped| self.metrics.dropped(dropped));
            // What was dropped made room.
            take_ready(&mut self.queue, &mut waiting, self.policy.max_size);
            if !waiting.is_empty() {
                place.send(Job::Score(Batch::new(std::mem::take(&mut waiting), &self.load)));
            }
        }
    }

    /// Waits until `waiting` is worth sending; false when nothing will come any more.
    async fn fill(&mut self, waiting: &mut Vec<Item>) -> bool {
        if waiting.is_empty() {
            match self.queue.recv().await {
                Some(item) => waiting.push(item),
                None => return false,
            }
        }
        let opened = Instant::now();
        loop {
            take_ready(&mut self.queue, waiting, self.policy.max_size);
            if self.policy.max_size <= waiting.len() {
                return true;
            }
            let tightest = waiting.iter().filter_map(|item| item.deadline).min();
            let estimate = self.load.estimate(waiting.len());
            let close_at = self.policy.close_at(opened, tightest, estimate);
            let idle = self.load.is_idle();
            if idle && close_at <= Instant::now() {
                return true;
            }
            tokio::select! {
                biased;
                // One more may fill the batch.
                item = self.queue.recv() => match item {
                    Some(item) => waiting.push(item),
                    None => return true,
                },
                // While the device works a batch grows: sending it earlier would gain nothing.
                () = self.load.finished(), if !idle => {}
                () = sleep_until(close_at), if idle => {}
            }
        }
    }
}

/// Takes what is in the queue already, up to `most` in all.
fn take_ready(queue: &mut mpsc::Receiver<Item>, waiting: &mut Vec<Item>, most: usize) {
    while waiting.len() < most
        && let Ok(item) = queue.try_recv()
    {
        waiting.push(item);
    }
}
