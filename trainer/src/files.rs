//! Files that are there whole or not at all.

use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Whether a finished file must survive the loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Flushed to the disk before it gets its name: results.
    Durable,
    /// Left to the system: caches, which are checked when read.
    Relaxed,
}

/// Writes `bytes` under a temporary name beside `path`, then renames. On an error nothing is left behind and an
/// earlier file of that name stays as it was. Folders on the way are made.
pub fn write_whole(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut temporary = NamedTempFile::new_in(folder)?;
    fill(temporary.as_file_mut(), bytes)?;
    if durability == Durability::Durable {
        temporary.as_file().sync_all()?;
    }
    temporary.persist(path).map_err(|error| error.error)?;
    if durability == Durability::Durable {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
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
