//! How long a query takes from pixels to score on this machine: for the two sides of a gate to be compared by, not for a
//! promise about servers.

use std::path::Path;

use inctrl_model::{Backbone, Head, Pixels, Precision, PromptFeatures, Residuals};
use tokio::time::Instant;

use super::JobError;
use super::inputs::Inputs;
use super::stop::Stop;
use crate::config::TrainConfig;
use crate::data::{self, DatasetSpec};
use crate::eval::load_image;

/// Queries that are timed, after those that warm up.
const TIMED: usize = 100;
const WARM_UP: usize = 5;

/// Different images among them: content decides nothing.
const IMAGES: usize = 5;

/// The time that 99 of 100 queries do not take longer than, in milliseconds.
pub(super) fn p99_millis(
    config: &TrainConfig,
    inputs: &Inputs,
    head: &Path,
    stop: &Stop,
) -> Result<f64, JobError> {
    let folder = &inputs.backbone;
    let unusable = |source| JobError::Backbone { folder: folder.clone(), source };
    let device = crate::device::open(config.device)?;
    let backbone = Backbone::open(folder, device, Precision::Fp32).map_err(unusable)?;
    let head = Head::load(head, device)?;
    let pixels = first_images(&backbone, &inputs.gate.spec)?;
    let prompts = PromptFeatures::encode(&backbone, &pixels.iter().collect::<Vec<_>>(), "");
    let prompts = prompts.map_err(unusable)?;
    let mut times = Vec::with_capacity(TIMED);
    for (number, query) in pixels.iter().cycle().take(WARM_UP + TIMED).enumerate() {
        if stop.is_asked() {
            return Err(JobError::Stopped);
        }
        let began = Instant::now();
        let features = backbone.stack(&[query]).and_then(|stacked| backbone.encode_images(&stacked));
        let residuals = tch::no_grad(|| Ok(Residuals::new(&features?, &prompts))).map_err(unusable)?;
        head.score(&residuals, &prompts)?;
        if WARM_UP <= number {
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[(TIMED * 99).div_ceil(100) - 1])
}

fn first_images(backbone: &Backbone, data: &DatasetSpec) -> Result<Vec<Pixels>, JobError> {
    let dataset = data::open(data)?;
    let paths = dataset.samples.iter().map(|sample| &sample.path).take(IMAGES);
    paths.map(|path| Ok(load_image(path, &backbone.info().preprocess)?)).collect()
}
