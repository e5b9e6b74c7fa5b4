//! How the program ends, as `--help` documents it. The numbers are those of sysexits.h, which the operator's Jobs
//! tell apart.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed for a reason outside of what was given: disk, memory, network.
    Failed = 1,
    /// Wrong usage: nothing was done.
    Usage = 64,
    /// What was given cannot be used, however often it is tried.
    BadData = 65,
    /// Not now: told to stop, or something out of reach. Another try can help.
    TryAgain = 75,
    /// What the run was told cannot be followed, however often it is tried.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
