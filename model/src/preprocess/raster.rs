//! Decoded pixels in the colour mode of their file, and the conversion to RGB that ends the pre-processing.
//!
//! The modes are those of Pillow, because the resize happens in the image's own mode: a palette image is sampled
//! with nearest neighbour, transparency is multiplied in before a bicubic resize and divided out after it.

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer};

/// Interleaved samples with their colour mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Samples {
    /// `L`, and `1` as 0 and 255.
    Gray(Vec<u8>),
    /// `I;16`.
    Gray16(Vec<u16>),
    /// `LA`.
    GrayAlpha(Vec<u8>),
    /// `RGB`, and `P` looked up in its palette.
    Rgb(Vec<u8>),
    /// `RGBA`.
    Rgba(Vec<u8>),
    /// `CMYK`: 0 is no ink.
    Cmyk(Vec<u8>),
}

/// A decoded image: row-major, upper left pixel first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raster {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) samples: Samples,
    /// Palette and 1-bit images are resized with nearest neighbour: a mean of two indices is no colour.
    pub(super) indexed: bool,
}

impl Raster {
    /// The whole image as interleaved 8-bit RGB, as Pillow's `convert("RGB")`: alpha is dropped, 16-bit grey is
    /// clipped at 255.
    pub(super) fn to_rgb(&self) -> Vec<u8> {
        match &self.samples {
            Samples::Gray(gray) => gray.iter().flat_map(|&value| [value; 3]).collect(),
            Samples::Gray16(gray) => gray.iter().flat_map(|&value| [clip_16_bit(value); 3]).collect(),
            Samples::GrayAlpha(pixels) => {
                pixels.as_chunks().0.iter().flat_map(|&[value, _alpha]| [value; 3]).collect()
            }
            Samples::Rgb(rgb) => rgb.clone(),
            Samples::Rgba(pixels) => pixels
                .as_chunks()
                .0
                .iter()
                .flat_map(|&[red, green, blue, _alpha]| [red, green, blue])
                .collect(),
            Samples::Cmyk(pixels) => {
                pixels.as_chunks().0.iter().flat_map(|&pixel| cmyk_to_rgb(pixel)).collect()
            }
        }
    }
}

/// Applies the orientation to samples of 1, 3 or 4 channels; None when they are not as many as there must be.
pub(super) fn turn(
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    channels: usize,
    orientation: Orientation,
) -> Option<(u32, u32, Vec<u8>)> {
    let mut image = match channels {
        1 => DynamicImage::ImageLuma8(ImageBuffer::from_raw(width, height, pixels)?),
        3 => DynamicImage::ImageRgb8(ImageBuffer::from_raw(width, height, pixels)?),
        _ => DynamicImage::ImageRgba8(ImageBuffer::from_raw(width, height, pixels)?),
    };
    image.apply_orientation(orientation);
    Some((image.width(), image.height(), image.into_bytes()))
}

/// What Pillow makes of a 16-bit grey sample in an 8-bit mode: it clips, it does not scale.
pub(super) fn clip_16_bit(value: u16) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// `a * b / 255`, rounded, in Pillow's integer arithmetic.
pub(super) fn mul_div_255(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// Pillow's conversion without colour management: what the inks leave of the light that black leaves.
pub(super) fn cmyk_to_rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let light = 255 - black;
    [cyan, magenta, yellow].map(|ink| light.saturating_sub(mul_div_255(ink, light)))
}

/// `RGBA` to `RGBa` (or `LA` to `La`), in place: colours multiplied by alpha. The last channel is alpha.
pub(super) fn premultiply(pixels: &mut [u8], channels: usize) {
    for pixel in pixels.chunks_exact_mut(channels) {
        if let Some((alpha, colours)) = pixel.split_last_mut() {
            for colour in colours {
                *colour = mul_div_255(*colour, *alpha);
            }
        }
    }
}

/// The inverse for one colour sample; Pillow truncates and leaves fully transparent and opaque pixels alone.
pub(super) fn unmultiply(colour: u8, alpha: u8) -> u8 {
    if alpha == 0 || alpha == 255 {
        return colour;
    }
    u8::try_from(255 * u32::from(colour) / u32::from(alpha)).unwrap_or(u8::MAX)
}
