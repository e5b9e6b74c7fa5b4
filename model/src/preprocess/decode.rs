//! Encoded bytes to a [`Raster`] in the file's own colour mode.
//!
//! Nothing is allocated by an image's size before its header has been held against the limits. Of an animation
//! (GIF, APNG, WebP) the first frame is taken, as Pillow does.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::error::ImageError;
use super::raster::{Raster, Samples};
use super::{ImageLimits, jpeg, tiff};

/// Longest side, in pixels: what JPEG and GIF can hold. Longer images are strips that no square shows.
pub(super) const MAX_SIDE: u32 = 65_535;
/// Memory for one pixel while decoding: 16-bit RGBA, and once more for the decoder's own buffers.
const BYTES_PER_PIXEL: u64 = 16;
/// Memory for what does not grow with the image: colour profiles, text chunks, tables.
const BYTES_FOR_METADATA: u64 = 16 << 20;

/// Decodes `bytes`, applying the EXIF orientation.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Raster, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if limits.max_bytes < bytes.len() {
        return Err(ImageError::TooManyBytes { actual: bytes.len(), limit: limits.max_bytes });
    }
    let format = image::guess_format(bytes).map_err(|_| ImageError::UnknownFormat)?;
    match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, limits),
        ImageFormat::Png | ImageFormat::Bmp | ImageFormat::Tiff | ImageFormat::WebP | ImageFormat::Gif => {
            decode_other(bytes, format, limits)
        }
        other => Err(ImageError::UnsupportedFormat { format: format!("{other:?}").to_ascii_uppercase() }),
    }
}

/// Holds the size that a header tells against the limits.
pub(super) fn check_size(width: u32, height: u32, limits: &ImageLimits) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::NoPixels { width, height });
    }
    if MAX_SIDE < width.max(height) {
        return Err(ImageError::TooLong { width, height, limit: MAX_SIDE });
    }
    if limits.max_pixels < u64::from(width) * u64::from(height) {
        return Err(ImageError::TooManyPixels { width, height, limit: limits.max_pixels });
    }
    Ok(())
}

fn decode_other(bytes: &[u8], format: ImageFormat, limits: &ImageLimits) -> Result<Raster, ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let memory = limits.max_pixels.saturating_mul(BYTES_PER_PIXEL).saturating_add(BYTES_FOR_METADATA);
    let mut allowed = Limits::no_limits();
    allowed.max_alloc = Some(memory);
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(|source| ImageError::undecodable(format, source))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    // Broken EXIF data never makes an image unreadable.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let colour = decoder.original_color_type();
    if colour == ExtendedColorType::Cmyk8 {
        return tiff::decode_cmyk(bytes, (width, height), orientation, memory);
    }
    let mut image =
        DynamicImage::from_decoder(decoder).map_err(|source| ImageError::undecodable(format, source))?;
    image.apply_orientation(orientation);
    let kind = match format {
        ImageFormat::Png => Kind::of_png(bytes),
        ImageFormat::Bmp => Kind::of_bmp(bytes),
        ImageFormat::Gif => Kind::of_gif(bytes),
        _ => Kind { indexed: colour == ExtendedColorType::L1, ..Kind::default() },
    };
    into_raster(image, kind, format)
}

/// What of the file's colour mode the decoded image no longer tells.
#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    /// Palette or 1-bit.
    indexed: bool,
    /// The alpha channel was made from a transparent colour; the file's mode has none.
    keyed: bool,
}

impl Kind {
    /// From the IHDR chunk: bit depth at byte 24, colour type at byte 25.
    fn of_png(bytes: &[u8]) -> Self {
        let (depth, colour) = (bytes.get(24).copied(), bytes.get(25).copied());
        let indexed = colour == Some(3) || (colour == Some(0) && depth == Some(1));
        Self { indexed, keyed: matches!(colour, Some(0 | 2 | 3)) }
    }

