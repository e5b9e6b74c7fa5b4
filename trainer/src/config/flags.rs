//! What can be typed after `train`: flags override the file's keys of the same names.

use std::path::PathBuf;

use clap::Args;
use inctrl_model::HeadKind;
use inctrl_model::device::DeviceChoice;
use inctrl_storage::SettingsError;

use super::{Recipe, Settings};

/// Train a head on an auxiliary data set.
///
/// Features of the frozen backbone are extracted once into the cache; the head is then trained from it. A run that was
/// interrupted goes on from its last epoch when it is started again with the same settings.
#[derive(Debug, Clone, Args)]
pub struct Flags {
    /// Configuration file; flags override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the frozen backbone.
    #[arg(long, value_name = "DIR")]
    pub backbone: Option<PathBuf>,
    /// Folder for head.safetensors, loss-curve.json and manifest.json.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Folder of cached features.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Which head: contextual or paper.
    #[arg(long, value_name = "KIND", value_parser = head_kind)]
    pub head: Option<HeadKind>,
    /// Whose recipe: corrected, or official as the authors published it.
    #[arg(long, value_enum)]
    pub recipe: Option<Recipe>,
    /// Seed of every random draw.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Epochs.
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,
    /// Where the backbone computes: auto, cpu or cuda:N [default: auto].
    #[arg(long)]
    pub device: Option<DeviceChoice>,
    /// Threads of one tensor operation; 0 means one a core.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Drop what an interrupted run left in the output folder and begin anew.
    #[arg(long)]
    pub restart: bool,
    /// Log directives, such as `info,inctrl_trainer=debug`.
    #[arg(long, env = "INCTRL_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

impl Flags {
    /// The file's settings with these flags over them.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        let mut settings = self.config.as_deref().map_or_else(|| Ok(Settings::default()), Settings::read)?;
        let Self {
            config: _,
            backbone,
            out,
            cache,
            head,
            recipe,
            seed,
            epochs,
            device,
            threads,
            restart: _,
            log,
        } = self.clone();
        settings.backbone = backbone.or(settings.backbone);
        settings.out = out.or(settings.out);
        settings.cache = cache.unwrap_or(settings.cache);
        settings.head = head.unwrap_or(settings.head);
        settings.recipe = recipe.unwrap_or(settings.recipe);
        settings.seed = seed.unwrap_or(settings.seed);
        settings.training.epochs = epochs.or(settings.training.epochs);
        settings.device = device.unwrap_or(settings.device);
        settings.threads = threads.unwrap_or(settings.threads);
        settings.log.filter = log.unwrap_or(settings.log.filter);
        Ok(settings)
    }
}

/// The words of the head's own metadata.
fn head_kind(word: &str) -> Result<HeadKind, String> {
    [HeadKind::Paper, HeadKind::Contextual]
        .into_iter()
        .find(|kind| kind.to_string() == word)
        .ok_or_else(|| format!("{word:?} is no kind of head; write contextual or paper"))
}
