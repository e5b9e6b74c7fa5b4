//! Textures with a grain: wood, corduroy, brushed metal.

use std::f32::consts::TAU;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::noise::{Lattice, two_colours};
use crate::synth::canvas::{Point, Rgb, smooth};
use crate::synth::families::{Shot, Surface};

/// Year rings cut lengthwise.
pub(super) struct Wood {
    bend: Lattice,
    pores: Lattice,
    width: f32,
    waviness: f32,
    colours: (Rgb, Rgb),
}

impl Wood {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let (dark, light) = two_colours(rng, 0.12..0.25);
        let warm = Rgb([0.12, 0.02, -0.1]);
        Self {
            bend: Lattice::new(rng),
            pores: Lattice::new(rng),
            width: rng.random_range(9.0..24.0),
            waviness: rng.random_range(0.6..1.6),
            colours: (dark + warm, light + warm),
        }
    }
}

impl Surface for Wood {
    fn colour(&self, place: Point, _: &Shot) -> Rgb {
        let along = Point::new(place.x / 110.0, place.y / 26.0);
        let ring = place.y / self.width + self.waviness * self.bend.octaves(along, 2);
        let phase = ring - ring.floor();
        let late = smooth(0.55, 0.95, phase) * (1.0 - smooth(0.95, 1.0, phase));
        let pores = self.pores.gradient(Point::new(place.x / 16.0, place.y / 1.6));
        let (early, dark) = self.colours;
        early.mix(dark, late) + Rgb::gray(0.05 * pores)
    }
}

/// Ribs with a nap.
pub(super) struct Corduroy {
    nap: Lattice,
    width: f32,
    depth: f32,
    colours: (Rgb, Rgb),
}

impl Corduroy {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        Self {
            nap: Lattice::new(rng),
            width: rng.random_range(7.0..16.0),
            depth: rng.random_range(0.6..1.0),
            colours: two_colours(rng, 0.15..0.35),
        }
    }
}

impl Surface for Corduroy {
    fn colour(&self, place: Point, _: &Shot) -> Rgb {
        let sway = self.nap.gradient(place * (1.0 / 60.0));
        let rib = 0.5 + 0.5 * ((place.x / self.width + 0.25 * sway) * TAU).cos();
        let nap = self.nap.octaves(Point::new(place.x / 3.0, place.y / 7.0), 2);
        let (groove, ridge) = self.colours;
        groove.mix(ridge, rib * self.depth) + Rgb::gray(0.07 * nap)
    }
}

/// Fine streaks under a soft reflection.
pub(super) struct Brushed {
    streaks: Lattice,
    length: f32,
    strength: f32,
    tint: Rgb,
}

impl Brushed {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let (tint, _) = two_colours(rng, 0.1..0.2);
        Self {
            streaks: Lattice::new(rng),
            length: rng.random_range(40.0..140.0),
            strength: rng.random_range(0.08..0.2),
            tint: tint.mix(Rgb::gray(tint.luma()), 0.7),
        }
    }
}

impl Surface for Brushed {
    fn colour(&self, place: Point, _: &Shot) -> Rgb {
        let fine = self.streaks.gradient(Point::new(place.x / self.length, place.y / 1.3));
        let broad = self.streaks.gradient(Point::new(place.x / (3.0 * self.length), place.y / 5.0));
        let sheen = self.streaks.gradient(Point::new(place.x / 400.0, place.y / 90.0));
        self.tint + Rgb::gray(self.strength * (fine + 0.6 * broad) + 0.06 * sheen)
    }
}
