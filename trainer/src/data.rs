//! Data sets on disk: which images there are, of which category, normal or anomalous, with which mask.
//!
//! First step of training and evaluation; reads folders and lists, never pixels. Every layout ends as the same list of
//! [`Sample`]s in the same order on every machine: by category, then split, label, defect and path.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use inctrl_storage::Digest;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

mod classes;
mod detect;
mod error;
mod files;
mod folders;
mod list;
mod mvtec;
mod visa;

pub use detect::detect;
pub use error::DataError;

/// What an image shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// A good one.
    Normal,
    /// A bad one.
    Anomalous,
}

/// What an image is for. Training uses both (anomalies are in `Test` in most layouts); evaluation takes its prompt sets
/// from `Train` and its queries from `Test`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Prompt images.
    Train,
    /// Queries. In a data set without a split every image is one.
    Test,
}

/// One image of a data set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sample {
    /// Category: what prompt set and text prompts are of.
    pub category: String,
    /// Split.
    pub split: Split,
    /// Label.
    pub label: Label,
    /// Kind of defect, where the layout says.
    pub defect: Option<String>,
    /// The image file; the data set's root is part of the path.
    pub path: PathBuf,
    /// Pixels of the anomaly (not 0), where there is such a file.
    pub mask: Option<PathBuf>,
}

impl Sample {
    /// Whether the label is [`Label::Anomalous`].
    pub fn is_anomalous(&self) -> bool {
        self.label == Label::Anomalous
    }
}

/// How a data set lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `<category>/train/good`, `<category>/test/{good,<defect>}`, `<category>/ground_truth/<defect>/<stem>_mask.png`.
    Mvtec,
    /// As its owners publish it: `split_csv/1cls.csv` (or another file of `lists`) names images and masks.
    Visa,
    /// The authors' JSON lists: arrays of `{"image_path", "target": 0 or 1, "type": category}`, in `lists`.
    List,
    /// `normal/` and `anomalous/`, at the root or below a folder a category; masks by stem in `masks/`.
    Folders,
    /// A folder a class (optionally below `train/` and `test/`), nothing labelled anomalous: semantic protocols.
    Classes,
}

/// Where a data set is and how to read it; part of a training or evaluation configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// Layout.
    pub format: Format,
    /// Root folder. Relative paths of lists start here.
    pub path: PathBuf,
    /// Name in reports; the root's name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Lists to read: JSON for `list`, CSV for `visa`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<PathBuf>,
    /// Only these categories; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

impl DatasetSpec {
    /// The whole data set at `path`.
    pub fn new(format: Format, path: impl Into<PathBuf>) -> Self {
        Self { format, path: path.into(), name: None, lists: Vec::new(), categories: Vec::new() }
    }
}

/// A data set's images in their fixed order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Name in reports.
    pub name: String,
    /// Root folder.
    pub root: PathBuf,
    /// The images, sorted.
    pub samples: Vec<Sample>,
}

/// Reads the data set that `spec` names.
pub fn open(spec: &DatasetSpec) -> Result<Dataset, DataError> {
    let root = &spec.path;
    if !root.is_dir() {
        return Err(DataError::MissingFolder { path: root.clone() });
    }
    let mut samples = match spec.format {
        Format::Mvtec => mvtec::read(root)?,
        Format::Visa => visa::read(root, &spec.lists)?,
        Format::List => list::read(root, &spec.lists)?,
        Format::Folders => folders::read(root)?,
        Format::Classes => classes::read(root)?,
    };
    if samples.is_empty() {
        return Err(DataError::Empty { path: root.clone(), expected: expected(spec.format) });
    }
    if !spec.categories.is_empty() {
        keep_categories(&mut samples, &spec.categories)?;
    }
    samples.sort();
    let mut seen = BTreeSet::new();
    if let Some(again) = samples.iter().find(|sample| !seen.insert(&sample.path)) {
        return Err(DataError::Twice { path: again.path.clone() });
    }
    let of_root = || root.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
    let name = spec.name.clone().unwrap_or_else(of_root);
    Ok(Dataset { name, root: root.clone(), samples })
}

/// What a layout looks like, for messages.
fn expected(format: Format) -> &'static str {
    match format {
        Format::Mvtec => "<category>/train/good/*.png and <category>/test/<good or defect>/*.png",
        Format::Visa => "rows of object,split,label,image,mask in split_csv/1cls.csv",
        Format::List => "objects with image_path, target and type in the lists",
        Format::Folders => "normal/*.png and anomalous/*.png, at the root or below a folder a category",
        Format::Classes => "<class>/*.png, or train/<class>/*.png and test/<class>/*.png",
    }
}

fn keep_categories(samples: &mut Vec<Sample>, wanted: &[String]) -> Result<(), DataError> {
    let known: BTreeSet<&str> = samples.iter().map(|sample| sample.category.as_str()).collect();
    if let Some(category) = wanted.iter().find(|category| !known.contains(category.as_str())) {
        let known = known.into_iter().map(str::to_owned).collect();
        return Err(DataError::UnknownCategory { category: category.clone(), known });
    }
    samples.retain(|sample| wanted.contains(&sample.category));
    Ok(())
}

impl Dataset {
    /// Positions of each category's samples, categories in order of their names.
    pub fn by_category(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut categories: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (position, sample) in self.samples.iter().enumerate() {
            categories.entry(&sample.category).or_default().push(position);
        }
        categories
    }

    /// Paths of all images, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.samples.iter().map(|sample| sample.path.clone()).collect()
    }

    /// Fails unless some image is anomalous.
    pub fn require_anomalies(&self) -> Result<(), DataError> {
        if self.samples.iter().any(Sample::is_anomalous) {
            return Ok(());
        }
        Err(DataError::NoAnomalies { name: self.name.clone(), root: self.root.clone() })
    }

    /// Fails unless every category has `needed` normal images.
    pub fn require_normals(&self, needed: usize) -> Result<(), DataError> {
        for (category, positions) in self.by_category() {
            let normals =
                positions.iter().filter(|&&position| !self.samples[position].is_anomalous()).count();
            if normals < needed {
                let category = category.to_owned();
                return Err(DataError::TooFewNormals { category, root: self.root.clone(), normals, needed });
            }
        }
        Ok(())
    }

    /// A path as it stands in reports and fingerprints: below the root, with `/`.
    pub fn relative(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        below.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    }

    /// One digest for what is said of the images: path, category, split and label of each.
    pub fn labels(&self) -> Digest {
        let line = |Sample { category, split, label, defect: _, path, mask: _ }: &Sample| {
            let line = serde_json::to_string(&(self.relative(path), category, split, label));
            format!("{}\n", line.expect("words have a JSON form"))
        };
        Digest::of(self.samples.iter().map(line).collect::<String>())
    }

    /// One digest for the content of the data set: that of `sha256sum`'s output over images and masks, sorted by path.
    /// A copy elsewhere has the same.
    pub fn fingerprint(&self) -> Result<Digest, DataError> {
        let files = self.samples.iter().flat_map(|sample| [Some(&sample.path), sample.mask.as_ref()]);
        let files: BTreeMap<String, &PathBuf> =
            files.flatten().map(|path| (self.relative(path), path)).collect();
        let lines: Result<Vec<String>, DataError> = files
            .par_iter()
            .map(|(relative, path)| {
                let digest = Digest::of_file(path)
                    .map_err(|source| DataError::ReadFile { path: PathBuf::clone(path), source })?;
                Ok(format!("{}  {relative}\n", digest.hex()))
            })
            .collect();
        Ok(Digest::of(lines?.concat()))
    }
}
