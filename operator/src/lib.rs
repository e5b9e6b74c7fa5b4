//! The operator: trains, gates, rolls out and rolls back `InCTRLModel` resources.
//!
//! ```text
//! args -> config -> app --+-- lease       who acts; its count of transitions is the epoch that servers are fenced by
//!                         +-- controller  observe -> validate -> plan -> build -> apply -> status, per object
//!                         +-- metrics, probes
//! ```
//!
//! Invariants: `controller::plan` is a function of spec, observation and time; intent is recorded or derivable before it
//! is acted on, acting is idempotent, an outcome is recorded before its evidence may be collected; an error is never a
//! change; a write happens only when something differs. Never links libtorch.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use inctrl_telemetry::Chain;

pub mod app;
pub mod args;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod crd;
pub mod lease;
pub mod limiter;
pub mod metrics;
pub mod packed;
pub mod queue;
pub mod servers;
pub mod watches;

/// Does what the command line says, and says on standard error why it could not.
pub fn run(line: args::CommandLine) -> ExitCode {
    let done = match line.command {
        args::Command::Crd(crd) => print_definition(crd.keep),
        args::Command::Run(run) => config::Config::new(*run).map_err(Into::into).and_then(app::run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do where even standard error cannot be written.
            let _ = writeln!(std::io::stderr(), "inctrl-operator: {}", Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn print_definition(keep: bool) -> Result<(), Box<dyn Error>> {
    let yaml = crd::definition_yaml(keep)?;
    std::io::stdout().write_all(yaml.as_bytes())?;
    Ok(())
}
