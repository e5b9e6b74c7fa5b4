//! Files that are there whole or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Whether a finished file must survive the loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Flushed to the disk before it gets its name: results.
    Durable,
    /// Left to the system: caches, which are checked when read.
    Relaxed,
}

/// Makes `folder`, if need be, and fails unless files can be written there.
pub fn prepare_folder(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    NamedTempFile::new_in(folder)?;
    Ok(())
}

/// Writes `bytes` under a temporary name beside `path`, then renames. On an error nothing is left behind and an
/// earlier file of that name stays as it was. Folders on the way are made.
pub fn write_whole(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    StagedFile::write(path, bytes, durability)?.publish()
}

/// A file that is whole and does not have its name yet; dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct StagedFile {
    temporary: NamedTempFile,
    path: PathBuf,
    durability: Durability,
}

impl StagedFile {
    /// Writes `bytes` under a temporary name beside `path`. Folders on the way are made.
    pub fn write(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<Self> {
        if path.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let folder = folder_of(path);
        std::fs::create_dir_all(folder)?;
        let mut temporary = NamedTempFile::new_in(folder)?;
        fill(temporary.as_file_mut(), bytes)?;
        if durability == Durability::Durable {
            temporary.as_file().sync_all()?;
        }
        Ok(Self { temporary, path: path.to_owned(), durability })
    }

    /// Gives the file its name.
    pub fn publish(self) -> io::Result<()> {
        let Self { temporary, path, durability } = self;
        temporary.persist(&path).map_err(|error| error.error)?;
        if durability == Durability::Durable {
            std::fs::File::open(folder_of(&path))?.sync_all()?;
        }
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn fill(file: &mut std::fs::File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_reported_as_such() {
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(fill(&mut full, b"features").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        write_whole(&taken, b"a file cannot replace a folder", Durability::Durable).unwrap_err();
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["taken"]);
    }

    #[test]
    fn missing_folders_are_made_and_an_earlier_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/result.json");
        write_whole(&path, b"first", Durability::Durable).unwrap();
        write_whole(&path, b"second", Durability::Relaxed).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"second");
    }
}
