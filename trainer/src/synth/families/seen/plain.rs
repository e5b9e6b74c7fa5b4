//! Textures without a direction: plaster, granite, leather.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::noise::{Lattice, two_colours};
use crate::synth::canvas::{Point, Rgb, smooth};
use crate::synth::families::{Shot, Surface};

/// Rough lime: soft relief under light from one side.
pub(super) struct Plaster {
    relief: Lattice,
    size: f32,
    depth: f32,
    colours: (Rgb, Rgb),
}

impl Plaster {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        Self {
            relief: Lattice::new(rng),
            size: rng.random_range(9.0..26.0),
            depth: rng.random_range(0.5..1.1),
            colours: two_colours(rng, 0.15..0.3),
        }
    }
}

impl Surface for Plaster {
    fn colour(&self, place: Point, _: &Shot) -> Rgb {
        let at = place * (1.0 / self.size);
        let height = self.relief.octaves(at, 4);
        let towards_light = self.relief.octaves(at + Point::new(0.08, 0.05), 3);
        let slope = (height - towards_light) * self.depth;
        let (dark, light) = self.colours;
        dark.mix(light, 0.5 + 0.5 * height) + Rgb::gray(slope)
    }
}

/// Grains of three minerals.
pub(super) struct Granite {
    grains: Lattice,
    clouds: Lattice,
    size: f32,
    minerals: [Rgb; 3],
}

impl Granite {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let (one, two) = two_colours(rng, 0.15..0.3);
        let (three, _) = two_colours(rng, 0.1..0.2);
        Self {
            grains: Lattice::new(rng),
            clouds: Lattice::new(rng),
            size: rng.random_range(3.0..7.0),
            minerals: [one, two, three.mix(one, 0.4)],
        }
    }
}

impl Surface for Granite {
    fn colour(&self, place: Point, _: &Shot) -> Rgb {
        let grain = self.grains.cells(place * (1.0 / self.size));
        let cloud = self.clouds.gradient(place * (1.0 / 40.0));
        let mineral = (grain.identity * 3.0 + cloud * 0.5).clamp(0.0, 2.99) as usize;
        let edge = smooth(0.0, 0.25, grain.second - grain.nearest);
        self.minerals[mineral] * (0.85 + 0.15 * edge) + Rgb::gray(0.06 * (grain.identity * 7.0).sin())
    }
}

/// Cushions with creases between them.
pub(super) struct Leather {
    cushions: Lattice,
    bend: Lattice,
    size: f32,
    crease: f32,
    colours: (Rgb, Rgb),
}

impl Leather {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        Self {
            cushions: Lattice::new(rng),
            bend: Lattice::new(rng),
            size: rng.random_range(8.0..18.0),
            crease: rng.random_range(0.15..0.35),
            colours: two_colours(rng, 0.2..0.35),
        }
    }
}

impl Surface for Leather {
    fn colour(&self, place: Point, _: &Shot) -> Rgb {
        let at = place * (1.0 / self.size);
        let bend = self.bend.gradient(at * 0.7) * 0.35;
        let cushion = self.cushions.cells(at + Point::new(bend, -bend));
        let top = smooth(0.0, self.crease, cushion.second - cushion.nearest);
        let (crease, skin) = self.colours;
        crease.mix(skin, top) + Rgb::gray(0.08 * (0.5 - cushion.nearest))
    }
}
