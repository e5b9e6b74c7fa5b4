//! The file around a pickle, of both ages: a zip whose members are stored as they are (PyTorch from 1.6 on), or
//! pickles one after another with the storages behind them. Either way: a pickle, and where each storage lies.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use super::checkpoint::CheckpointError;
use super::pickle::{self, Arena, Id, StorageRef};

mod zip;

/// First bytes of a zip.
const ZIP_MAGIC: [u8; 4] = *b"PK\x03\x04";

/// First pickle of the old format: protocol 2, then the number 0x1950a86a20f9469cfc6c.
const OLD_MAGIC: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";

/// A checkpoint's pickle, read, and its storages.
pub(super) struct Container {
    pub(super) arena: Arena,
    pub(super) root: Id,
    /// Bytes of each storage in the file, by its key.
    pub(super) storages: HashMap<String, Range<u64>>,
}

/// Reads either format.
pub(super) fn read(file: &File) -> Result<Container, CheckpointError> {
    let length = file.metadata().map_err(CheckpointError::Read)?.len();
    let mut reader = BufReader::new(file);
    let mut start = [0; OLD_MAGIC.len()];
    let known = reader.read_exact(&mut start).is_ok();
    if known && start == OLD_MAGIC {
        read_old(reader, length)
    } else if known && start.starts_with(&ZIP_MAGIC) {
        read_zip(reader, length)
    } else {
        Err(CheckpointError::NotACheckpoint)
    }
}

fn read_zip(mut reader: BufReader<&File>, length: u64) -> Result<Container, CheckpointError> {
    let members = zip::members(&mut reader, length)?;
    let prefix = members
        .keys()
        .find_map(|name| name.strip_suffix("/data.pkl"))
        .ok_or_else(|| zip::damaged("it has no data.pkl"))?
        .to_owned();
    let pickle = members[&format!("{prefix}/data.pkl")].clone();
    reader.seek(SeekFrom::Start(pickle.start)).map_err(CheckpointError::Read)?;
    let (arena, root) = pickle::read(&mut reader.take(pickle.end - pickle.start))?;
    let folder = format!("{prefix}/data/");
    let storages = members
        .into_iter()
        .filter_map(|(name, range)| Some((name.strip_prefix(&folder)?.to_owned(), range)))
        .collect();
    Ok(Container { arena, root, storages })
}

/// Magic number (read already), protocol version, sizes of C's types, the state dict, the storages' keys; then each
/// storage as a count of eight bytes and its numbers.
fn read_old(mut reader: BufReader<&File>, length: u64) -> Result<Container, CheckpointError> {
    pickle::read(&mut reader)?;
    pickle::read(&mut reader)?;
    let (arena, root) = pickle::read(&mut reader)?;
    let (keys, list) = pickle::read(&mut reader)?;
    let known: HashMap<&str, &StorageRef> =
        arena.storages().map(|storage| (&*storage.key, storage)).collect();
    let mut at = reader.stream_position().map_err(CheckpointError::Read)?;
    let mut storages = HashMap::new();
    for &key in keys.list(list)? {
        let key = keys.text(key)?;
        let storage = known.get(key).ok_or_else(|| CheckpointError::Storage {
            key: key.to_owned(),
            reason: "no tensor says its number format".to_owned(),
        })?;
        let start = at.saturating_add(size_of::<u64>() as u64);
        let end = (storage.count as u64).checked_mul(storage.dtype.size() as u64);
        at = end.and_then(|bytes| start.checked_add(bytes)).unwrap_or(u64::MAX);
        if at > length {
            let reason = format!("it ends at byte {at} of a file of {length}; fetch the file again");
            return Err(CheckpointError::Storage { key: key.to_owned(), reason });
        }
        storages.insert(key.to_owned(), start..at);
    }
    Ok(Container { arena, root, storages })
}
