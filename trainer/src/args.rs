//! What can be typed: one sub-command a job.

use clap::{Parser, Subcommand};

use crate::{config, convert, eval, job, photographs, synth};

/// Trains InCTRL heads and prepares what they need.
///
/// Exit status: 0 done, 1 failed, 64 wrong usage, 65 bad data; of `run` also 75 try again, 78 bad configuration.
#[derive(Debug, Parser)]
#[command(name = "inctrl-trainer", version)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn a published PyTorch checkpoint into a backbone folder, and a head file where it holds one.
    Convert(convert::Args),
    /// Train a head on an auxiliary data set.
    Train(config::Flags),
    /// Run one training job: fetch and verify what it needs, train, evaluate, publish.
    Run(job::Args),
    /// Evaluate heads beside baselines on data sets that they were not trained on.
    Eval(Box<eval::Args>),
    /// Draw the synthetic benchmark: an auxiliary data set to train on, and a held-out one for evaluation.
    Synth(synth::Args),
    /// Lay out real images for evaluation: texture photographs with painted defects, handwritten digits.
    Photographs(photographs::Args),
}
