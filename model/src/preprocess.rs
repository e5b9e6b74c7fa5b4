//! Encoded bytes to the normalised pixels that a backbone takes: as PIL and torchvision do it, in plain Rust.
//!
//! ```text
//! bytes --decode--> DecodedImage (own colour mode, upright) --resample--> planes --convert, normalise--> Pixels
//! ```
//!
//! The order is the authors': resize in the image's own mode (palette and 1-bit images with nearest neighbour, all
//! others bicubic with antialias), centre crop, RGB, 0..=1, mean and deviation. Two things follow Pillow where a user
//! might expect otherwise: 16-bit grey is clipped at 255, not scaled (see [`DecodedImage::clipped_share`]), and alpha is
//! dropped, not blended. One thing differs from the authors: the EXIF orientation is applied.

use serde::{Deserialize, Serialize};

mod decode;
mod error;
mod geometry;
mod jpeg;
mod raster;
mod resample;
mod tiff;
mod weights;

pub use error::ImageError;

use geometry::Placement;
use raster::{Raster, Samples, clip_16_bit, cmyk_to_rgb, premultiply, unmultiply};
use resample::Source;

/// How an image is brought to the square that the backbone examines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Shorter side to `size`, then the centre square: what the authors do; the rest of the image is not seen.
    Crop,
    /// Longer side to `size`, the rest filled with the mean colour: the whole image is seen.
    Letterbox,
}

/// The pre-processing of a backbone; part of its identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Side of the square, in pixels.
    pub size: u32,
    /// Per-channel mean of values in 0..=1.
    pub mean: [f32; 3],
    /// Per-channel standard deviation of values in 0..=1.
    pub std: [f32; 3],
    /// How the square is taken.
    pub fit: Fit,
}

/// What an image may cost before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// Most encoded bytes.
    pub max_bytes: usize,
    /// Most decoded pixels (width times height), checked from the header before anything is allocated.
    pub max_pixels: u64,
}

/// A decoded image in its own colour mode (the resize happens before the conversion to RGB).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedImage {
    raster: Raster,
}

/// Normalised pixels of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// Row-major `[3, size, size]`.
    pub values: Vec<f32>,
    /// Side of the square.
    pub size: u32,
    /// Size of the source (after EXIF rotation), in pixels: width, height.
    pub source: (u32, u32),
    /// The area of the source that the square shows, in source pixels. A letterboxed square shows more than the
    /// source: then the area reaches over its edges ([`Area::within`] cuts it).
    pub examined: Area,
}

/// An axis-aligned rectangle in source pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl Area {
    /// The part of this area that lies within an image of `source` pixels (width, height).
    #[must_use]
    pub fn within(&self, source: (u32, u32)) -> Self {
        let axis = |start: f32, length: f32, limit: u32| {
            let limit = limit as f32;
            let (from, to) = (start.clamp(0.0, limit), (start + length).clamp(0.0, limit));
            (from, to - from)
        };
        let (x, width) = axis(self.x, self.width, source.0);
        let (y, height) = axis(self.y, self.height, source.1);
        Self { x, y, width, height }
    }
}

impl DecodedImage {
    /// Decodes PNG, JPEG, BMP, TIFF, WebP or GIF (format sniffed), applying EXIF orientation. Of an animation the first
    /// frame is taken.
    ///
    /// # Errors
    /// Says what is wrong with the image, which limit it broke and what to do; see [`ImageError`]. The size in the
    /// header is held against `limits` before memory is taken for pixels.
    pub fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Self, ImageError> {
        Ok(Self { raster: decode::decode(bytes, limits)? })
    }

    /// Takes interleaved 8-bit RGB pixels.
    ///
    /// # Errors
    /// When a side is 0 or longer than 65,535, or `rgb` has not `width * height * 3` bytes.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, ImageError> {
        let limits = ImageLimits { max_bytes: usize::MAX, max_pixels: u64::MAX };
        decode::check_size(width, height, &limits)?;
        let expected = u64::from(width) * u64::from(height) * 3;
        if expected != rgb.len() as u64 {
            return Err(ImageError::WrongLength { width, height, expected, actual: rgb.len() });
        }
        Ok(Self { raster: Raster { width, height, samples: Samples::Rgb(rgb), indexed: false } })
    }

    /// Width and height after EXIF rotation.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.raster.width, self.raster.height)
    }

    /// The image as 8-bit RGB at its own size, for overlays and digests: width, height, interleaved bytes.
    pub fn to_rgb(&self) -> (u32, u32, Vec<u8>) {
        (self.raster.width, self.raster.height, self.raster.to_rgb())
    }

    /// Share of the samples, in 0..=1, that lose their value because 16-bit grey is clipped at 255; 0 for all other
    /// images. A large share means that the image should be scaled to 8 bits by who knows its range.
    pub fn clipped_share(&self) -> f32 {
        match &self.raster.samples {
            Samples::Gray16(gray) => {
                let clipped = gray.iter().filter(|&&value| u16::from(u8::MAX) < value).count();
                clipped as f32 / gray.len() as f32
            }
            Samples::Gray(_)
            | Samples::GrayAlpha(_)
            | Samples::Rgb(_)
            | Samples::Rgba(_)
            | Samples::Cmyk(_) => 0.0,
        }
    }
}

