//! Operators of training. Their areas are blobs: circles with a wavy radius.

use std::f32::consts::TAU;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::{Action, Edit, Operator, Scene};
use crate::synth::canvas::{Point, Rgb, smooth};
use crate::synth::families::Alteration;

/// Nine of them.
pub(super) fn operators() -> Vec<Operator> {
    let operator = |name, action| Operator { name, seen: true, action };
    vec![
        operator("scratch", Action::Surface(scratch)),
        operator("stain", Action::Surface(stain)),
        operator("hole", Action::Surface(hole)),
        operator("foreign", Action::Surface(foreign)),
        operator("contamination", Action::Surface(contamination)),
        operator("wrong-colour", Action::Surface(wrong_colour)),
        operator("shifted", Action::DirectedSurface(shifted)),
        operator("missing-part", Action::Parts(Alteration::Missing)),
        operator("turned", Action::Turn),
    ]
}

/// A circle whose radius varies with the angle.
struct Blob {
    centre: Point,
    radius: f32,
    waves: [(f32, f32); 4],
    stretch: f32,
    turn: f32,
}

impl Blob {
    fn drawn(centre: Point, radius: f32, rng: &mut ChaCha8Rng) -> Self {
        let wave =
            |order: usize| (rng.random_range(0.0..0.3) / (1.0 + order as f32), rng.random_range(0.0..TAU));
        let waves = [0, 1, 2, 3].map(wave);
        Self { centre, radius, waves, stretch: rng.random_range(0.65..1.0), turn: rng.random_range(0.0..TAU) }
    }

    /// A radius that holds all of it.
    fn reach(&self) -> f32 {
        self.radius * 1.7 + 2.0
    }

    /// Distance to the edge in pixels, about; negative inside.
    fn distance(&self, pixel: Point) -> f32 {
        let at = (pixel - self.centre).turned(self.turn);
        let at = Point::new(at.x * self.stretch.recip().min(1.6), at.y);
        let angle = at.y.atan2(at.x);
        let bumps = self
            .waves
            .iter()
            .zip(2..)
            .map(|((height, phase), order)| height * (angle * order as f32 + phase).sin());
        at.length() - self.radius * (1.0 + bumps.sum::<f32>())
    }

    /// 1 inside, 0 outside, over `softness` pixels.
    fn cover(&self, pixel: Point, softness: f32) -> f32 {
        smooth(softness / 2.0, -softness / 2.0, self.distance(pixel))
    }
}

/// A step up or down in lightness, to the side where there is room.
fn step(below: Rgb, size: f32) -> f32 {
    if below.luma() > 0.5 { -size } else { size }
}

/// A smooth arc that lifts the surface off, one edge lighter.
fn scratch(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let mut edit = Edit::none(scene.canvas);
    let middle = (scene.place)(rng);
    let length = scene.length(26.0 + 90.0 * strength) * rng.random_range(0.8..1.2);
    let width = scene.length(0.9 + 1.5 * strength).max(0.8);
    let bend = rng.random_range(-1.4..1.4) / length;
    let heading = rng.random_range(0.0..TAU);
    let deep = step(scene.canvas.sample(middle), 0.1 + 0.42 * strength);
    let mut at = middle - Point::new(length / 2.0, 0.0).turned(heading - bend * length / 2.0);
    let steps = (length / 0.7) as usize;
    for number in 0..steps {
        let share = number as f32 / steps as f32;
        let direction = heading + bend * (share - 0.5) * length;
        at = at + Point::new(0.7, 0.0).turned(direction);
        let half = width * (0.35 + 0.65 * (share * TAU / 2.0).sin());
        let normal = Point::new(0.0, 1.0).turned(direction);
        edit.paint(at, half + 1.5, |pixel, _| {
            let across = (pixel - at).dot(normal);
            let original = scene.canvas.pixels[pixel.y as usize * scene.canvas.side + pixel.x as usize];
            let lip = if across > 0.0 { 0.75 } else { 1.0 };
            (original + Rgb::gray(deep * lip), smooth(half + 0.7, half - 0.7, (pixel - at).length()))
        });
    }
    edit
}