    /// From the bitmap header: a palette that is not a grey ramp, or two colours.
    fn of_bmp(bytes: &[u8]) -> Self {
        let word =
            |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
        let Some(header) = word(14) else { return Self::default() };
        // The old header of 12 bytes has 16-bit sizes and palette entries of three bytes.
        let (depth_at, entry) = if header == 12 { (24, 3) } else { (28, 4) };
        let depth = bytes.get(depth_at).copied().unwrap_or(24);
        if 8 < depth {
            return Self::default();
        }
        let stated = if header == 12 { 0 } else { word(46).unwrap_or(0) as usize };
        let colours = if stated == 0 || 256 < stated { 1_usize << depth } else { stated };
        let palette = bytes.get(14 + header as usize..).unwrap_or_default();
        let ramp = is_grey_ramp(palette.chunks(entry).take(colours), if colours == 2 { 255 } else { 1 });
        Self { indexed: colours == 2 || !ramp, keyed: false }
    }

    /// From the logical screen descriptor: a global palette that is a grey ramp counts as grey.
    fn of_gif(bytes: &[u8]) -> Self {
        let flags = bytes.get(10).copied().unwrap_or(0);
        let has_palette = flags & 0x80 != 0;
        let colours = 2_usize << (flags & 7);
        let ramp = is_grey_ramp(bytes.get(13..).unwrap_or_default().chunks(3).take(colours), 1);
        Self { indexed: !(has_palette && ramp), keyed: true }
    }
}

/// Whether entry i is the grey value i * step.
fn is_grey_ramp<'a>(mut palette: impl Iterator<Item = &'a [u8]>, step: u8) -> bool {
    let mut values = (0..=u8::MAX).step_by(usize::from(step));
    palette.all(|entry| {
        values
            .next()
            .is_some_and(|value| entry.len() >= 3 && entry.iter().take(3).all(|&sample| sample == value))
    })
}

fn into_raster(image: DynamicImage, kind: Kind, format: ImageFormat) -> Result<Raster, ImageError> {
    let (width, height) = (image.width(), image.height());
    let samples = match image {
        DynamicImage::ImageLuma8(gray) => Samples::Gray(gray.into_raw()),
        DynamicImage::ImageLuma16(gray) => Samples::Gray16(gray.into_raw()),
        DynamicImage::ImageLumaA8(pixels) if kind.keyed => {
            Samples::Gray(without_alpha::<_, 2, 1>(pixels.as_raw()))
        }
        DynamicImage::ImageLumaA16(pixels) if kind.keyed => {
            Samples::Gray16(without_alpha::<_, 2, 1>(pixels.as_raw()))
        }
        DynamicImage::ImageRgba8(pixels) if kind.keyed => {
            Samples::Rgb(without_alpha::<_, 4, 3>(pixels.as_raw()))
        }
        DynamicImage::ImageRgba16(pixels) if kind.keyed => {
            Samples::Rgb(high_bytes(&without_alpha::<_, 4, 3>(pixels.as_raw())))
        }
        DynamicImage::ImageLumaA8(pixels) => Samples::GrayAlpha(pixels.into_raw()),
        DynamicImage::ImageLumaA16(pixels) => Samples::GrayAlpha(high_bytes(pixels.as_raw())),
        DynamicImage::ImageRgb8(pixels) => Samples::Rgb(pixels.into_raw()),
        DynamicImage::ImageRgb16(pixels) => Samples::Rgb(high_bytes(pixels.as_raw())),
        DynamicImage::ImageRgba8(pixels) => Samples::Rgba(pixels.into_raw()),
        DynamicImage::ImageRgba16(pixels) => Samples::Rgba(high_bytes(pixels.as_raw())),
        other => {
            return Err(ImageError::UnsupportedColour {
                format: format!("{format:?}").to_ascii_uppercase(),
                colour: format!("{:?}", other.color()),
            });
        }
    };
    Ok(Raster { width, height, samples, indexed: kind.indexed })
}

/// The first `OUT` of every `IN` samples.
fn without_alpha<T: Copy, const IN: usize, const OUT: usize>(samples: &[T]) -> Vec<T> {
    samples.chunks_exact(IN).flat_map(|pixel| pixel.iter().take(OUT).copied()).collect()
}

/// 16-bit colours as Pillow reads them: the high byte.
fn high_bytes(samples: &[u16]) -> Vec<u8> {
    samples.iter().map(|sample| (sample >> 8) as u8).collect()
}
