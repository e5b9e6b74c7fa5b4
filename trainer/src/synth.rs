//! The synthetic benchmark: an auxiliary set to train on and a held-out set to be judged by.
//!
//! ```text
//! options --plan--> categories and images --draw--> scene, defect, camera --write--> MVTec folders, synth.json
//! ```
//!
//! Every image is a function of version, options and its place. Families and defects of the held-out set are drawn by
//! code that training's never calls; what else keeps the benchmark honest is tested in `controls`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) mod axes;
pub(crate) mod canvas;
#[cfg(test)]
mod controls;
pub(crate) mod defects;
mod draw;
mod families;
mod manifest;
mod nuisance;
mod plan;
mod write;

pub use axes::{Severity, VERSION};
pub use manifest::{CategoryRecord, DefectRecord, ImageRecord, MANIFEST_FILE, Manifest};
pub use nuisance::Legal;
pub use plan::Set;

use crate::exit::Exit;
use plan::Plan;
use write::Found;
pub(crate) use write::{mask_file, png};

/// Name of the benchmark: figures are those "on the bundled synthetic benchmark, version N".
pub const BENCHMARK: &str = "inctrl-synth";

/// Draw the synthetic benchmark: images of many textures and objects, good ones and ones with defects, with masks.
///
/// DIR gets two data sets in MVTec layout, each with a description in synth.json: `auxiliary` to train on, and
/// `held-out` with families and kinds of defects that the first does not have. The same options give the same bytes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder to make. An empty one, or an earlier benchmark, is replaced; anything else is left alone and refused.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What is drawn.
    #[command(flatten)]
    pub options: Options,
    /// Log directives, such as `info,inctrl_trainer=debug`.
    #[arg(long, env = "INCTRL_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct Options {
    /// Seed of everything that is drawn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Side of the images in pixels.
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = in_range::<64, 1024>)]
    pub size: usize,
    /// Categories of the auxiliary set.
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = in_range::<2, 10_000>)]
    pub instances: usize,
    /// Normal images of an auxiliary category, and as many with defects.
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = in_range::<2, 500>)]
    pub images: usize,
    /// Of a held-out category: prompt images, normal queries, queries with defects of seen and of unseen kinds, each.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = in_range::<1, 500>)]
    pub held_out_images: usize,
}

fn in_range<const LEAST: usize, const MOST: usize>(typed: &str) -> Result<usize, String> {
    let number: usize = typed.parse().map_err(|_| format!("must be a number from {LEAST} to {MOST}"))?;
    if (LEAST..=MOST).contains(&number) {
        return Ok(number);
    }
    Err(format!("must be from {LEAST} to {MOST}"))
}

/// Why the benchmark could not be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// The folder holds something else.
    #[error(
        "{out:?} holds {found:?}, which no earlier run of `synth` made; choose a new folder, or empty this one"
    )]
    NotOurs {
        /// The folder asked for.
        out: PathBuf,
        /// What is in it.
        found: PathBuf,
    },
    /// The place cannot be looked at.
    #[error("cannot read folder {path:?}; check that it is a folder and its permissions")]
    Read {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path:?}; nothing was left behind. Check permissions and free space")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl SynthError {
    /// How the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotOurs { .. } => Exit::Usage,
            Self::Read { .. } | Self::Write { .. } => Exit::Failed,
        }
    }
}

/// Draws the benchmark. It appears whole or not at all; one that is there with the same options stays as it is.
pub fn run(args: &Args) -> Result<(), SynthError> {
    let Args { out, options, log: _ } = args;
    let found = write::look(out, options)?;
    if let Found::Same = found {
        tracing::info!(out = %out.display(), "the benchmark is there already");
        return Ok(());
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SynthError::Write { path, source }
    };
    std::fs::create_dir_all(parent).map_err(failed(parent))?;
    let staging = tempfile::Builder::new().prefix(".synth-").tempdir_in(parent).map_err(failed(parent))?;
    let made = staging.path().join("made");
    std::fs::create_dir(&made).map_err(failed(&made))?;
    write::write(&Plan::new(options), options, &made)?;
    // An earlier benchmark moves into the staging folder and goes with it.
    if let Found::Other = found {
        std::fs::rename(out, staging.path().join("earlier")).map_err(failed(out))?;
    }
    std::fs::rename(&made, out).map_err(failed(out))?;
    tracing::info!(out = %out.display(), "the benchmark is drawn");
    Ok(())
}