/// Something spilt: the texture shows through.
fn stain(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let mut edit = Edit::none(scene.canvas);
    let blob = Blob::drawn((scene.place)(rng), scene.length(10.0 + 22.0 * strength), rng);
    let tint = Rgb::drawn(rng, 0.0..0.5);
    let opacity = 0.14 + 0.5 * strength;
    let soft = scene.length(rng.random_range(2.0..6.0));
    edit.paint(blob.centre, blob.reach() + soft, |pixel, below| {
        let rim = 1.0 + 0.5 * smooth(-2.0 * soft, 0.0, blob.distance(pixel));
        (below.mix(tint, (opacity * rim).min(1.0)), blob.cover(pixel, soft))
    });
    edit
}

/// A hole with a torn rim.
fn hole(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let mut edit = Edit::none(scene.canvas);
    let blob = Blob::drawn((scene.place)(rng), scene.length(3.5 + 11.0 * strength), rng);
    let behind = Rgb::drawn(rng, 0.0..0.14);
    let opacity = 0.4 + 0.6 * strength;
    let rim = scene.length(2.0);
    edit.paint(blob.centre, blob.reach(), |pixel, below| {
        let inside = smooth(0.0, -rim, blob.distance(pixel));
        let torn = below + Rgb::gray(0.12 * opacity);
        (torn.mix(below.mix(behind, opacity), inside), blob.cover(pixel, 1.5))
    });
    edit
}

/// A piece of another material.
fn foreign(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let mut edit = Edit::none(scene.canvas);
    let blob = Blob::drawn((scene.place)(rng), scene.length(10.0 + 24.0 * strength), rng);
    let other = (scene.foreign)();
    let opacity = 0.35 + 0.65 * strength;
    edit.paint(blob.centre, blob.reach(), |pixel, below| {
        let patch = other.pixels[pixel.y as usize * other.side + pixel.x as usize];
        (below.mix(patch, opacity), blob.cover(pixel, 3.0))
    });
    edit
}

/// Specks and fibres of one dirt.
fn contamination(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let mut edit = Edit::none(scene.canvas);
    let middle = (scene.place)(rng);
    let spread = scene.length(10.0 + 24.0 * strength);
    let dirt = scene.canvas.sample(middle);
    let dirt = dirt + Rgb::gray(step(dirt, 0.16 + 0.4 * strength)) + Rgb::drawn(rng, -0.08..0.08);
    for _ in 0..rng.random_range(4..7) + (9.0 * strength) as i32 {
        let away = Point::new(spread * rng.random_range(0.0_f32..1.0).sqrt(), 0.0)
            .turned(rng.random_range(0.0..TAU));
        let start = middle + away;
        let size = scene.length(rng.random_range(0.9..1.5 + 1.6 * strength)).max(0.9);
        let fibre = rng.random_bool(0.3);
        let end = start
            + Point::new(if fibre { 6.0 * size } else { 0.5 * size }, 0.0).turned(rng.random_range(0.0..TAU));
        let half = if fibre { 0.5 * size } else { size };
        edit.paint((start + end) * 0.5, 7.0 * size + 2.0, |pixel, _| {
            (dirt, smooth(half + 0.6, half - 0.6, to_segment(pixel, start, end)))
        });
    }
    edit
}

fn to_segment(at: Point, from: Point, to: Point) -> f32 {
    let along = to - from;
    let share = ((at - from).dot(along) / along.dot(along).max(1e-6)).clamp(0.0, 1.0);
    (at - from - along * share).length()
}

/// An area whose colour is off; lightness and texture stay.
fn wrong_colour(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let mut edit = Edit::none(scene.canvas);
    let blob = Blob::drawn((scene.place)(rng), scene.length(14.0 + 26.0 * strength), rng);
    let cast = Rgb([1.0, -0.3, -0.7]).turned(rng.random_range(0.0..TAU)) * (0.05 + 0.22 * strength);
    let soft = scene.length(3.0);
    edit.paint(blob.centre, blob.reach(), |pixel, below| (below + cast, blob.cover(pixel, soft)));
    edit
}

/// A piece of the same surface, turned and moved.
fn shifted(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let mut edit = Edit::none(scene.canvas);
    let blob = Blob::drawn((scene.place)(rng), scene.length(12.0 + 24.0 * strength), rng);
    let turn = (0.25 + 1.2 * strength) * if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    let away = Point::new(scene.length(rng.random_range(12.0..40.0)), 0.0).turned(rng.random_range(0.0..TAU));
    edit.paint(blob.centre, blob.reach(), |pixel, _| {
        let from = (pixel - blob.centre).turned(turn) + blob.centre + away;
        (scene.canvas.sample(from), blob.cover(pixel, 3.0))
    });
    edit
}
