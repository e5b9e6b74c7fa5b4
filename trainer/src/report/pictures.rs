//! Thumbnails: what the backbone examined, with the outline of the truth, and the anomaly map over it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _, RgbImage, imageops};
use inctrl_model::{Pixels, Preprocess};

use crate::eval::maps::{SquareMask, upsampled};

/// Side of a thumbnail in pixels.
pub(super) const SIDE: u32 = 120;

/// Opacity of the colours at the dark and at the bright end, and what grey is made of (ITU-R BT.601).
const OPACITY: [f32; 2] = [0.10, 0.80];
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Colour of the outline: seen on dark and on bright ground, and not one of the map's.
const OUTLINE: image::Rgb<u8> = image::Rgb([0, 255, 200]);

/// Values of maps at the dark and at the bright end of the colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) dark: f32,
    pub(super) bright: f32,
}

impl Scale {
    /// From the median to nearly the largest of all values of `maps`, so that one outlier does not darken the rest.
    pub(super) fn of<'m>(maps: impl Iterator<Item = &'m Vec<f32>>) -> Self {
        let mut values: Vec<f32> = maps.flatten().copied().collect();
        values.sort_unstable_by(f32::total_cmp);
        let at = |share: f64| {
            let position = (values.len().saturating_sub(1) as f64 * share).round() as usize;
            values.get(position).copied().unwrap_or(0.0)
        };
        Self { dark: at(0.5), bright: at(0.998) }
    }

    fn share(self, value: f32) -> f32 {
        let range = (self.bright - self.dark).max(f32::MIN_POSITIVE);
        ((value - self.dark) / range).clamp(0.0, 1.0)
    }
}

/// The square that the backbone examined, as a small picture.
pub(super) fn thumbnail(pixels: &Pixels, preprocess: &Preprocess) -> RgbImage {
    let side = pixels.size;
    let area = (side * side) as usize;
    let square = RgbImage::from_fn(side, side, |x, y| {
        let pixel = (y * side + x) as usize;
        image::Rgb(std::array::from_fn(|channel| {
            let value =
                pixels.values[channel * area + pixel] * preprocess.std[channel] + preprocess.mean[channel];
            (value * 255.0).round().clamp(0.0, 255.0) as u8
        }))
    });
    imageops::resize(&square, SIDE, SIDE, imageops::FilterType::Triangle)
}

/// The picture with the borders of the anomalous regions drawn in.
pub(super) fn outlined(mut picture: RgbImage, mask: &SquareMask) -> RgbImage {
    let at = |x: i64, y: i64| {
        let scaled = |value: i64| (value * mask.side as i64 / i64::from(SIDE)) as usize;
        let inside = (0..i64::from(SIDE)).contains(&x) && (0..i64::from(SIDE)).contains(&y);
        inside && mask.anomalous[scaled(y) * mask.side + scaled(x)]
    };
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let (x, y) = (i64::from(x), i64::from(y));
        let beside = [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)];
        if !at(x, y) && beside.into_iter().any(|(x, y)| at(x, y)) {
            *pixel = OUTLINE;
        }
    }
    picture
}

/// The picture in grey under the map in colour, the more opaque the larger the value.
pub(super) fn overlaid(mut picture: RgbImage, map: &[f32], grid: (usize, usize), scale: Scale) -> RgbImage {
    let values = upsampled(map, grid, SIDE as usize);
    for (pixel, value) in picture.pixels_mut().zip(values) {
        let share = scale.share(value);
        let opacity = OPACITY[0] + (OPACITY[1] - OPACITY[0]) * share;
        let grey: f32 = pixel.0.iter().zip(LUMA).map(|(&value, weight)| f32::from(value) * weight).sum();
        let colorous::Color { r, g, b } = colorous::INFERNO.eval_continuous(f64::from(share));
        pixel.0 = [r, g, b].map(|value| (grey * (1.0 - opacity) + f32::from(value) * opacity).round() as u8);
    }
    picture
}

/// The picture as a `data:` address.
pub(super) fn data_uri(picture: &RgbImage) -> String {
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
        .expect("a picture in memory has a PNG form");
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}
