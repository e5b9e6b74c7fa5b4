//! Normal images on their way to a server: as a stored prompt set's name, or inline with a request.

use std::path::PathBuf;

use bytes::Bytes;
use inctrl_proto::v1::detect_anomaly_request;
use inctrl_proto::v1::{self, Limits};

use crate::args::PromptSource;
use crate::files::{self, FileError, Panicked};
use crate::inputs::{self, InputError};

/// Share of a message that the normal images may fill; the query needs the rest.
const LARGEST_SHARE: f64 = 0.75;

/// Bytes of a message beside its normal images: name, class, lengths.
const MOST_BESIDES: usize = 512;

/// Why normal images cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NormalsError {
    /// What was typed names no images.
    #[error(transparent)]
    Input(#[from] InputError),
    /// More of them than the server takes.
    #[error(
        "{count} normal images were given, the server takes at most {limit}: choose the most typical ones"
    )]
    TooMany {
        /// Images given.
        count: usize,
        /// The server's limit.
        limit: usize,
    },
    /// One cannot be sent.
    #[error("normal image {path:?}: {reason}")]
    File {
        /// The image.
        path: PathBuf,
        /// Why.
        reason: FileError,
    },
    /// Reading failed in an unforeseen way.
    #[error("normal images cannot be read")]
    Read(#[from] Panicked),
    /// Together they are more than a message may have.
    #[error("the normal images have {bytes} bytes, a message may have {limit}: shrink them, or give fewer")]
    TooLargeToStore {
        /// Their bytes.
        bytes: usize,
        /// The server's limit on a message.
        limit: i64,
    },
    /// Together they leave no room for the query.
    #[error(
        "the normal images have {bytes} bytes, a message may have {limit}: store them once with inctrl prompts \
         create, then use --prompts"
    )]
    TooLarge {
        /// Their bytes.
        bytes: usize,
        /// The server's limit on a message.
        limit: i64,
    },
}

/// What goes into the `prompts` of every request. Clones share the images' bytes.
pub(crate) type Prompts = detect_anomaly_request::Prompts;

/// The files of inline normal images; empty where a stored prompt set was named.
pub(crate) fn expand(source: &PromptSource) -> Result<Vec<PathBuf>, NormalsError> {
    Ok(inputs::expand(&source.normals, None)?)
}

/// The stored set's name, or the content of `normals`.
pub(crate) async fn read(
    source: &PromptSource,
    normals: Vec<PathBuf>,
    limits: &Limits,
) -> Result<Prompts, NormalsError> {
    let PromptSource { prompts, normals: _, class } = source;
    if let Some(name) = prompts {
        return Ok(Prompts::PromptSet(resource_name(name)));
    }
    let inline = inline(normals, class.clone().unwrap_or_default(), limits).await?;
    let bytes = bytes_of(&inline);
    if 0 < limits.max_message_bytes && limits.max_message_bytes as f64 * LARGEST_SHARE < bytes as f64 {
        return Err(NormalsError::TooLarge { bytes, limit: limits.max_message_bytes });
    }
    Ok(Prompts::InlinePrompts(inline))
}

/// Reads normal images that are to be stored.
pub(crate) async fn to_store(
    normals: Vec<PathBuf>,
    object_class: String,
    limits: &Limits,
) -> Result<v1::InlinePrompts, NormalsError> {
    let inline = inline(normals, object_class, limits).await?;
    let (bytes, limit) = (bytes_of(&inline), limits.max_message_bytes);
    // Names and lengths are small beside them.
    let most = usize::try_from(limit).unwrap_or_default().saturating_sub(MOST_BESIDES);
    if 0 < limit && most < bytes {
        return Err(NormalsError::TooLargeToStore { bytes, limit });
    }
    Ok(inline)
}

fn bytes_of(inline: &v1::InlinePrompts) -> usize {
    inline.normal_images.iter().map(prost::Message::encoded_len).sum()
}

