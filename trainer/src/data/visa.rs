//! VisA as its owners publish it: a CSV file names every image, its split, label and mask.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{DataError, Label, Sample, Split};

/// The split that the paper's protocol uses.
pub(super) const DEFAULT_LIST: &str = "split_csv/1cls.csv";

#[derive(Debug, Deserialize)]
struct Row {
    object: String,
    split: String,
    label: String,
    image: PathBuf,
    mask: Option<PathBuf>,
}

pub(super) fn read(root: &Path, lists: &[PathBuf]) -> Result<Vec<Sample>, DataError> {
    let default = [PathBuf::from(DEFAULT_LIST)];
    let lists = if lists.is_empty() { &default } else { lists };
    let mut samples = Vec::new();
    for list in lists {
        read_list(root, &root.join(list), &mut samples)?;
    }
    Ok(samples)
}

fn read_list(root: &Path, path: &Path, samples: &mut Vec<Sample>) -> Result<(), DataError> {
    let file =
        std::fs::File::open(path).map_err(|source| DataError::ReadFile { path: path.to_owned(), source })?;
    for (position, row) in csv::Reader::from_reader(file).deserialize::<Row>().enumerate() {
        let refused = |reason| DataError::Entry { path: path.to_owned(), entry: position + 1, reason };
        let row = row.map_err(|error| refused(error.to_string()))?;
        samples.push(sample(root, row).map_err(refused)?);
    }
    Ok(())
}

fn sample(root: &Path, row: Row) -> Result<Sample, String> {
    let Row { object, split, label, image, mask } = row;
    let split = match split.as_str() {
        "train" => Split::Train,
        "test" => Split::Test,
        other => return Err(format!("split must be train or test, not {other:?}")),
    };
    let label = match label.as_str() {
        "normal" => Label::Normal,
        "anomaly" => Label::Anomalous,
        other => return Err(format!("label must be normal or anomaly, not {other:?}")),
    };
    let there = |path: PathBuf| {
        let path = root.join(path);
        if path.is_file() { Ok(path) } else { Err(format!("file {} is missing", path.display())) }
    };
    let mask = mask.filter(|mask| !mask.as_os_str().is_empty()).map(there).transpose()?;
    Ok(Sample { category: object, split, label, defect: None, path: there(image)?, mask })
}
