//! The layout of a data set that nobody named, by its folders.

use std::path::Path;

use super::files::{folders_in, is_normal_name, name_of};
use super::{DataError, Format, folders, visa};

/// Which layout the folder at `root` has. Where nothing says otherwise its folders are classes.
pub fn detect(root: &Path) -> Result<Format, DataError> {
    if !root.is_dir() {
        return Err(DataError::MissingFolder { path: root.to_owned() });
    }
    if root.join(visa::DEFAULT_LIST).is_file() {
        return Ok(Format::Visa);
    }
    if has_labels(root)? {
        return Ok(Format::Folders);
    }
    for category in folders_in(root)? {
        if has_labels(&category)? {
            return Ok(Format::Folders);
        }
        for split in ["train", "test"].map(|split| category.join(split)) {
            if split.is_dir() && folders_in(&split)?.iter().any(|kind| is_normal_name(&name_of(kind))) {
                return Ok(Format::Mvtec);
            }
        }
    }
    Ok(Format::Classes)
}

/// Whether a folder, or its splits, say by name which images are anomalous.
fn has_labels(folder: &Path) -> Result<bool, DataError> {
    for place in [folder.to_owned(), folder.join("train"), folder.join("test")] {
        if place.is_dir()
            && folders_in(&place)?.iter().any(|below| folders::is_anomalous_name(&name_of(below)))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_tell_the_layout() {
        for (files, expected) in [
            (["bolt/train/good/0.png", "bolt/test/scratch/0.png"], Format::Mvtec),
            (["normal/0.png", "anomalous/0.png"], Format::Folders),
            (["bolt/normal/0.png", "bolt/Defect/0.png"], Format::Folders),
            (["bolt/train/normal/0.png", "bolt/test/ng/0.png"], Format::Folders),
            (["split_csv/1cls.csv", "candle/Data/0.jpg"], Format::Visa),
            (["train/cat/0.png", "test/dog/0.png"], Format::Classes),
        ] {
            let root = tempfile::tempdir().unwrap();
            for file in files {
                let path = root.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
            }
            assert_eq!(detect(root.path()).unwrap(), expected, "{files:?}");
        }
    }
}
