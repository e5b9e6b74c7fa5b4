//! Lattice noise: gradients, cells and streaks, all from one hash of lattice points.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::synth::canvas::{Point, Rgb};

/// A field of noise over the plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lattice {
    seed: u32,
}

/// The nearest cells around a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells {
    /// Distance to the nearest cell's point.
    pub(super) nearest: f32,
    /// Distance to the next one.
    pub(super) second: f32,
    /// A number in 0..1 of the nearest cell.
    pub(super) identity: f32,
}

impl Lattice {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        Self { seed: rng.random() }
    }

    fn hash(self, x: i32, y: i32) -> u32 {
        let mut bits =
            self.seed ^ (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
        bits = (bits ^ (bits >> 15)).wrapping_mul(0x2C1B_3C6D);
        bits = (bits ^ (bits >> 12)).wrapping_mul(0x297A_2D39);
        bits ^ (bits >> 15)
    }

    /// A number in 0..1 of a lattice point.
    pub(super) fn value(self, x: i32, y: i32) -> f32 {
        (self.hash(x, y) >> 8) as f32 / (1 << 24) as f32
    }

    /// Gradient noise, about -1..1, features of size 1.
    pub(super) fn gradient(self, at: Point) -> f32 {
        let (left, top) = (at.x.floor(), at.y.floor());
        let (x, y) = (at.x - left, at.y - top);
        let corner = |dx: i32, dy: i32| {
            let bits = self.hash(left as i32 + dx, top as i32 + dy);
            let (x, y) = (x - dx as f32, y - dy as f32);
            // One of sixteen directions of about equal length: cheaper than an angle, and as good to the eye.
            let (u, v) = if bits & 1 == 0 { (x, y) } else { (y, x) };
            let signed = |value: f32, bit: u32| if bits & bit == 0 { value } else { -value };
            signed(u, 2) + signed(v, 4) * if bits & 8 == 0 { 0.35 } else { 0.9 }
        };
        let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let (sx, sy) = (fade(x), fade(y));
        let upper = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * sx;
        let lower = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * sx;
        upper + (lower - upper) * sy
    }

    /// Octaves of gradient noise, each half as large and strong; about -1..1.
    pub(super) fn octaves(self, at: Point, count: u32) -> f32 {
        let mut sum = 0.0;
        let (mut scale, mut weight) = (1.0, 0.5);
        for octave in 0..count {
            let shift = octave as f32 * 37.3;
            sum += weight * self.gradient(at * scale + Point::new(shift, -shift));
            scale *= 2.0;
            weight *= 0.5;
        }
        sum * 1.6
    }

    /// Cells of size 1 around random points.
    pub(super) fn cells(self, at: Point) -> Cells {
        let (column, row) = (at.x.floor() as i32, at.y.floor() as i32);
        let mut cells = Cells { nearest: f32::MAX, second: f32::MAX, identity: 0.0 };
        for (dx, dy) in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy))) {
            let bits = self.hash(column + dx, row + dy);
            let share = |bits: u32| (bits & 0xFFFF) as f32 / 65536.0;
            let point = Point::new((column + dx) as f32 + share(bits), (row + dy) as f32 + share(bits >> 16));
            let distance = (point - at).length();
            if distance < cells.nearest {
                let identity = share(bits.wrapping_mul(0x9E37_79B1) >> 9);
                cells = Cells { nearest: distance, second: cells.nearest, identity };
            } else if distance < cells.second {
                cells.second = distance;
            }
        }
        cells
    }
}

/// A base colour and one that goes with it: other lightness, similar hue.
pub(super) fn two_colours(rng: &mut ChaCha8Rng, contrast: std::ops::Range<f32>) -> (Rgb, Rgb) {
    let lightness = rng.random_range(0.3..0.7);
    let tint = Rgb::drawn(rng, -0.18..0.18);
    let base = Rgb::gray(lightness) + tint;
    let step = rng.random_range(contrast);
    let step = if lightness > 0.5 { -step } else { step };
    (base, base + Rgb::gray(step) + Rgb::drawn(rng, -0.06..0.06))
}
