//! Arguments of `score`.

use std::path::PathBuf;

use clap::Args;

use super::OutputArgs;

/// Arguments of `score`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["prompts", "normals"]))]
pub struct ScoreArgs {
    /// Images to score: files, folders (with everything below them) or quoted globs.
    #[arg(required = true, value_name = "IMAGES|DIRS|GLOBS")]
    pub images: Vec<PathBuf>,
    /// Model that answers [default: the server's default model].
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Digest of the revision that must answer [default: the active one].
    #[arg(long, value_name = "DIGEST")]
    pub revision: Option<String>,
    /// A score at or above it is decided anomalous, 0 to 1 [default: by the prompt set's calibration].
    #[arg(long, value_name = "SCORE", value_parser = share)]
    pub threshold: Option<f32>,
    /// Exit with 4 if any image is decided anomalous.
    #[arg(long)]
    pub fail_on_anomaly: bool,
    /// How to print results on standard output, in the order of the images.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Requests in flight at a time [default: 16, or 128 where the server computes on a GPU].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: Option<u16>,
    /// Where the normal images come from.
    #[command(flatten)]
    pub source: PromptSource,
    /// Where anomaly maps go.
    #[command(flatten)]
    pub maps: MapArgs,
}

/// Where the normal images come from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Normal images")]
pub struct PromptSource {
    /// Name of a stored prompt set.
    #[arg(long, value_name = "NAME", conflicts_with = "class")]
    pub prompts: Option<String>,
    /// Normal images that travel with each request: files, folders or quoted globs. Give it after IMAGES.
    #[arg(long, value_name = "IMAGES", num_args = 1.., requires = "class")]
    pub normals: Vec<PathBuf>,
    /// What they show, in a word or two, such as "candle".
    #[arg(long, value_name = "CLASS", requires = "normals")]
    pub class: Option<String>,
}

/// Where anomaly maps go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Anomaly maps")]
pub struct MapArgs {
    /// Write each image with its anomaly map over it as PNG into this folder.
    #[arg(long, value_name = "DIR")]
    pub maps: Option<PathBuf>,
    /// Put the plain image beside the overlay.
    #[arg(long, requires = "maps")]
    pub side_by_side: bool,
    /// Value of the map at the bright end of the colours, 0 to 1; the same in every overlay, so that overlays can be
    /// compared. Normal patches lie around 0.1, plain defects at 0.2 to 0.35.
    #[arg(long, value_name = "VALUE", default_value = "0.3", value_parser = positive_share, requires = "maps")]
    pub map_max: f32,
}

fn share(typed: &str) -> Result<f32, String> {
    match typed.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from 0 to 1".to_owned()),
    }
}

fn positive_share(typed: &str) -> Result<f32, String> {
    match share(typed)? {
        value if 0.0 < value => Ok(value),
        _ => Err("it must be above 0".to_owned()),
    }
}
