//! Work that blocks (reading, decoding, drawing, writing) on the runtime's bounded pool of threads.

use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;

use crate::inputs::{EXTENSIONS, looks_like_image};

/// Threads of the pool: enough to hide a network disk's delays, few enough to leave the cores to the work.
pub(crate) const POOL_THREADS: usize = 8;

/// Why a file cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// Its name says that it is something else.
    #[error("extension {extension:?} is none of an image's ({})", EXTENSIONS.join(", "))]
    Extension {
        /// The extension.
        extension: String,
    },
    /// A folder, a pipe, a device.
    #[error("it is no regular file")]
    Irregular,
    /// Larger than the server takes.
    #[error("it has {bytes} bytes, the server takes at most {limit}; shrink it")]
    TooLarge {
        /// Size of the file.
        bytes: u64,
        /// The server's limit.
        limit: u64,
    },
    /// It cannot be read.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// The system's words.
        reason: std::io::Error,
    },
}

/// Blocking work panicked: a bug, or an image that breaks a decoder.
#[derive(Debug, thiserror::Error)]
#[error("drawing or reading it made this program fail; please report it with the file")]
pub(crate) struct Panicked;

/// Runs `work` on the pool. Callers bound how many wait: the window of images in flight.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the crate's pool: the runtime of `crate::run` bounds and names its threads"
)]
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Panicked)
}

/// Bytes of a file that looks like an image and has at most `limit` bytes. Blocks.
pub(crate) fn read_image(path: &Path, limit: u64) -> Result<Bytes, FileError> {
    if let Some(extension) = path.extension()
        && !looks_like_image(path)
    {
        return Err(FileError::Extension { extension: extension.to_string_lossy().into_owned() });
    }
    let unreadable = |reason| FileError::Unreadable { reason };
    // Asked before opening: opening a pipe waits for its other end.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(FileError::Irregular);
    }
    let bytes = metadata.len();
    if limit < bytes {
        return Err(FileError::TooLarge { bytes, limit });
    }
    let mut content = Vec::with_capacity(bytes as usize);
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(limit).read_to_end(&mut content).map_err(unreadable)?;
    Ok(content.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &[u8], limit: u64) -> Result<Bytes, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read_image(&path, limit).map_err(|error| error.to_string())
    }

    #[test]
    fn files_within_the_limit_are_read() {
        assert_eq!(read("a.PNG", b"abc", 3).unwrap(), "abc");
        assert_eq!(read("camera-dump", b"abc", 3).unwrap(), "abc");
    }

    #[test]
    fn files_that_no_server_takes_are_not_read() {
        assert!(read("a.png", b"abcd", 3).unwrap_err().contains("4 bytes, the server takes at most 3"));
        assert!(read("a.txt", b"abc", 3).unwrap_err().contains("\"txt\""));
    }

    #[test]
    fn folders_and_missing_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            read_image(folder.path(), 1),
            Err(FileError::Irregular | FileError::Extension { .. })
        ));
        let missing = read_image(&folder.path().join("gone.png"), 1).unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
    }

    #[tokio::test]
    async fn a_panic_on_the_pool_is_an_error() {
        assert!(blocking(|| panic!("on purpose")).await.is_err());
        assert_eq!(blocking(|| 2).await.unwrap(), 2);
    }
}
