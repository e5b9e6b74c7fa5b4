//! The artifact's self-test: images of the gate and what the new head says of them.

use inctrl_model::{Backbone, Device, Head, Pixels, Precision, SelfTest};
use inctrl_storage::manifest::HEAD_NAME;

use super::JobError;
use super::inputs::Inputs;
use crate::config::TrainConfig;
use crate::data::{self, Dataset, Sample};
use crate::eval::load_image;

/// Prompt images and queries: 0.7 MB at 240 pixels, within what the operator hands on by itself.
const PROMPTS: usize = 2;
const QUERIES: usize = 2;

/// Scores on other devices and in bfloat16 are within this of float32 on a CPU.
const TOLERANCE: f64 = 0.02;

/// Inputs, what must come of them, and how close.
pub(super) struct Test {
    pub(super) inputs: SelfTest,
    pub(super) expected: Vec<f64>,
    pub(super) tolerance: f64,
}

/// Of the first category of the gate that has normal and anomalous images enough.
pub(super) fn make(config: &TrainConfig, inputs: &Inputs) -> Result<Test, JobError> {
    let folder = inputs.backbone.clone();
    let backbone = Backbone::open(&folder, Device::Cpu, Precision::Fp32)
        .map_err(|source| JobError::Backbone { folder, source })?;
    let head = Head::load(&config.out.join(HEAD_NAME), Device::Cpu)?;
    let dataset = data::open(&inputs.gate.spec)?;
    let preprocess = &backbone.info().preprocess;
    let (category, normals, anomalous) = category(&dataset)?;
    let pixels = |samples: &[&Sample]| -> Result<Vec<Pixels>, JobError> {
        samples.iter().map(|sample| Ok(load_image(&sample.path, preprocess)?)).collect()
    };
    let (prompts, normal) = normals.split_at(PROMPTS);
    let queries: Vec<&Sample> = normal.iter().chain(&anomalous).copied().collect();
    let test = SelfTest::new(category, preprocess, &pixels(prompts)?, &pixels(&queries)?);
    let scores = test.scores(&backbone, &head)?;
    Ok(Test { inputs: test, expected: scores.into_iter().map(f64::from).collect(), tolerance: TOLERANCE })
}

/// Normal images for the prompts and a query of a test, and its anomalous ones.
const NORMALS: usize = PROMPTS + QUERIES / 2;
const ANOMALOUS: usize = QUERIES / 2;

/// Fails unless a test can be made of the data set.
pub(super) fn check(dataset: &Dataset) -> Result<(), JobError> {
    category(dataset).map(|_| ())
}

/// A category with the images of a test.
fn category(dataset: &Dataset) -> Result<(&str, Vec<&Sample>, Vec<&Sample>), JobError> {
    for (name, positions) in dataset.by_category() {
        let samples = positions.iter().map(|&position| &dataset.samples[position]);
        let (anomalous, normal): (Vec<&Sample>, Vec<&Sample>) = samples.partition(|it| it.is_anomalous());
        if NORMALS <= normal.len() && ANOMALOUS <= anomalous.len() {
            let normal = normal.into_iter().take(NORMALS).collect();
            return Ok((name, normal, anomalous.into_iter().take(ANOMALOUS).collect()));
        }
    }
    Err(JobError::NoSelfTest { root: dataset.root.clone(), normals: NORMALS, anomalous: ANOMALOUS })
}
