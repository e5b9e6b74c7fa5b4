//! What a prompt set is made of, and its digest: equal content has equal features, whatever it is called.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::request::{ImageInput, PromptImages};

/// `sha256:` and the digest of the object class and the images' bytes, in their order.
pub(crate) fn digest(content: &PromptImages) -> String {
    let PromptImages { object_class, images } = content;
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // The length keeps neighbours apart.
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(object_class.as_bytes());
    for image in images {
        match image {
            ImageInput::Encoded(bytes) => part(bytes),
            ImageInput::Raw { width, height, rgb } => {
                part(format!("rgb {width} {height}").as_bytes());
                part(rgb);
            }
        }
    }
    let mut text = String::from("sha256:");
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn content(object_class: &str, images: &[&'static [u8]]) -> PromptImages {
        let images = images.iter().map(|&bytes| ImageInput::Encoded(Bytes::from_static(bytes))).collect();
        PromptImages { object_class: object_class.to_owned(), images }
    }

    #[test]
    fn the_digest_depends_on_class_images_order_and_boundaries() {
        let digests = [
            content("nut", &[b"ab", b"c"]),
            content("nut", &[b"a", b"bc"]),
            content("nut", &[b"c", b"ab"]),
            content("nut", &[b"abc"]),
            content("bolt", &[b"ab", b"c"]),
        ]
        .map(|content| digest(&content));
        let distinct: std::collections::BTreeSet<&String> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len(), "{digests:?}");
        assert_eq!(digests[0], digest(&content("nut", &[b"ab", b"c"])));
        assert_eq!(digests[0].len(), "sha256:".len() + 64);
    }
}
