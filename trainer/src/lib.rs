//! Trains InCTRL heads on an auxiliary data set and evaluates them on others.
//!
//! The walk of a training run:
//!
//! ```text
//! train.yaml --config--> TrainConfig --data--> samples --features--> cached features of a frozen backbone
//!   --episodes--> queries with K-shot prompt sets --train--> head.safetensors, loss curve, manifest.json
//! ```
//!
//! The backbone sees an image once; what is trained is small, so that a run's cost is the extraction of features.

use std::io::Write as _;

use inctrl_telemetry::{Chain, LogConfig, LogFormat};

use crate::args::{Command, CommandLine};
use crate::exit::Exit;

pub mod args;
pub mod artifact;
pub mod config;
pub mod convert;
pub mod data;
mod device;
pub mod episodes;
pub mod eval;
pub mod exit;
pub mod features;
pub mod files;
pub mod job;
pub mod loss;
pub mod metrics;
pub mod optimiser;
pub mod pairs;
pub mod photographs;
pub mod progress;
pub mod report;
pub mod run;
pub mod synth;
mod threads;
pub mod train;

/// Does what was typed, telling on standard error what went wrong.
pub fn run(typed: CommandLine) -> Exit {
    let CommandLine { command } = typed;
    if matches!(command, Command::Eval(_) | Command::Run(_) | Command::Train(_)) {
        inctrl_model::openmp::spin_briefly();
    }
    inctrl_model::allocator::keep_freed_memory();
    match command {
        Command::Convert(args) => {
            convert::run(&args).map_or_else(|error| tell(&error, error.exit()), |()| Exit::Done)
        }
        Command::Eval(args) => {
            eval::run(&args).map_or_else(|error| tell(&error, error.exit()), |()| Exit::Done)
        }
        Command::Synth(args) => logged(&args.log, || {
            synth::run(&args).map_or_else(|error| tell(&error, error.exit()), |()| Exit::Done)
        }),
        Command::Photographs(args) => logged(&args.log, || {
            photographs::run(&args).map_or_else(|error| tell(&error, error.exit()), |()| Exit::Done)
        }),
        Command::Run(args) => job::run(&args),
        Command::Train(flags) => {
            run::train(&flags).map_or_else(|error| tell(&error, error.exit()), |()| Exit::Done)
        }
    }
}

/// Does something that logs.
fn logged(filter: &str, work: impl FnOnce() -> Exit) -> Exit {
    let config = LogConfig { format: LogFormat::Auto, filter: filter.to_owned() };
    inctrl_telemetry::log::init(&config).map_or_else(|error| tell(&error, Exit::Usage), |()| work())
}

/// Tells people, and says how to exit.
fn tell(error: &(dyn std::error::Error + 'static), exit: Exit) -> Exit {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "error: {}", Chain(error));
    exit
}
