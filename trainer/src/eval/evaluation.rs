//! What an evaluation found, as `evaluation.json` holds it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use inctrl_model::BackboneInfo;
use serde::{Deserialize, Serialize};

use super::methods::Method;
use super::seen::Seen;
use super::statistics::Stat;
use crate::data::Format;

/// Changes whenever a reader of the file has to change.
pub const FORMAT_VERSION: u32 = 1;

/// Limit of the false-positive rate of AUPRO, by custom.
pub const AUPRO_LIMIT: f64 = 0.3;

/// An evaluation's findings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Version of this layout.
    pub format_version: u32,
    /// Version of the program that wrote it.
    pub program_version: String,
    /// The backbone, with its provenance.
    pub backbone: BackboneInfo,
    /// Sizes of prompt sets.
    pub shots: Vec<usize>,
    /// The size that verdict, tables and maps are of.
    pub headline_shots: usize,
    /// Prompt sets drawn for each category.
    pub draws: usize,
    /// Seed of all draws.
    pub seed: u64,
    /// Most normal and most anomalous queries of a category; 0 where all were taken.
    pub queries: usize,
    /// Side in pixels at which maps were compared with masks.
    pub map_side: usize,
    /// What was compared.
    pub methods: Vec<Method>,
    /// What was found, by data set.
    pub data_sets: Vec<DataSetResult>,
    /// Which head is best; none without heads, or where training has seen something of every row.
    pub verdict: Option<Verdict>,
}

/// What was found on one data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataSetResult {
    /// Name.
    pub name: String,
    /// Root, as it was given.
    pub path: PathBuf,
    /// Layout.
    pub format: Format,
    /// Digest of its content.
    pub fingerprint: String,
    /// Images in it.
    pub images: usize,
    /// Normal images that gave no prompts because the same picture was among the queries.
    pub leaked: usize,
    /// Protocols, or cells of the seen / unseen table.
    pub rows: Vec<RowResult>,
    /// What was prompted with and what was asked, so that anyone can ask a server the same.
    pub tasks: Vec<TaskRecord>,
}

/// One notion of normal. Paths are relative to the data set's root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Name, and that of the object in text prompts.
    pub name: String,
    /// Images of the largest prompt set of each draw; smaller sets are its beginnings.
    pub prompts: Vec<Vec<String>>,
    /// What was scored.
    pub queries: Vec<QueryRecord>,
}

/// One image that was scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryRecord {
    /// The image.
    pub image: String,
    /// Label, as seen from the task's normal images.
    pub anomalous: bool,
    /// By method (its first head): the score at the headline shots of the first draw. Empty for an image that is among
    /// the prompts there.
    pub scores: BTreeMap<String, f32>,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowResult {
    /// Name.
    pub name: String,
    /// Which cell of the seen / unseen table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<Seen>,
    /// Means over categories, by method and shots; deviation over draws and heads.
    pub summary: Vec<Summary>,
    /// Every measurement.
    pub categories: Vec<CategoryResult>,
}

/// A method's numbers at one size of prompt sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the method.
    pub method: String,
    /// Size of the prompt sets.
    pub shots: usize,
    /// Image AUROC.
    pub auroc: Stat,
    /// Image average precision (step rule).
    pub average_precision: Stat,
    /// Best image F1 of a threshold chosen on the very scores: optimistic.
    pub f1_max: Stat,
    /// Of the anomaly map, at the headline shots, where all anomalous images have masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<MapSummary>,
}

/// How well a map finds the anomalous pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MapSummary {
    /// AUROC over the pixels of a category's images.
    pub pixel_auroc: Stat,
    /// Area under the per-region-overlap curve up to a false-positive rate of 0.3.
    pub aupro: Stat,
}

/// Measurements of one category.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CategoryResult {
    /// Name.
    pub name: String,
    /// Normal queries.
    pub normal: usize,
    /// Anomalous queries.
    pub anomalous: usize,
    /// Image level.
    pub images: Vec<ImageMeasurement>,
    /// Maps; empty where masks are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<MapMeasurement>,
}

