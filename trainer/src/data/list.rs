//! The authors' JSON lists: arrays of image path, target and type; several lists make one data set.
//!
//! A list whose file name has the word `val` (`belt_val_normal.json`, not `valve.json`) gives queries, any other gives
//! prompt images and training data, as in the authors' scripts. A list may name an image again as long as it says the same of it: their training lists repeat the
//! normal images of their validation lists, and an image of both is a query.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::stem_of;
use super::{DataError, Label, Sample, Split};

#[derive(Debug, Deserialize)]
struct Entry {
    image_path: PathBuf,
    target: u8,
    #[serde(rename = "type")]
    category: String,
}

pub(super) fn read(root: &Path, lists: &[PathBuf]) -> Result<Vec<Sample>, DataError> {
    if lists.is_empty() {
        return Err(DataError::NoLists);
    }
    let mut samples: BTreeMap<PathBuf, Sample> = BTreeMap::new();
    for list in lists {
        let path = root.join(list);
        for (position, sample) in read_list(root, &path)?.into_iter().enumerate() {
            let Some(known) = samples.get_mut(&sample.path) else {
                samples.insert(sample.path.clone(), sample);
                continue;
            };
            if (known.label, &known.category) != (sample.label, &sample.category) {
                let reason =
                    format!("{} has another target or type in an earlier entry", sample.path.display());
                return Err(DataError::Entry { path, entry: position + 1, reason });
            }
            known.split = known.split.max(sample.split);
        }
    }
    Ok(samples.into_values().collect())
}

fn read_list(root: &Path, path: &Path) -> Result<Vec<Sample>, DataError> {
    let text = std::fs::read(path).map_err(|source| DataError::ReadFile { path: path.to_owned(), source })?;
    let entries: Vec<Entry> = serde_json::from_slice(&text)
        .map_err(|source| DataError::ParseList { path: path.to_owned(), source })?;
    let queries = stem_of(path).split(|letter: char| !letter.is_alphanumeric()).any(|word| word == "val");
    let sample = |(position, entry): (usize, Entry)| {
        let refused = |reason| DataError::Entry { path: path.to_owned(), entry: position + 1, reason };
        let image = root.join(&entry.image_path);
        if !image.is_file() {
            let (image, root) = (image.display(), root.display());
            return Err(refused(format!("image {image} is missing; relative paths start at {root}")));
        }
        let label = match entry.target {
            0 => Label::Normal,
            1 => Label::Anomalous,
            other => return Err(refused(format!("target must be 0 (normal) or 1 (anomalous), not {other}"))),
        };
        let split = if queries { Split::Test } else { Split::Train };
        Ok(Sample { category: entry.category, split, label, defect: None, path: image, mask: None })
    };
    entries.into_iter().enumerate().map(sample).collect()
}
