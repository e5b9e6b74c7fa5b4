//! What every InCTRL program shows of itself while it runs: logs, probes and metrics, and how it is asked to stop.
//!
//! A leaf crate: it knows nothing of models, servers or clusters. The walk of a program through it:
//!
//! ```text
//! log::init -> Admin::bind -> .serve(probes, registry) -> Shutdown::on_signals -> the Admin is dropped
//! ```

pub mod admin;
pub mod build_info;
pub mod chain;
pub mod log;
pub mod process;
pub mod shutdown;

pub use admin::{Admin, AdminError, BoundAdmin, Probes};
pub use build_info::BuildInfo;
pub use chain::Chain;
pub use log::{LogConfig, LogError, LogFormat};
pub use prometheus_client;
pub use shutdown::Shutdown;
