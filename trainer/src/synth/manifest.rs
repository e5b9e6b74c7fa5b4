//! What a set says about itself, in `synth.json` at its root.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Options;
use super::axes::Severity;
use super::nuisance::Legal;
use super::plan::Set;

/// Name of the description at the root of a set.
pub const MANIFEST_FILE: &str = "synth.json";

/// Description of a set. Paths are relative to its root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the benchmark.
    pub benchmark: String,
    /// Version of the generator: the same version and options give the same bytes.
    pub version: u32,
    /// Which half it is.
    pub set: Set,
    /// What it was made with.
    pub options: Options,
    /// By category: whether its family is one of training.
    pub categories: BTreeMap<String, bool>,
    /// By kind of defect: whether it is one of training.
    pub defects: BTreeMap<String, bool>,
    /// More about each category.
    pub instances: BTreeMap<String, CategoryRecord>,
    /// All images.
    pub images: Vec<ImageRecord>,
}

/// A category: one instance of a family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CategoryRecord {
    /// Its family.
    pub family: String,
    /// Whether the family is one of training.
    pub seen: bool,
    /// Whether it has parts on a background.
    pub object: bool,
    /// Number among the instances of the family.
    pub instance: usize,
    /// What may differ between its normal images.
    pub legal: Legal,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The file.
    pub path: String,
    /// Its category.
    pub category: String,
    /// What is wrong with it; nothing in a normal one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<DefectRecord>,
}

/// What is wrong with an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DefectRecord {
    /// The operator that drew it.
    pub operator: String,
    /// Whether the operator is one of training.
    pub seen: bool,
    /// Bin of its strength.
    pub severity: Severity,
    /// Strength in 0..=1.
    pub strength: f32,
    /// File of the anomalous pixels.
    pub mask: String,
    /// How many those are.
    pub pixels: usize,
    /// The normal image with the same light, pose, noise and compression, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<String>,
}
