//! One prompt set as one file: a header of JSON that tells all but the images, then their bytes.
//!
//! ```text
//! 8 bytes little-endian length of the header | header | bytes of the images, one after another
//! ```

use std::io::{self, Read, Write};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::request::{ImageInput, PromptImages};

/// Version of the format; read, never guessed.
pub(super) const VERSION: u32 = 1;
/// Longest header that is read: 16 images take some hundred bytes.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// All of a stored prompt set but its images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    version: u32,
    pub(super) object_class: String,
    pub(super) content_digest: String,
    pub(super) create_time: Timestamp,
    images: Vec<ImageHeader>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ImageHeader {
    bytes: u64,
    /// Width and height of decoded pixels; absent for a file's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<(u32, u32)>,
}

/// Why a header could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// It is not what was written.
    #[error(transparent)]
    Damaged(io::Error),
    /// It has a version that this server does not read.
    #[error("it has version {version}, this server reads {VERSION}")]
    OtherVersion { version: u32 },
    /// The system did not let it be read: it may be whole.
    #[error(transparent)]
    Read(io::Error),
}

impl From<io::Error> for HeaderError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged(error),
            _ => Self::Read(error),
        }
    }
}

impl From<HeaderError> for io::Error {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Damaged(error) | HeaderError::Read(error) => error,
            other @ HeaderError::OtherVersion { .. } => damaged(other.to_string()),
        }
    }
}

/// What every version of the format says first.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Header {
    pub(super) fn new(content: &PromptImages, content_digest: String, create_time: Timestamp) -> Self {
        let PromptImages { object_class, images } = content;
        let image = |image: &ImageInput| {
            let raw = match *image {
                ImageInput::Encoded(_) => None,
                ImageInput::Raw { width, height, .. } => Some((width, height)),
            };
            ImageHeader { bytes: image.bytes().len() as u64, raw }
        };
        let images = images.iter().map(image).collect();
        Self { version: VERSION, object_class: object_class.clone(), content_digest, create_time, images }
    }

    pub(super) fn shots(&self) -> usize {
        self.images.len()
    }

    /// Reads a header; the reader stands at the first image then.
    pub(super) fn read(file: &mut impl Read) -> Result<Self, HeaderError> {
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if MAX_HEADER_BYTES < length {
            return Err(damaged(format!("its header claims {length} bytes")).into());
        }
        let mut text = vec![0; length as usize];
        file.read_exact(&mut text)?;
        let malformed = |error: serde_json::Error| damaged(error.to_string());
        // A newer version may have other fields.
        let Version { version } = serde_json::from_slice(&text).map_err(malformed)?;
        if version != VERSION {
            return Err(HeaderError::OtherVersion { version });
        }
        Ok(serde_json::from_slice(&text).map_err(malformed)?)
    }

    /// Reads the images that follow the header; nothing may follow them.
    pub(super) fn read_content(&self, file: &mut impl Read) -> io::Result<PromptImages> {
        let mut images = Vec::with_capacity(self.images.len());
        for &ImageHeader { bytes: length, raw } in &self.images {
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes)?;
            if bytes.len() as u64 != length {
                return Err(damaged("it ends within an image".to_owned()));
            }
            let bytes = Bytes::from(bytes);
            images.push(match raw {
                None => ImageInput::Encoded(bytes),
                Some((width, height)) => ImageInput::Raw { width, height, rgb: bytes },
            });
        }
        if file.read(&mut [0])? != 0 {
            return Err(damaged("something follows its last image".to_owned()));
        }
        Ok(PromptImages { object_class: self.object_class.clone(), images })
    }

    pub(super) fn write(&self, content: &PromptImages, file: &mut impl Write) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        file.write_all(&(text.len() as u64).to_le_bytes())?;
        file.write_all(&text)?;
        content.images.iter().try_for_each(|image| file.write_all(image.bytes()))
    }
}

fn damaged(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (Header, PromptImages, Vec<u8>) {
        let images = vec![
            ImageInput::Encoded(Bytes::from_static(b"some png")),
            ImageInput::Raw { width: 1, height: 2, rgb: Bytes::from_static(b"abcdef") },
        ];
        let content = PromptImages { object_class: "nut".to_owned(), images };
        let header = Header::new(&content, "sha256:aa".to_owned(), Timestamp::UNIX_EPOCH);
        let mut file = Vec::new();
        header.write(&content, &mut file).unwrap();
        (header, content, file)
    }

    #[test]
    fn what_was_written_is_read() {
        let (header, content, file) = written();
        let mut file = file.as_slice();
        let read = Header::read(&mut file).unwrap();
        assert_eq!(read, header);
        let images = read.read_content(&mut file).unwrap();
        assert_eq!((images.object_class, images.images), (content.object_class, content.images));
    }

    #[test]
    fn every_shorter_or_longer_file_is_refused() {
        let (.., mut file) = written();
        let read = |mut file: &[u8]| -> io::Result<PromptImages> {
            let header = Header::read(&mut file)?;
            header.read_content(&mut file)
        };
        for length in 0..file.len() {
            assert!(read(&file[..length]).is_err(), "{length} bytes must be refused");
        }
        file.push(0);
        assert!(read(&file).is_err(), "a surplus byte must be refused");
    }
}
