//! What a start finds in the folder: prompt sets, damaged ones, leftovers, files of others.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::super::file::{Header, HeaderError};
use super::{DAMAGED, EXTENSION, StoreError, UNFINISHED};
use crate::ids::ResourceId;

pub(super) fn id_of(path: &Path) -> Option<ResourceId> {
    let is_ours = path.extension().is_some_and(|extension| extension == EXTENSION);
    let stem = path.file_stem()?.to_str()?;
    if is_ours { ResourceId::parse(stem).ok() } else { None }
}

pub(super) fn is_unfinished(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(UNFINISHED))
}

/// The header of a prompt set; none where it is damaged, and set aside.
pub(super) fn header_or_set_aside(path: &Path) -> Result<Option<Header>, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    match read_header(path) {
        Ok((header, _)) => Ok(Some(header)),
        Err(HeaderError::Damaged(error)) => {
            let aside = set_aside(path).map_err(failed)?;
            tracing::error!(
                path = %path.display(),
                aside = %aside.display(),
                %error,
                "a prompt set is damaged and set aside; it is not served"
            );
            Ok(None)
        }
        Err(HeaderError::OtherVersion { version }) => {
            Err(StoreError::OtherVersion { path: path.to_owned(), version })
        }
        Err(HeaderError::Read(source)) => Err(failed(source)),
    }
}

/// Renames a damaged prompt set to the first name that is free, so that it can be looked at and its id be used again.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut aside = path.with_extension(DAMAGED);
    let mut number = 1;
    while aside.exists() {
        number += 1;
        aside = path.with_extension(format!("{DAMAGED}.{number}"));
    }
    // Nobody else names files here: the folder is locked.
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

pub(super) fn read_header(path: &Path) -> Result<(Header, BufReader<File>), HeaderError> {
    let mut file = BufReader::new(File::open(path)?);
    let header = Header::read(&mut file)?;
    Ok((header, file))
}
