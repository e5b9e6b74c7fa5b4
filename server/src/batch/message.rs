//! What travels through the queue: a query with its reply, its deadline and its start.

use std::sync::Arc;
use std::time::Duration;

use inctrl_model::{Pixels, Scores};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::queue::{Load, Running};
use crate::failure::Failure;
use crate::prompts::PromptLease;
use crate::revisions::{Revision, Route};
use crate::scorer::{Query, QueryScores};

/// One query. Its leases keep features and head in the scorer until it is answered.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) pixels: Pixels,
    pub(crate) prompts: Arc<PromptLease>,
    pub(crate) route: Route,
    /// Of the decision, where there is one.
    pub(crate) threshold: Option<f32>,
    pub(crate) deadline: Option<Instant>,
    pub(super) queued_at: Instant,
    pub(super) reply: oneshot::Sender<Result<Outcome, Failure>>,
    /// Its place in the queue, given back when it leaves it.
    pub(super) slot: Option<OwnedSemaphorePermit>,
}

/// What became of a query.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) scores: Scores,
    /// The head that gave them.
    pub(crate) revision: Arc<Revision>,
    /// From its place in the queue to the start of its batch.
    pub(crate) queue: Duration,
    /// Of the batch.
    pub(crate) compute: Duration,
    pub(crate) batch_size: usize,
}

/// Why a query was dropped before it cost compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Nobody waits for the answer any more: a normal end.
    Cancelled,
    /// The deadline is past.
    Deadline,
}

impl Item {
    /// The item, unless nobody would have anything of its answer; its caller is told, where there is one.
    pub(super) fn still_wanted(self, now: Instant) -> Result<Self, Dropped> {
        if self.reply.is_closed() {
            return Err(Dropped::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.answer(Err(Failure::Deadline { predicted_wait: None }));
            return Err(Dropped::Deadline);
        }
        Ok(self)
    }

    pub(crate) fn query(&self) -> Query<'_> {
        let (head, shadow) = (self.route.revision.key(), self.route.shadow());
        Query { pixels: &self.pixels, prompts: self.prompts.key(), head, shadow }
    }

    /// The same query to another head.
    pub(crate) fn query_to(&self, revision: &Revision) -> Query<'_> {
        Query { pixels: &self.pixels, prompts: self.prompts.key(), head: revision.key(), shadow: None }
    }

    /// Takes in what became of the query.
    pub(crate) fn note(&self, answer: &QueryScores) {
        self.route.note(answer, self.threshold);
    }

    pub(crate) fn waited_until(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.queued_at)
    }

    pub(crate) fn answer(self, outcome: Result<Outcome, Failure>) {
        // A caller that left in the meantime needs no answer.
        let _ = self.reply.send(outcome);
    }
}

/// Queries that are computed together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
    /// Tells the worker, when dropped, that the device is free again.
    pub(crate) running: Running,
}

impl Batch {
    pub(super) fn new(mut items: Vec<Item>, load: &Arc<Load>) -> Self {
        for item in &mut items {
            item.slot = None;
        }
        let running = load.run(items.len());
        Self { items, running }
    }

    /// Drops what nobody wants any more, a last time before the compute.
    pub(crate) fn drop_unwanted(&mut self, mut told: impl FnMut(Dropped)) {
        retain_wanted(&mut self.items, &mut told);
    }
}

/// Keeps the items whose answer is wanted; tells of each other.
pub(super) fn retain_wanted(items: &mut Vec<Item>, told: &mut impl FnMut(Dropped)) {
    let now = Instant::now();
    let wanted =
        std::mem::take(items).into_iter().filter_map(|item| item.still_wanted(now).map_err(&mut *told).ok());
    *items = wanted.collect();
}
