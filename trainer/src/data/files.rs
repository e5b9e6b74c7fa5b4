//! Listing folders: sorted, without hidden files, images by extension.

use std::path::{Path, PathBuf};

use super::DataError;

/// Extensions of the formats that pre-processing decodes, in lower case.
const IMAGE_EXTENSIONS: [&str; 9] = ["png", "jpg", "jpeg", "jfif", "bmp", "tif", "tiff", "webp", "gif"];

/// Names of folders that hold normal images, in lower case.
const NORMAL_NAMES: [&str; 3] = ["good", "normal", "ok"];

/// Whether a folder's name says that it holds normal images.
pub(super) fn is_normal_name(name: &str) -> bool {
    NORMAL_NAMES.contains(&name.to_ascii_lowercase().as_str())
}

/// Folders in `folder`, sorted by name.
pub(super) fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// Images in `folder`, sorted by name; extensions in any case.
pub(super) fn images_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(entries(folder)?.into_iter().filter(|path| is_image(path) && path.is_file()).collect())
}

/// Last part of a path.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Last part of a path without its extension.
pub(super) fn stem_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    IMAGE_EXTENSIONS.contains(&extension.as_str())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::ReadFolder { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !name_of(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
