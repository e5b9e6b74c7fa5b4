//! The queue's front: a place at once, or a refusal at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use inctrl_model::Pixels;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::message::{Item, Outcome};
use crate::failure::{Failure, Quota};
use crate::prompts::PromptLease;
use crate::revisions::Route;

/// Share of the newest batch in the running mean of the time per image.
const NEWEST_SHARE: f64 = 0.2;
/// What a refused caller is told to wait, at least and at most.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// The way into the queue; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Item>,
    slots: Arc<Semaphore>,
    capacity: usize,
    load: Arc<Load>,
}

/// Places in the queue, one an image; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slots {
    permit: OwnedSemaphorePermit,
    deadline: Option<Instant>,
    taken_at: Instant,
}

/// A query without its place.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) pixels: Pixels,
    pub(crate) prompts: Arc<PromptLease>,
    pub(crate) route: Route,
    /// Of the decision, where there is one.
    pub(crate) threshold: Option<f32>,
}

impl Queue {
    /// A queue of `capacity` images, and its other end.
    pub(crate) fn new(capacity: usize, load: Arc<Load>) -> (Self, mpsc::Receiver<Item>) {
        // Each item holds a slot until it leaves the channel: the channel is never full.
        let (sender, receiver) = mpsc::channel(capacity);
        let slots = Arc::new(Semaphore::new(capacity));
        (Self { sender, slots, capacity, load }, receiver)
    }

    /// Images that wait, or are on their way into the queue.
    pub(crate) fn len(&self) -> usize {
        self.capacity - self.slots.available_permits()
    }

    /// Takes places for `images`, before anything is spent on them.
    ///
    /// Refuses when there is no room for all, and when the queue alone would outlast the deadline.
    pub(crate) fn reserve(&self, images: usize, deadline: Option<Instant>) -> Result<Slots, Failure> {
        let taken_at = Instant::now();
        let wait = self.load.wait(self.len());
        if let Some(deadline) = deadline {
            if deadline <= taken_at {
                return Err(Failure::Deadline { predicted_wait: None });
            }
            if !wait.is_zero() && deadline < taken_at + wait {
                return Err(Failure::Deadline { predicted_wait: Some(wait) });
            }
        }
        let wanted = u32::try_from(images).unwrap_or(u32::MAX);
        let permit =
            Arc::clone(&self.slots).try_acquire_many_owned(wanted).map_err(|_| Failure::Overloaded {
                quota: Quota::QueuedImages,
                limit: self.capacity,
                retry_after: wait.clamp(RETRY_AFTER.0, RETRY_AFTER.1),
            })?;
        Ok(Slots { permit, deadline, taken_at })
    }

    /// Puts a query into one of `slots`; the answer comes through the receiver. Dropping the receiver cancels.
    pub(crate) fn submit(
        &self,
        slots: &mut Slots,
        submission: Submission,
    ) -> Result<oneshot::Receiver<Result<Outcome, Failure>>, Failure> {
        let Submission { pixels, prompts, route, threshold } = submission;
        let (reply, answer) = oneshot::channel();
        let slot = Some(slots.permit.split(1).expect("a caller submits as many images as it took slots for"));
        let (deadline, queued_at) = (slots.deadline, slots.taken_at.max(Instant::now()));
        let item = Item { pixels, prompts, route, threshold, deadline, queued_at, reply, slot };
        match self.sender.try_send(item) {
            Ok(()) => Ok(answer),
            // Never full, by the slots; closed when the worker has ended.
            Err(_) => Err(Failure::Draining),
        }
    }
}

/// What the device is doing and how long it takes.
#[derive(Debug, Default)]
pub(crate) struct Load {
    batches: AtomicUsize,
    images: AtomicUsize,
    finished: Notify,
    nanos_per_image: AtomicU64,
}

/// A batch that is on its way or being computed.
#[derive(Debug)]
pub(crate) struct Running {
    load: Arc<Load>,
    images: usize,
}

impl Load {
    pub(super) fn run(self: &Arc<Self>, images: usize) -> Running {
        self.batches.fetch_add(1, Ordering::AcqRel);
        self.images.fetch_add(images, Ordering::AcqRel);
        Running { load: Arc::clone(self), images }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.batches.load(Ordering::Acquire) == 0
    }

    /// Completes when a batch has finished since the last call.
    pub(super) async fn finished(&self) {
        self.finished.notified().await;
    }

    /// A batch of `images` took `time`.
    pub(crate) fn observe(&self, images: usize, time: Duration) {
        let newest = time.as_nanos() as f64 / images.max(1) as f64;
        let mean = self.nanos_per_image.load(Ordering::Relaxed) as f64;
        let mean = if mean > 0.0 { mean + (newest - mean) * NEWEST_SHARE } else { newest };
        self.nanos_per_image.store(mean as u64, Ordering::Relaxed);
    }

    /// How long `images` take.
    pub(super) fn estimate(&self, images: usize) -> Duration {
        Duration::from_nanos(self.nanos_per_image.load(Ordering::Relaxed).saturating_mul(images as u64))
    }

    /// How long until `queued` images and those under way are done.
    pub(super) fn wait(&self, queued: usize) -> Duration {
        self.estimate(queued + self.images.load(Ordering::Acquire))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.load.images.fetch_sub(self.images, Ordering::AcqRel);
        self.load.batches.fetch_sub(1, Ordering::AcqRel);
        self.load.finished.notify_one();
    }
}
