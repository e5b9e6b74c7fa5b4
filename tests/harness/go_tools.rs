//! Programs that others wrote, in Go: built on first use by a suite's `build`, from modules that its go.mod pins.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The build's exit code where there is no Go toolchain (`EX_UNAVAILABLE`).
const NO_TOOLCHAIN: i32 = 69;

/// Which programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// grpcurl and `grpc_health_probe`.
    Conformance,
    /// etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl; `KUBEBUILDER_ASSETS` wins.
    ControlPlane,
    /// helm.
    Helm,
}

impl Suite {
    fn build(self) -> &'static Path {
        Path::new(match self {
            Self::Conformance => concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/build"),
            Self::ControlPlane => concat!(env!("CARGO_MANIFEST_DIR"), "/control-plane/build"),
            Self::Helm => concat!(env!("CARGO_MANIFEST_DIR"), "/helm/build"),
        })
    }
}

/// Why the programs cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoToolsError {
    /// No Go toolchain: a test that needs the programs is skipped, and says so.
    #[error("{reason}")]
    NoToolchain {
        /// What the build said.
        reason: String,
    },
    /// Building failed.
    #[error("{build:?} failed: {reason}")]
    Build {
        /// The build.
        build: &'static Path,
        /// What it said.
        reason: String,
    },
    /// The build could not be run.
    #[error("running {build:?}")]
    Run {
        /// The build.
        build: &'static Path,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// The programs of a suite.
#[derive(Debug, Clone)]
pub struct GoTools(PathBuf);

impl GoTools {
    /// Whether they can be had: built before, or with a Go toolchain at hand.
    pub fn are_at_hand(suite: Suite) -> Result<(), GoToolsError> {
        run(suite, "--check").map(|_| ())
    }

    /// Builds them where that has not been done: minutes, once.
    pub fn build(suite: Suite) -> Result<Self, GoToolsError> {
        Ok(Self(PathBuf::from(run(suite, "--build")?)))
    }

    /// Path of a program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The general client of gRPC.
    pub fn grpcurl(&self) -> Command {
        Command::new(self.program("grpcurl"))
    }

    /// The probe of `grpc.health.v1`.
    pub fn grpc_health_probe(&self) -> Command {
        Command::new(self.program("grpc_health_probe"))
    }
}

fn run(suite: Suite, mode: &str) -> Result<String, GoToolsError> {
    let build = suite.build();
    let output =
        Command::new(build).arg(mode).output().map_err(|source| GoToolsError::Run { build, source })?;
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Some(NO_TOOLCHAIN) => Err(GoToolsError::NoToolchain { reason }),
        _ => Err(GoToolsError::Build { build, reason }),
    }
}
