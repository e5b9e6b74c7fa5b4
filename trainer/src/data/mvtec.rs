//! MVTec AD and its kin (MPDD, `BTech`, VisA reorganised): category folders with train, test and ground truth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files::{folders_in, images_in, is_normal_name, name_of, stem_of};
use super::{DataError, Label, Sample, Split};

/// What masks have behind the image's stem; some data sets have nothing.
const MASK_SUFFIX: &str = "_mask";

pub(super) fn read(root: &Path) -> Result<Vec<Sample>, DataError> {
    let mut samples = Vec::new();
    for category in folders_in(root)? {
        samples.extend(read_category(&category)?);
    }
    Ok(samples)
}

fn read_category(folder: &Path) -> Result<Vec<Sample>, DataError> {
    let mut samples = Vec::new();
    for (name, split) in [("train", Split::Train), ("test", Split::Test)] {
        let folder_of_split = folder.join(name);
        if !folder_of_split.is_dir() {
            continue;
        }
        for kind in folders_in(&folder_of_split)? {
            samples.extend(read_kind(folder, &kind, split)?);
        }
    }
    Ok(samples)
}

/// The images of one folder: the good ones or those with one kind of defect.
fn read_kind(category: &Path, folder: &Path, split: Split) -> Result<Vec<Sample>, DataError> {
    let kind = name_of(folder);
    let normal = is_normal_name(&kind);
    let images = images_in(folder)?;
    let mut masks = if normal {
        BTreeMap::new()
    } else {
        masks(&category.join("ground_truth").join(&kind), folder, &images)?
    };
    let sample = |path: PathBuf| Sample {
        category: name_of(category),
        split,
        label: if normal { Label::Normal } else { Label::Anomalous },
        defect: (!normal).then(|| kind.clone()),
        mask: masks.remove(&stem_of(&path)),
        path,
    };
    Ok(images.into_iter().map(sample).collect())
}

/// Masks by the stem of their images.
fn masks(
    folder: &Path,
    images_of: &Path,
    images: &[PathBuf],
) -> Result<BTreeMap<String, PathBuf>, DataError> {
    if !folder.is_dir() {
        return Ok(BTreeMap::new());
    }
    let stems: std::collections::BTreeSet<String> = images.iter().map(|image| stem_of(image)).collect();
    let owner = |mask: &Path| {
        let stem = stem_of(mask);
        let cut = stem.strip_suffix(MASK_SUFFIX).map(str::to_owned);
        cut.into_iter().chain([stem]).find(|stem| stems.contains(stem))
    };
    images_in(folder)?
        .into_iter()
        .map(|mask| {
            if let Some(stem) = owner(&mask) {
                return Ok((stem, mask));
            }
            let stem = stem_of(&mask);
            let image = images_of.join(stem.strip_suffix(MASK_SUFFIX).unwrap_or(&stem));
            Err(DataError::MaskWithoutImage { mask, image })
        })
        .collect()
}
