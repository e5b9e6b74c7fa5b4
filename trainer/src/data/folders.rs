//! Plain folders: `normal/` and `anomalous/` beside one another, masks by stem in `masks/`.
//!
//! ```text
//! root/normal/*.png      root/anomalous/*.png                 one category, named like the root
//! root/bolts/normal/…    root/bolts/anomalous/…               a category a folder
//! root/bolts/train/normal/…   root/bolts/test/anomalous/…     with a split
//! ```
//!
//! Without a split every image is a query, and prompt images are taken out of the queries when they are drawn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files::{folders_in, images_in, is_normal_name, name_of, stem_of};
use super::{DataError, Label, Sample, Split};

/// Names of folders that hold anomalous images, in lower case.
const ANOMALOUS_NAMES: [&str; 7] = ["anomalous", "anomaly", "abnormal", "bad", "defect", "ko", "ng"];

pub(super) fn read(root: &Path) -> Result<Vec<Sample>, DataError> {
    let at_root = read_category(root)?;
    if !at_root.is_empty() {
        return Ok(at_root);
    }
    let mut samples = Vec::new();
    for category in folders_in(root)? {
        samples.extend(read_category(&category)?);
    }
    Ok(samples)
}

/// Images of a category; none where the folder is not one.
fn read_category(folder: &Path) -> Result<Vec<Sample>, DataError> {
    let category = name_of(folder);
    let mut samples = read_labels(folder, &category, Split::Test)?;
    for (name, split) in [("train", Split::Train), ("test", Split::Test)] {
        let below = folder.join(name);
        if below.is_dir() {
            samples.extend(read_labels(&below, &category, split)?);
        }
    }
    Ok(samples)
}

fn read_labels(folder: &Path, category: &str, split: Split) -> Result<Vec<Sample>, DataError> {
    let mut samples = Vec::new();
    for labelled in folders_in(folder)? {
        let Some(label) = label_of(&name_of(&labelled)) else { continue };
        let images = images_in(&labelled)?;
        let mut masks = match label {
            Label::Anomalous => masks(&folder.join("masks"), &labelled, &images)?,
            Label::Normal => BTreeMap::new(),
        };
        let category = category.to_owned();
        samples.extend(images.into_iter().map(|path| Sample {
            category: category.clone(),
            split,
            label,
            defect: None,
            mask: masks.remove(&stem_of(&path)),
            path,
        }));
    }
    Ok(samples)
}

fn label_of(name: &str) -> Option<Label> {
    if is_normal_name(name) {
        return Some(Label::Normal);
    }
    is_anomalous_name(name).then_some(Label::Anomalous)
}

/// Whether a folder's name says that it holds anomalous images.
pub(super) fn is_anomalous_name(name: &str) -> bool {
    ANOMALOUS_NAMES.contains(&name.to_ascii_lowercase().as_str())
}

fn masks(
    folder: &Path,
    images_in: &Path,
    images: &[PathBuf],
) -> Result<BTreeMap<String, PathBuf>, DataError> {
    if !folder.is_dir() {
        return Ok(BTreeMap::new());
    }
    let stems: std::collections::BTreeSet<String> = images.iter().map(|image| stem_of(image)).collect();
    super::files::images_in(folder)?
        .into_iter()
        .map(|mask| {
            let stem = stem_of(&mask);
            if stems.contains(&stem) {
                return Ok((stem, mask));
            }
            Err(DataError::MaskWithoutImage { image: images_in.join(stem), mask })
        })
        .collect()
}