/// Image-level metrics of one prompt set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageMeasurement {
    /// Name of the method.
    pub method: String,
    /// Which of the method's heads, counted from 0; 0 for a baseline.
    pub head: usize,
    /// Size of the prompt set.
    pub shots: usize,
    /// Number of the draw.
    pub draw: usize,
    /// Image AUROC.
    pub auroc: f64,
    /// Image average precision.
    pub average_precision: f64,
    /// Best image F1.
    pub f1_max: f64,
}

/// Whose map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MapOf {
    /// The backbone's: of every head, and of the untrained largest residual.
    Backbone,
    /// The random backbone's.
    RandomBackbone,
}

/// Pixel-level metrics of one prompt set of the headline size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapMeasurement {
    /// Whose map.
    pub map: MapOf,
    /// Number of the draw.
    pub draw: usize,
    /// Pixel AUROC.
    pub pixel_auroc: f64,
    /// AUPRO at 0.3.
    pub aupro: f64,
}

/// Which head is best: the largest mean image AUROC at the headline shots over the rows that count (of a seen /
/// unseen table the cell in which nothing was seen).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Name of the best head.
    pub head: String,
    /// Its mean over the rows that count.
    pub auroc: f64,
    /// Row by row.
    pub rows: Vec<VerdictRow>,
}

/// The best head beside the best baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictRow {
    /// Data set.
    pub data_set: String,
    /// Row.
    pub row: String,
    /// Mean image AUROC of the best head.
    pub auroc: f64,
    /// The best baseline and its mean image AUROC, where there is a baseline.
    pub baseline: Option<(String, f64)>,
}

impl VerdictRow {
    /// Whether the head is above every baseline.
    pub fn is_above(&self) -> bool {
        self.baseline.as_ref().is_none_or(|(_, auroc)| *auroc < self.auroc)
    }
}

impl RowResult {
    /// Numbers of a method at one size of prompt sets.
    pub fn of(&self, method: &str, shots: usize) -> Option<&Summary> {
        self.summary.iter().find(|summary| summary.method == method && summary.shots == shots)
    }

    /// Whether the row counts for the verdict: nothing in it was seen by training, as far as is known.
    pub fn counts(&self) -> bool {
        self.cell.is_none_or(Seen::is_unseen)
    }
}

impl Verdict {
    /// Of what was found; none without heads, or where no row counts.
    pub fn of(methods: &[Method], data_sets: &[DataSetResult], shots: usize) -> Option<Self> {
        let rows: Vec<(&DataSetResult, &RowResult)> = data_sets
            .iter()
            .flat_map(|data_set| data_set.rows.iter().map(move |row| (data_set, row)))
            .filter(|(_, row)| row.counts())
            .collect();
        if rows.is_empty() {
            return None;
        }
        let auroc = |row: &RowResult, name: &str| row.of(name, shots).map_or(f64::NAN, |of| of.auroc.mean);
        let mean = |name: &str| rows.iter().map(|(_, row)| auroc(row, name)).sum::<f64>() / rows.len() as f64;
        let heads = methods.iter().filter(|method| method.is_head()).map(Method::name);
        let (head, best) =
            heads.map(|name| (name, mean(name))).max_by(|one, other| one.1.total_cmp(&other.1))?;
        let verdict_row = |(data_set, row): &(&DataSetResult, &RowResult)| {
            let baselines = methods.iter().filter(|method| !method.is_head()).map(Method::name);
            let baseline = baselines
                .map(|name| (name.to_owned(), auroc(row, name)))
                .max_by(|one, other| one.1.total_cmp(&other.1));
            let (data_set, name) = (data_set.name.clone(), row.name.clone());
            VerdictRow { data_set, row: name, auroc: auroc(row, head), baseline }
        };
        Some(Self { head: head.to_owned(), auroc: best, rows: rows.iter().map(verdict_row).collect() })
    }
}