impl Preprocess {
    /// CLIP's published normalisation at `size`.
    #[must_use]
    #[expect(clippy::excessive_precision, reason = "the published digits; the nearest float32 is meant")]
    pub fn clip(size: u32) -> Self {
        Self {
            size,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_58, 0.275_777_11],
            fit: Fit::Crop,
        }
    }

    /// Resizes, crops, converts to RGB and normalises.
    pub fn apply(&self, image: &DecodedImage) -> Pixels {
        let source = image.dimensions();
        let place = Placement::new(source, self.size, self.fit);
        let kept = resized_rgb(&image.raster, &place);

        let (side, area) = (self.size as usize, place.kept.0 as usize * place.kept.1 as usize);
        // What the kept part leaves free stays 0: the mean colour.
        let mut values = vec![0.0; 3 * side * side];
        for (channel, (plane, kept)) in
            values.chunks_exact_mut(side * side).zip(kept.chunks_exact(area)).enumerate()
        {
            let (mean, deviation) = (self.mean[channel], self.std[channel]);
            let table: [f32; 256] = std::array::from_fn(|value| (value as f32 / 255.0 - mean) / deviation);
            let rows = plane.chunks_exact_mut(side).skip(place.paste.1 as usize);
            for (row, kept) in rows.zip(kept.chunks_exact(place.kept.0 as usize)) {
                let row = row.iter_mut().skip(place.paste.0 as usize);
                row.zip(kept).for_each(|(value, &sample)| *value = table[usize::from(sample)]);
            }
        }
        Pixels { values, size: self.size, source, examined: place.examined(source, self.size) }
    }

    /// Decodes and applies.
    ///
    /// # Errors
    /// As [`DecodedImage::decode`].
    pub fn load(&self, bytes: &[u8], limits: &ImageLimits) -> Result<Pixels, ImageError> {
        Ok(self.apply(&DecodedImage::decode(bytes, limits)?))
    }
}

impl Pixels {
    /// The left-right mirrored copy; the context of a prompt set of one image is made with it.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        let mut mirrored = self.clone();
        mirrored.values.chunks_exact_mut(self.size as usize).for_each(<[f32]>::reverse);
        mirrored
    }
}

/// Resizes in the image's own mode, then converts: planar RGB of the kept part, `[3, height, width]`.
fn resized_rgb(raster: &Raster, place: &Placement) -> Vec<u8> {
    // Then every neighbour is the sample itself, as it would be of any filter.
    let unchanged = place.resized == (u64::from(raster.width), u64::from(raster.height));
    let resize = |samples: &[u8], channels: usize| {
        let source = Source { samples, width: raster.width, height: raster.height, channels };
        let copy = raster.indexed || unchanged;
        if copy { resample::nearest(source, place) } else { resample::bicubic(source, place) }
    };
    // Pillow multiplies alpha in only when there is something to resize.
    let resize_with_alpha = |samples: &[u8], channels: usize| {
        if unchanged || raster.indexed {
            return resize(samples, channels);
        }
        let mut premultiplied = samples.to_vec();
        premultiply(&mut premultiplied, channels);
        let mut planes = resize(&premultiplied, channels);
        let (colours, alpha) =
            planes.split_at_mut(place.kept.0 as usize * place.kept.1 as usize * (channels - 1));
        for plane in colours.chunks_exact_mut(alpha.len()) {
            plane
                .iter_mut()
                .zip(alpha.iter())
                .for_each(|(colour, &alpha)| *colour = unmultiply(*colour, alpha));
        }
        planes
    };
    let area = place.kept.0 as usize * place.kept.1 as usize;
    match &raster.samples {
        Samples::Rgb(samples) => resize(samples, 3),
        Samples::Gray(samples) => resize(samples, 1).repeat(3),
        Samples::Gray16(samples) => {
            let source = Source {
                samples: samples.as_slice(),
                width: raster.width,
                height: raster.height,
                channels: 1,
            };
            let gray: Vec<u8> =
                resample::bicubic_16_bit(source, place).into_iter().map(clip_16_bit).collect();
            gray.repeat(3)
        }
        Samples::GrayAlpha(samples) => resize_with_alpha(samples, 2)[..area].repeat(3),
        Samples::Rgba(samples) => {
            let mut planes = resize_with_alpha(samples, 4);
            planes.truncate(3 * area);
            planes
        }
        Samples::Cmyk(samples) => cmyk_planes_to_rgb(&resize(samples, 4), area),
    }
}

fn cmyk_planes_to_rgb(planes: &[u8], area: usize) -> Vec<u8> {
    let mut rgb = vec![0; 3 * area];
    for index in 0..area {
        let inks = std::array::from_fn(|channel| planes[channel * area + index]);
        for (channel, value) in cmyk_to_rgb(inks).into_iter().enumerate() {
            rgb[channel * area + index] = value;
        }
    }
    rgb
}
