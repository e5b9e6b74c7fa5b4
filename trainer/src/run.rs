//! A training run, from the settings to the head; read it from the top.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use inctrl_model::{Backbone, HeadKind, HeadMetadata, Precision};
use inctrl_storage::Manifest;
use tch::Tensor;

use crate::artifact::Artifact;
use crate::config::{Flags, TrainConfig};
use crate::features::{FeatureCache, FeatureError, FeatureSet, View};
use crate::progress::Progress;
use crate::train::batch::Batches;
use crate::train::checkpoint::{self, CHECKPOINT_NAME};
use crate::train::{AuxiliaryData, EpochRecord, Fit, Identity, TrainError, ValidationRecord, fresh};

/// How a run ended.
#[derive(Debug)]
pub enum Ending {
    /// With a head, which this manifest describes.
    Trained(Manifest),
    /// With the head that was there: an earlier run with the same settings, backbone and data.
    AlreadyThere(Manifest),
    /// It was told to stop; the checkpoint holds what was done.
    Stopped,
}

/// Where a run is when it asks whether to go on.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
    /// Between two steps.
    Step,
    /// After an epoch; its checkpoint is written.
    Epoch(&'a EpochRecord),
}

/// Trains a head as `flags` and the file they name ask for.
pub fn train(flags: &Flags) -> Result<(), TrainError> {
    let config = TrainConfig::new(flags.settings()?)?;
    inctrl_telemetry::log::init(&config.log)?;
    if config.threads > 0 {
        tch::set_num_threads(i32::try_from(config.threads).unwrap_or(i32::MAX));
    }
    match run(&config, flags.restart, &mut |_| ControlFlow::Continue(()))? {
        Ending::Trained(manifest) => {
            tracing::info!(out = ?config.out, revision = %manifest.revision, "head trained");
        }
        Ending::AlreadyThere(manifest) => {
            tracing::info!(out = ?config.out, revision = %manifest.revision, "this head was trained before");
        }
        Ending::Stopped => {}
    }
    Ok(())
}

/// The run itself. `restart` drops what an interrupted run left; `watch` sees each [`Moment`], and may stop the run
/// there: the checkpoint holds the epochs before.
pub fn run(
    config: &TrainConfig,
    restart: bool,
    watch: &mut dyn FnMut(Moment<'_>) -> ControlFlow<()>,
) -> Result<Ending, TrainError> {
    // What can be refused at once comes before what takes time.
    let artifact = Artifact::open(&config.out)?;
    let data = AuxiliaryData::open(&config.data, &config.training, config.seed)?;
    let backbone = open_backbone(config)?;
    let identity = Identity::new(config, backbone.info(), &data);
    if let Some(manifest) = artifact.finished(&identity)? {
        return Ok(Ending::AlreadyThere(manifest));
    }

    let metadata = HeadMetadata::new(config.head, backbone.info().clone());
    let checkpoint = artifact.path(CHECKPOINT_NAME);
    let mut state = fresh(&config.training, &metadata, config.seed);
    if !restart {
        state = checkpoint::read(&checkpoint, &identity, state, (config.head, config.training.sigmoids))?;
    }
    if !state.epochs.is_empty() {
        tracing::info!(epochs = state.epochs.len(), ?checkpoint, "going on from the checkpoint");
    }

    let cache = FeatureCache::open(&config.cache, &backbone)?;
    let (features, mirrored) = extract(&cache, &data, config)?;
    let prompts = data.classes().flat_map(|class| class.images.normal.iter().copied());
    let text = if metadata.uses_text { texts(&cache, config, &data)? } else { None };
    let batches = Batches::new(&metadata, &features, prompts, mirrored, text)?;

    let mut fit = Fit::new(&config.training, config.seed, &data, metadata, batches, state)?;
    let left = config.training.epochs - fit.state().epochs.len() as u64;
    let mut progress = Progress::new("training", left as usize * config.training.steps);
    while !fit.is_done() {
        let Some(record) = fit.epoch(&mut progress, &mut || watch(Moment::Step))? else {
            return Ok(Ending::Stopped);
        };
        progress.aside(|| tell(record));
        checkpoint::write(&checkpoint, &identity, fit.state())?;
        if watch(Moment::Epoch(&record)).is_break() {
            return Ok(Ending::Stopped);
        }
    }
    drop(progress);

    let (head, curve) = fit.finish()?;
    let manifest = artifact.write(&identity, &data, &head, &curve)?;
    // Whatever becomes of it: the head is there, and the next run looks for the head first.
    let _ = std::fs::remove_file(&checkpoint);
    Ok(Ending::Trained(manifest))
}

fn open_backbone(config: &TrainConfig) -> Result<Backbone, TrainError> {
    let device = crate::device::open(config.device)?;
    let folder = config.backbone.clone();
    Backbone::open(&folder, device, Precision::Fp32).map_err(|source| TrainError::Backbone { folder, source })
}

/// Whether normal images are seen mirrored, too: the context of a contextual head's prompt sets of one image.
pub(crate) fn needs_mirrored(config: &TrainConfig) -> bool {
    config.head == HeadKind::Contextual && config.training.shots.contains(&1)
}

/// Features of all images; behind them the mirrored views of normal images, where prompt sets of one image need them
/// for their context, and where each stands.
fn extract<'c>(
    cache: &'c FeatureCache<'c>,
    data: &AuxiliaryData,
    config: &TrainConfig,
) -> Result<(FeatureSet<'c>, BTreeMap<usize, usize>), FeatureError> {
    let features = cache.extract(&data.paths, View::Plain)?;
    if !needs_mirrored(config) {
        return Ok((features, BTreeMap::new()));
    }
    let normals: Vec<usize> = data.classes().flat_map(|class| class.images.normal.iter().copied()).collect();
    let paths: Vec<PathBuf> = normals.iter().map(|&image| data.paths[image].clone()).collect();
    let mirrored = normals.into_iter().zip(features.len()..).collect();
    Ok((features.chain(cache.extract(&paths, View::Mirrored)?), mirrored))
}

/// Text features of each class, where the backbone has a text tower.
fn texts(
    cache: &FeatureCache<'_>,
    config: &TrainConfig,
    data: &AuxiliaryData,
) -> Result<Option<Vec<Tensor>>, TrainError> {
    let refused = |source| TrainError::Backbone { folder: config.backbone.clone(), source };
    data.classes().map(|class| cache.text(&class.object).map_err(refused)).collect()
}

fn tell(record: EpochRecord) {
    let EpochRecord { epoch, loss, validation } = record;
    if let Some(ValidationRecord { loss: validation_loss, auroc }) = validation {
        tracing::info!(epoch, loss, validation_loss, validation_auroc = auroc, "epoch done");
    } else {
        tracing::info!(epoch, loss, "epoch done");
    }
}
