//! A folder a class: nothing is anomalous by itself, only as seen from the prompt set of another class.

use std::path::Path;

use super::files::{folders_in, images_in, name_of};
use super::{DataError, Label, Sample, Split};

pub(super) fn read(root: &Path) -> Result<Vec<Sample>, DataError> {
    let (train, test) = (root.join("train"), root.join("test"));
    if !train.is_dir() && !test.is_dir() {
        return read_split(root, Split::Test);
    }
    let mut samples = Vec::new();
    for (folder, split) in [(train, Split::Train), (test, Split::Test)] {
        if folder.is_dir() {
            samples.extend(read_split(&folder, split)?);
        }
    }
    Ok(samples)
}

fn read_split(folder: &Path, split: Split) -> Result<Vec<Sample>, DataError> {
    let mut samples = Vec::new();
    for class in folders_in(folder)? {
        let category = name_of(&class);
        samples.extend(images_in(&class)?.into_iter().map(|path| Sample {
            category: category.clone(),
            split,
            label: Label::Normal,
            defect: None,
            path,
            mask: None,
        }));
    }
    Ok(samples)
}
