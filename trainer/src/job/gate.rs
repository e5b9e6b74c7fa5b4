//! The new head beside the active one, on the gate's data set: the same prompt sets, the same queries.

use std::ops::ControlFlow;
use std::path::Path;

use inctrl_storage::manifest::{ActiveReport, DatasetRecord, GateReport, HEAD_NAME, Metric};

use super::JobError;
use super::inputs::Inputs;
use super::latency;
use super::self_test;
use super::spec::{Hyperparameters, JobSpec};
use super::stop::Stop;
use crate::config::TrainConfig;
use crate::data;
use crate::eval::evaluation::RowResult;
use crate::eval::seen::Seen;
use crate::eval::{self, Benchmark, EvalConfig, EvalError, Limits, NamedFiles};

/// Prompt sets drawn for each category; figures are means over them.
const DRAWS: usize = 3;

/// Names of the two sides in the report.
const CANDIDATE: &str = "candidate";
const ACTIVE: &str = "active";

/// What was found, and the page that shows it.
pub(super) struct Evaluated {
    /// For the manifest.
    pub(super) report: GateReport,
    /// For people.
    pub(super) html: String,
}

/// Refuses a data set that no head can be judged on, before one is trained.
pub(super) fn check(spec: &JobSpec, inputs: &Inputs) -> Result<(), JobError> {
    let Hyperparameters { shots, seed, .. } = spec.hyperparameters;
    let data = &inputs.gate.spec;
    let benchmark = Benchmark::new(data::open(data)?, data.format, Limits { shots, queries: 0, seed })?;
    if !benchmark.rows.iter().any(|row| row.cell.is_none_or(Seen::is_unseen)) {
        return Err(JobError::NothingUnseen { root: benchmark.dataset.root });
    }
    self_test::check(&benchmark.dataset)
}

/// Evaluates the head that the run left in `config.out`.
pub(super) fn evaluate(
    spec: &JobSpec,
    config: &TrainConfig,
    inputs: &Inputs,
    stop: &Stop,
) -> Result<Evaluated, JobError> {
    let candidate = config.out.join(HEAD_NAME);
    let named = |name: &str, file: &Path| NamedFiles { name: name.to_owned(), files: vec![file.to_owned()] };
    let mut heads = vec![named(CANDIDATE, &candidate)];
    heads.extend(inputs.active.iter().map(|(_, file)| named(ACTIVE, file)));
    let evaluation = EvalConfig {
        backbone: inputs.backbone.clone(),
        heads,
        data: vec![inputs.gate.spec.clone()],
        shots: vec![spec.hyperparameters.shots],
        draws: DRAWS,
        seed: spec.hyperparameters.seed,
        baselines: Vec::new(),
        device: config.device,
        cache: config.cache.clone(),
        ..EvalConfig::default()
    };
    let go_on = || if stop.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let outcome = match eval::evaluate_while(&evaluation.checked()?, &go_on) {
        Err(EvalError::Stopped) => return Err(JobError::Stopped),
        evaluated => evaluated?,
    };
    let found = outcome.evaluation.data_sets.first().ok_or(JobError::NothingEvaluated)?;
    let judged = found.rows.iter().find(|row| row.counts()).ok_or(JobError::NothingEvaluated)?;
    let samples = samples(judged);
    if samples < spec.gate.min_samples {
        tracing::warn!(samples, wanted = spec.gate.min_samples, "the gate's data set has few images");
    }
    let metrics = |name: &str, file| -> Result<Vec<Metric>, JobError> {
        let mut metrics = means(judged, name, spec.hyperparameters.shots)?;
        let value = latency::p99_millis(config, inputs, file, stop)?;
        metrics.push(Metric { name: "latencyP99Millis".to_owned(), split: None, value });
        metrics.extend(by_category(judged, name));
        Ok(metrics)
    };
    let active = match &inputs.active {
        Some((revision, file)) => Some(ActiveReport { revision: *revision, metrics: metrics(ACTIVE, file)? }),
        None => None,
    };
    let dataset = DatasetRecord {
        uri: spec.gate.dataset.uri.clone(),
        fingerprint: inputs.gate.fingerprint.clone(),
        labels: None,
    };
    let report = GateReport { dataset, samples, candidate: metrics(CANDIDATE, &candidate)?, active };
    let html = crate::report::render(&outcome, &outcome.evaluation.backbone.preprocess)?;
    Ok(Evaluated { report, html })
}

/// Queries that the means are of.
fn samples(judged: &RowResult) -> u64 {
    judged.categories.iter().map(|category| (category.normal + category.anomalous) as u64).sum()
}

/// Means over categories and draws.
fn means(judged: &RowResult, method: &str, shots: usize) -> Result<Vec<Metric>, JobError> {
    let summary = judged.of(method, shots).ok_or(JobError::NothingEvaluated)?;
    let figures = [
        ("imageAUROC", summary.auroc.mean),
        ("imageAUPRC", summary.average_precision.mean),
        ("f1Max", summary.f1_max.mean),
    ];
    Ok(figures.map(|(name, value)| Metric { name: name.to_owned(), split: None, value }).into())
}

/// The image AUROC of each category.
fn by_category<'a>(judged: &'a RowResult, method: &'a str) -> impl Iterator<Item = Metric> + use<'a> {
    judged.categories.iter().filter_map(move |category| {
        let of_method = category.images.iter().filter(|image| image.method == method);
        let aurocs: Vec<f64> = of_method.map(|image| image.auroc).collect();
        let value = aurocs.iter().sum::<f64>() / aurocs.len() as f64;
        let metric = Metric { name: "imageAUROC".to_owned(), split: Some(category.name.clone()), value };
        (!aurocs.is_empty()).then_some(metric)
    })
}
