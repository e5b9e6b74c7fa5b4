//! Textures that somebody laid: woven threads, tiles with grout.

use std::f32::consts::PI;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::noise::{Lattice, two_colours};
use crate::synth::canvas::{Point, Rgb, smooth};
use crate::synth::families::{Shot, Surface};

/// Plain or twill weave of two yarns.
pub(super) struct Weave {
    yarn: Lattice,
    pitch: f32,
    /// Threads passed over before going under: 1 is a plain weave, 2 a twill.
    float: i32,
    warp: Rgb,
    weft: Rgb,
    gap: f32,
}

impl Weave {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let (warp, weft) = two_colours(rng, 0.1..0.3);
        Self {
            yarn: Lattice::new(rng),
            pitch: rng.random_range(7.0..15.0),
            float: rng.random_range(1..=2),
            warp,
            weft,
            gap: rng.random_range(0.2..0.4),
        }
    }
}

impl Surface for Weave {
    fn colour(&self, place: Point, _: &Shot) -> Rgb {
        let sway = self.yarn.gradient(place * (1.0 / 30.0)) * 0.12;
        let (u, v) = (place.x / self.pitch + sway, place.y / self.pitch - sway);
        let (column, row) = (u.floor() as i32, v.floor() as i32);
        let (x, y) = (u - u.floor() - 0.5, v - v.floor() - 0.5);
        let warp_over = (column + row).rem_euclid(2 * self.float) < self.float;
        let (across, along, number, colour) =
            if warp_over { (x, y, column, self.warp) } else { (y, x, row + 7919, self.weft) };
        let round = (across * PI).cos().max(0.0).powf(0.6) * (0.7 + 0.3 * (along * PI).cos());
        let tone = 0.08 * (self.yarn.value(number, 0) - 0.5);
        let hairs = 0.05 * self.yarn.gradient(place * 0.6);
        let shade = smooth(0.0, self.gap + 0.4, round);
        colour * (0.35 + 0.65 * shade) + Rgb::gray(tone + hairs)
    }
}

/// Tiles in running bond, each with a tone of its own.
pub(super) struct Tiles {
    tone: Lattice,
    width: f32,
    height: f32,
    grout: f32,
    bond: f32,
    colours: (Rgb, Rgb),
}

impl Tiles {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let height = rng.random_range(20.0..42.0);
        Self {
            tone: Lattice::new(rng),
            width: height * rng.random_range(1.0..2.2),
            height,
            grout: rng.random_range(1.5..3.5),
            bond: [0.0, 0.5][rng.random_range(0..2)],
            colours: two_colours(rng, 0.2..0.4),
        }
    }
}

impl Surface for Tiles {
    fn colour(&self, place: Point, _: &Shot) -> Rgb {
        let row = (place.y / self.height).floor();
        let shifted = place.x + self.bond * self.width * (row as i32).rem_euclid(2) as f32;
        let column = (shifted / self.width).floor();
        let (x, y) = (shifted - column * self.width, place.y - row * self.height);
        let to_edge = x.min(self.width - x).min(y).min(self.height - y);
        let (tile, grout) = self.colours;
        let tone = 0.1 * (self.tone.value(column as i32, row as i32) - 0.5);
        let grain = 0.05 * self.tone.octaves(place * (1.0 / 6.0), 2);
        let glazed = tile + Rgb::gray(tone + grain);
        grout.mix(glazed, smooth(self.grout - 0.8, self.grout + 0.8, to_edge))
    }
}
