//! Why an image is refused: what is wrong with it, the limit it broke, what to do.

use image::ImageFormat;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why an image was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// No bytes at all.
    #[error("image is empty; send the bytes of a PNG, JPEG, BMP, TIFF, WebP or GIF file")]
    Empty,
    /// Longer than the limit.
    #[error("image has {actual} bytes, the limit is {limit}; send a smaller or more compressed file")]
    TooManyBytes {
        /// Bytes given.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Larger than the limit, by the file's header.
    #[error(
        "image is {width} x {height} pixels, the limit is {limit} in all; scale it down or cut it into tiles"
    )]
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Pixels allowed.
        limit: u64,
    },
    /// One side beyond what any square could show.
    #[error("image is {width} x {height} pixels, the longest side allowed is {limit}; cut it into tiles")]
    TooLong {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Longest side allowed.
        limit: u32,
    },
    /// A width or height of 0.
    #[error("image is {width} x {height} pixels: there is nothing to see")]
    NoPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// No known file signature.
    #[error("bytes are no image that is known here; send a PNG, JPEG, BMP, TIFF, WebP or GIF file")]
    UnknownFormat,
    /// A known signature of a format that is not read.
    #[error("{format} images are not read; convert to PNG, JPEG, BMP, TIFF, WebP or GIF")]
    UnsupportedFormat {
        /// Name of the format.
        format: String,
    },
    /// A colour mode that is not read.
    #[error("{format} image has colours of kind {colour}, which are not read; convert to 8-bit RGB or grey")]
    UnsupportedColour {
        /// Name of the format.
        format: String,
        /// The colours.
        colour: String,
    },
    /// The file ends before its image does.
    #[error("{format} image ends early, after {bytes} bytes; send the complete file")]
    Truncated {
        /// Name of the format.
        format: String,
        /// Bytes given.
        bytes: usize,
    },
    /// The decoder gave up.
    #[error("{format} image cannot be decoded; check that the file opens elsewhere, or save it anew")]
    Undecodable {
        /// Name of the format.
        format: String,
        /// What the decoder said.
        #[source]
        source: Source,
    },
    /// Raw pixels that are not as many as their size says.
    #[error("{width} x {height} RGB pixels need {expected} bytes, there are {actual}")]
    WrongLength {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes that there must be.
        expected: u64,
        /// Bytes that there are.
        actual: usize,
    },
}

impl ImageError {
    pub(super) fn undecodable(format: ImageFormat, source: impl Into<Source>) -> Self {
        Self::Undecodable { format: format!("{format:?}").to_ascii_uppercase(), source: source.into() }
    }
}
