//! TIFF of four inks, kept as CMYK until after the resize; all other TIFF goes the common way.

use std::io::Cursor;

use image::ImageFormat;
use image::metadata::Orientation;
use tiff::decoder::{Decoder, DecodingResult, Limits};

use super::error::ImageError;
use super::raster::{Raster, Samples, turn};

/// Decodes a TIFF whose header was found to hold 8-bit CMYK of `size` (width, height), in at most `memory` bytes.
pub(super) fn decode_cmyk(
    bytes: &[u8],
    size: (u32, u32),
    orientation: Orientation,
    memory: u64,
) -> Result<Raster, ImageError> {
    let undecodable = |source| ImageError::undecodable(ImageFormat::Tiff, source);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::try_from(memory).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(undecodable)?.with_limits(limits);
    let unsupported =
        || ImageError::UnsupportedColour { format: "TIFF".into(), colour: "CMYK in separate planes".into() };
    let DecodingResult::U8(inks) = decoder.read_image().map_err(undecodable)? else {
        return Err(unsupported());
    };
    let (width, height, inks) = turn(size.0, size.1, inks, 4, orientation).ok_or_else(unsupported)?;
    Ok(Raster { width, height, samples: Samples::Cmyk(inks), indexed: false })
}
