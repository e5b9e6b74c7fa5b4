//! The InCTRL scoring server: images come in over gRPC, scores against few-shot normal images go out.
//!
//! The walk of a request:
//!
//! ```text
//! grpc::entrance  deadline, bytes in flight, log line, metrics
//!   -> grpc::detection -> grpc::convert     proto to request::DetectRequest; no proto type below
//!     -> scoring    revision; a place in the queue, or a refusal at once
//!       -> prompts  features of the prompt set: from the cache, or computed once
//!       -> decode   bytes to pixels on a bounded pool
//!       -> batch    put together with whoever else waits
//!         -> scorer one thread owns the device: backbone once for the batch, then residuals and heads
//!     <- anomaly_map, grpc::convert, grpc::status
//! ```
//!
//! Which heads there are comes from the command line, or over a listener of its own: `grpc::rollouts`, then `rollout`.
//!
//! Start reading at [`app`].

pub mod app;
pub mod args;
pub mod config;
pub mod scorer;

mod admission;
mod anomaly_map;
mod batch;
mod decode;
mod failure;
mod grpc;
mod health;
mod ids;
mod metrics;
mod prompts;
mod request;
mod revisions;
mod rollout;
mod scoring;
mod serve;

pub use serve::run;
