//! Puts queries of many callers together into batches for the one thread that owns the device.
//!
//! Promises: a place in the queue is had at once or refused at once; nothing waits without a bound; a query whose
//! caller has gone, or whose deadline is past, is dropped before it costs compute; while the device works, batches
//! grow; and because the model scores each query by itself, who shares a batch changes no score.

mod message;
mod metrics;
mod policy;
mod queue;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use message::{Batch, Item, Outcome};
pub(crate) use metrics::BatchMetrics;
pub(crate) use policy::Policy;
pub(crate) use queue::{Load, Queue, Submission};
pub(crate) use worker::Worker;
