//! N: what differs between two images of one scene: pose, light, focus, sensor and compression.
//!
//! A defect is in the scene, so that light and camera come after it: its edges are blurred, lit, made noisy and
//! compressed with everything else, and an anomaly and its twin share all of this to the last bit.

use std::f32::consts::TAU;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::canvas::{Canvas, Point, Rgb};
use super::families::{Family, Shot};

/// Side of the picture that lengths of scenes are meant for.
pub(crate) const SCENE_SIDE: f32 = 240.0;

/// What may differ between normal images of a category. Whether a change is a defect can be told from the prompts alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legal {
    /// Normal images are turned by any angle; otherwise a turned one is anomalous, if its family has a direction.
    pub any_turn: bool,
    /// Normal images come in any hue; otherwise one of another hue is anomalous.
    pub any_hue: bool,
}

/// One draw of everything that is not defect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nuisance {
    pub(crate) shot: Shot,
    /// Turn of all hues, in radians; 0 unless hue is free.
    pub(crate) hue: f32,
    gain: Rgb,
    /// Direction of the light's fall-off; its length is the loss from the middle to an edge.
    slope: Point,
    vignette: f32,
    /// Standard deviation of the blur in pixels.
    blur: f32,
    noise: f32,
    quality: u8,
    grain: u64,
}

impl Legal {
    /// A third of the categories allow any turn, a third any hue, independently.
    pub(crate) fn draw(rng: &mut ChaCha8Rng) -> Self {
        Self { any_turn: rng.random_bool(0.35), any_hue: rng.random_bool(0.3) }
    }
}

impl Nuisance {
    pub(crate) fn draw(rng: &mut ChaCha8Rng, family: &Family, legal: Legal, side: usize) -> Self {
        let scale = side as f32 / SCENE_SIDE;
        let reach = if family.object { 7.0 } else { 900.0 };
        let offset = Point::new(rng.random_range(-reach..reach), rng.random_range(-reach..reach));
        let free = rng.random_range(0.0..TAU);
        let slight = rng.random_range(-0.07..0.07);
        let hue = rng.random_range(0.0..TAU);
        let shot = Shot {
            side,
            offset,
            angle: if legal.any_turn || !family.directed { free } else { slight },
            zoom: scale * rng.random_range(0.94..1.07),
            detail: rng.random(),
        };
        let brightness = rng.random_range(0.85..1.12);
        Self {
            shot,
            hue: if legal.any_hue { hue } else { 0.0 },
            gain: Rgb::gray(brightness) + Rgb::drawn(rng, -0.025..0.025),
            slope: Point::new(rng.random_range(0.0..0.14), 0.0).turned(rng.random_range(0.0..TAU)),
            vignette: rng.random_range(0.0..0.14),
            blur: scale * rng.random_range(0.2..0.9),
            noise: rng.random_range(0.004..0.022),
            quality: rng.random_range(78..=97),
            grain: rng.random(),
        }
    }

    /// The same camera turned by 17 to 46 degrees, one way or the other: what a picture is if its turn is a defect.
    /// (A quarter turn would show less: many things look the same after one.)
    pub(crate) fn turned(self, rng: &mut ChaCha8Rng, strength: f32) -> Self {
        let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
        let angle = self.shot.angle + sign * (0.25 + 0.55 * strength);
        Self { shot: Shot { angle, ..self.shot }, ..self }
    }

    /// What the camera makes of a scene: a JPEG file after light, focus and noise.
    pub(crate) fn develop(&self, scene: &Canvas) -> Vec<u8> {
        let mut canvas = blurred(&self.lit(scene), self.blur);
        self.add_noise(&mut canvas);
        let side = canvas.side as u32;
        let mut file = Vec::new();
        JpegEncoder::new_with_quality(&mut file, self.quality)
            .encode(&canvas.to_bytes(), side, side, ExtendedColorType::Rgb8)
            .expect("a square picture in memory can be encoded");
        file
    }

    fn lit(&self, scene: &Canvas) -> Canvas {
        let (centre, half) = (scene.centre(), scene.side as f32 / 2.0);
        let mut pixels = scene.pixels.iter();
        Canvas::painted(scene.side, |at| {
            let from_centre = (at - centre) * (1.0 / half);
            let fall = 1.0 + from_centre.dot(self.slope) - self.vignette * 0.5 * from_centre.dot(from_centre);
            let colour = pixels.next().copied().unwrap_or_default();
            let Rgb(gain) = self.gain;
            let Rgb(colour) = colour;
            Rgb([0, 1, 2].map(|channel| colour[channel].clamp(0.0, 1.0) * gain[channel] * fall))
        })
    }

    /// Noise of the sensor: stronger where there is more light. Three uniform numbers are normal enough.
    fn add_noise(&self, canvas: &mut Canvas) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.grain);
        for pixel in &mut canvas.pixels {
            let strength = self.noise * (0.5 + pixel.luma().clamp(0.0, 1.0)).sqrt();
            *pixel = *pixel
                + Rgb(std::array::from_fn(|_| {
                    let bits: u32 = rng.random();
                    let sum = [0, 10, 20].map(|shift| (bits >> shift & 0x3FF) as f32).iter().sum::<f32>();
                    strength * 2.0 * (sum / 1023.0 - 1.5)
                }));
        }
    }
}

/// Gaussian blur, mirrored at the edges.
pub(crate) fn blurred(canvas: &Canvas, sigma: f32) -> Canvas {
    let reach = (sigma * 3.0).ceil() as i64;
    let weights: Vec<f32> =
        (-reach..=reach).map(|step| (-0.5 * (step as f32 / sigma).powi(2)).exp()).collect();
    let total: f32 = weights.iter().sum();
    let side = canvas.side;
    let last = side as i64 - 1;
    let mirrored = |position: i64| {
        let position = position.rem_euclid(2 * last.max(1));
        position.min(2 * last - position) as usize
    };
    let pass = |from: &[Rgb], index: &dyn Fn(usize, usize) -> usize| {
        let mut to = vec![Rgb::default(); side * side];
        for line in 0..side {
            for place in 0..side {
                let mut sum = Rgb::default();
                for (step, weight) in weights.iter().enumerate() {
                    let near = place as i64 + step as i64 - reach;
                    let near = if (0..=last).contains(&near) { near as usize } else { mirrored(near) };
                    sum = sum + from[index(line, near)] * *weight;
                }
                to[index(line, place)] = sum * (1.0 / total);
            }
        }
        to
    };
    let across = pass(&canvas.pixels, &|row, column| row * side + column);
    Canvas { side, pixels: pass(&across, &|column, row| row * side + column) }
}