/// Reads normal images; the first that cannot be used ends it.
async fn inline(
    normals: Vec<PathBuf>,
    object_class: String,
    limits: &Limits,
) -> Result<v1::InlinePrompts, NormalsError> {
    let limit = usize::try_from(limits.max_shots).unwrap_or_default();
    if 0 < limit && limit < normals.len() {
        return Err(NormalsError::TooMany { count: normals.len(), limit });
    }
    let largest = image_limit(limits);
    let read = move || {
        let one = |path: PathBuf| match files::read_image(&path, largest) {
            Ok(bytes) => Ok(encoded(bytes)),
            Err(reason) => Err(NormalsError::File { path, reason }),
        };
        normals.into_iter().map(one).collect::<Result<_, _>>()
    };
    Ok(v1::InlinePrompts { normal_images: files::blocking(read).await??, object_class })
}

/// Bytes of the largest image that the server takes.
pub(crate) fn image_limit(limits: &Limits) -> u64 {
    match u64::try_from(limits.max_image_bytes) {
        Ok(limit) if 0 < limit => limit,
        // A server that states no limit: what a message of 2 GiB could carry.
        _ => 1 << 31,
    }
}

/// An encoded image as a message.
pub(crate) fn encoded(bytes: Bytes) -> v1::Image {
    v1::Image { source: Some(v1::image::Source::Encoded(bytes)) }
}

/// What is before the id in a prompt set's name.
const COLLECTION: &str = "promptSets/";

/// The id of a prompt set, typed with or without the collection.
pub(crate) fn id(typed: &str) -> &str {
    typed.strip_prefix(COLLECTION).unwrap_or(typed)
}

/// `promptSets/ID`, typed with or without the collection.
pub(crate) fn resource_name(typed: &str) -> String {
    format!("{COLLECTION}{}", id(typed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(sizes: &[usize]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let write = |(place, &size): (usize, &usize)| {
            let path = folder.path().join(format!("{place}.png"));
            std::fs::write(&path, vec![7; size]).unwrap();
            path
        };
        let paths = sizes.iter().enumerate().map(write).collect();
        (folder, paths)
    }

    fn inline_source() -> PromptSource {
        PromptSource { prompts: None, normals: Vec::new(), class: Some("nut".to_owned()) }
    }

    #[test]
    fn names_are_taken_with_and_without_their_collection() {
        assert_eq!(resource_name("nut"), "promptSets/nut");
        assert_eq!(resource_name("promptSets/nut"), "promptSets/nut");
        assert_eq!(resource_name("a/b"), "promptSets/a/b", "the server says what is wrong with it");
    }

    #[tokio::test]
    async fn inline_images_must_leave_room_for_the_query() {
        let (_folder, paths) = images(&[400, 400]);
        let limits = Limits { max_message_bytes: 1000, ..Limits::default() };
        let refused = read(&inline_source(), paths.clone(), &limits).await.unwrap_err().to_string();
        assert!(refused.contains("prompts create"), "{refused}");
        let limits = Limits { max_message_bytes: 2000, ..Limits::default() };
        let Prompts::InlinePrompts(inline) = read(&inline_source(), paths, &limits).await.unwrap() else {
            panic!("inline images must travel inline");
        };
        assert_eq!((inline.normal_images.len(), inline.object_class.as_str()), (2, "nut"));
    }

    #[tokio::test]
    async fn images_to_store_that_exceed_a_message_are_refused_before_they_are_sent() {
        let (_folder, paths) = images(&[4000, 4000]);
        let limits = Limits { max_message_bytes: 8000, ..Limits::default() };
        let refused = to_store(paths.clone(), "nut".to_owned(), &limits).await.unwrap_err().to_string();
        assert!(refused.contains("shrink them, or give fewer"), "{refused}");
        assert!(!refused.contains("prompts create"), "that is what was typed: {refused}");
        let limits = Limits { max_message_bytes: 9000, ..Limits::default() };
        assert_eq!(to_store(paths, "nut".to_owned(), &limits).await.unwrap().normal_images.len(), 2);
    }

    #[tokio::test]
    async fn seventeen_shots_are_refused_before_they_are_sent() {
        let (_folder, paths) = images(&[1; 17]);
        let limits = Limits { max_shots: 16, ..Limits::default() };
        let refused = read(&inline_source(), paths, &limits).await.unwrap_err().to_string();
        assert!(refused.contains("17 normal images") && refused.contains("at most 16"), "{refused}");
    }
}
