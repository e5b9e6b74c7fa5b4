//! Repeats of a stitch or a hole: knitwear, perforated sheet.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::synth::canvas::{Point, Rgb};
use crate::synth::families::{Shot, Surface};

/// Stocking stitch: columns of V.
pub(super) struct Knitwear {
    width: f32,
    height: f32,
    steepness: f32,
    yarn: Rgb,
    /// Colour of every so-manieth row, if any.
    stripe: Option<(i64, Rgb)>,
}

impl Knitwear {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let yarn = Rgb::gray(rng.random_range(0.35..0.75)) + Rgb::drawn(rng, -0.2..0.2);
        let width = rng.random_range(11.0..20.0);
        let striped = rng.random_bool(0.5);
        let stripe = (rng.random_range(3..8), yarn.turned(rng.random_range(0.6..2.5)));
        Self {
            width,
            height: width * rng.random_range(0.6..0.9),
            steepness: rng.random_range(0.5..0.9),
            yarn,
            stripe: striped.then_some(stripe),
        }
    }
}

impl Surface for Knitwear {
    fn colour(&self, place: Point, shot: &Shot) -> Rgb {
        let column = (place.x / self.width).floor();
        let x = place.x / self.width - column - 0.5;
        let leaning = place.y / self.height - self.steepness * x.abs() * 2.0;
        let row = leaning.floor();
        let y = leaning - row - 0.5;
        // Each leg of a V is a leaning loop; it is thickest in its middle.
        let leg = (x.abs() - 0.25) / 0.25;
        let loop_height = (1.0 - leg * leg).max(0.0).sqrt() * (1.0 - 4.0 * y * y).max(0.0).sqrt();
        let twist = 0.5 + 0.5 * ((place.x - place.y * x.signum()) * 1.9).sin();
        let colour = match self.stripe {
            Some((every, ink)) if (row as i64).rem_euclid(every) == 0 => ink,
            _ => self.yarn,
        };
        let unevenness = mixed(shot.detail, column as i64, row as i64) - 0.5;
        colour * (0.4 + 0.6 * loop_height + 0.06 * unevenness) + Rgb::gray(0.04 * twist * loop_height)
    }
}

/// A sheet with rows of holes, every other row shifted.
pub(super) struct Perforated {
    pitch: f32,
    radius: f32,
    shift: f32,
    sheet: Rgb,
    behind: Rgb,
}

impl Perforated {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let sheet = Rgb::gray(rng.random_range(0.45..0.8)) + Rgb::drawn(rng, -0.1..0.1);
        let pitch = rng.random_range(14.0..28.0);
        Self {
            pitch,
            radius: pitch * rng.random_range(0.22..0.38),
            shift: [0.0, 0.5][rng.random_range(0..2)],
            sheet,
            behind: sheet * rng.random_range(0.1..0.35),
        }
    }
}

impl Surface for Perforated {
    fn colour(&self, place: Point, shot: &Shot) -> Rgb {
        let row = (place.y / self.pitch).floor();
        let moved = place.x / self.pitch + self.shift * (row as i64).rem_euclid(2) as f32;
        let column = moved.floor();
        let at = Point::new(moved - column - 0.5, place.y / self.pitch - row - 0.5) * self.pitch;
        let wear = mixed(shot.detail, column as i64, row as i64);
        let distance = at.length() - self.radius * (0.96 + 0.08 * wear);
        let open = (0.5 - distance).clamp(0.0, 1.0);
        let rim = (1.0 - (distance - 0.8).abs() / 1.6).max(0.0) * at.dot(Point::new(-0.7, -0.7)).signum();
        let sheet = self.sheet + Rgb::gray(0.12 * rim + 0.02 * (place.x * 0.11 + place.y * 0.07).sin());
        sheet.mix(self.behind, open)
    }
}

/// A number in 0..1 of a place in a repeat, another one for every image.
fn mixed(detail: u64, column: i64, row: i64) -> f32 {
    let mut state = detail.wrapping_add((column as u64) << 32 ^ (row as u64 & 0xFFFF_FFFF));
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((state ^ (state >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
}
