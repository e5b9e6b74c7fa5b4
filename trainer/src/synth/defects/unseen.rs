//! Held-out operators. Their areas are ridges and lobes; nothing of them is drawn by the code of the training operators.

use std::f32::consts::{PI, TAU};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::{Action, Edit, Operator, Scene};
use crate::synth::canvas::{Point, Rgb};
use crate::synth::families::Alteration;
use crate::synth::nuisance::blurred;

/// Ten of them.
pub(super) fn operators() -> Vec<Operator> {
    let operator = |name, action| Operator { name, seen: false, action };
    vec![
        operator("crack", Action::Surface(crack)),
        operator("dent", Action::Surface(dent)),
        operator("thread-pull", Action::DirectedSurface(thread_pull)),
        operator("print-smear", Action::Surface(print_smear)),
        operator("blur", Action::Surface(blur)),
        operator("contrast", Action::Surface(contrast)),
        operator("extra-part", Action::Parts(Alteration::Extra)),
        operator("misplaced-part", Action::Parts(Alteration::Misplaced)),
        operator("swapped-part", Action::Parts(Alteration::Swapped)),
        operator("tinted", Action::Hue),
    ]
}

/// A hill made of a few round ones: 1 at its top, falling to 0.
struct Lobes {
    hills: Vec<(Point, f32)>,
}

impl Lobes {
    fn drawn(centre: Point, radius: f32, rng: &mut ChaCha8Rng) -> Self {
        let mut hill = |_| {
            let away =
                Point::new(radius * rng.random_range(0.0..0.5), 0.0).turned(rng.random_range(0.0..TAU));
            (centre + away, radius * rng.random_range(0.5..0.8))
        };
        Self { hills: (0..3).map(&mut hill).collect() }
    }

    fn height(&self, at: Point) -> f32 {
        let flat = self.hills.iter().map(|(top, radius)| {
            let off = at - *top;
            1.0 - (-off.dot(off) / (radius * radius)).exp()
        });
        1.0 - flat.product::<f32>()
    }

    /// Covered where the hill is higher than about 0.4, over some pixels.
    fn cover(&self, at: Point) -> f32 {
        ((self.height(at) - 0.4) * 5.0 + 0.5).clamp(0.0, 1.0)
    }
}

/// A jagged walk with branches, dark, with a light lip.
fn crack(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let mut edit = Edit::none(scene.canvas);
    let length = scene.length(28.0 + 95.0 * strength);
    let width = scene.length(0.7 + 1.3 * strength).max(0.7);
    let heading = rng.random_range(0.0..TAU);
    let start = (scene.place)(rng) - Point::new(length / 2.0, 0.0).turned(heading);
    let dark = 0.25 + 0.6 * strength;
    let mut walks = vec![(start, heading, length, width)];
    while let Some((mut at, mut heading, mut left, width)) = walks.pop() {
        while left > 0.0 {
            heading += rng.random_range(-0.75..0.75);
            let piece = scene.length(rng.random_range(3.0..7.0));
            let half = width * (0.4 + 0.6 * (left / length).min(1.0));
            let lip = Point::new(0.0, half).turned(heading);
            for step in 0..(piece / 0.6) as usize {
                let here = at + Point::new(0.6 * step as f32, 0.0).turned(heading);
                edit.paint(here, half + 2.0, |pixel, _| {
                    let original = scene.canvas.sample(pixel);
                    let colour = original.mix(Rgb::gray(0.03), dark);
                    let beyond = ((pixel - here).dot(lip) / (half * half) - 0.8).clamp(0.0, 1.0);
                    (
                        colour + Rgb::gray(0.15 * beyond),
                        (half + 0.5 - (pixel - here).length()).clamp(0.0, 1.0),
                    )
                });
            }
            at = at + Point::new(piece, 0.0).turned(heading);
            left -= piece;
            if walks.len() < 4 && rng.random_bool(0.12) {
                let aside = if rng.random_bool(0.5) { 0.9 } else { -0.9 };
                walks.push((at, heading + aside, left * 0.5, width * 0.7));
            }
        }
    }
    edit
}

/// A hollow: one flank light, the other dark.
fn dent(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let mut edit = Edit::none(scene.canvas);
    let centre = (scene.place)(rng);
    let radius = scene.length(9.0 + 20.0 * strength);
    let lobes = Lobes::drawn(centre, radius, rng);
    let light = Point::new(radius * 0.25, 0.0).turned(rng.random_range(PI..1.5 * PI));
    let depth = 0.45 + 0.75 * strength;
    edit.paint(centre, radius * 2.2, |pixel, below| {
        let slope = lobes.height(pixel + light) - lobes.height(pixel - light);
        let pressed = scene.canvas.sample(pixel + (centre - pixel) * (0.12 * lobes.height(pixel)));
        let shade = 1.0 - depth * slope;
        (below.mix(pressed, 0.8) * shade + Rgb::gray(0.04 * (shade - 1.0)), lobes.cover(pixel))
    });
    edit
}

/// A thread drawn tight: the surface is pulled towards a line.
fn thread_pull(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let mut edit = Edit::none(scene.canvas);
    let centre = (scene.place)(rng);
    let (length, width) = (scene.length(30.0 + 70.0 * strength), scene.length(5.0 + 7.0 * strength));
    let pull = scene.length(3.0 + 8.0 * strength);
    // Threads run along the axes of a scene: the line does, a little off.
    let turn = if rng.random_bool(0.5) { 0.0 } else { PI / 2.0 } + rng.random_range(-0.12..0.12);
    edit.paint(centre, length, |pixel, _| {
        let at = (pixel - centre).turned(-turn);
        let (along, across) = (at.x / length * 2.0, at.y / width);
        let near = (1.0 - along * along).max(0.0) * (-across * across).exp();
        let moved = Point::new(pull * near, pull * 0.6 * near * across.signum()).turned(turn);
        let tight = 1.0 + 0.25 * strength * (-4.0 * across * across).exp() * (1.0 - along * along).max(0.0);
        (scene.canvas.sample(pixel + moved) * tight, ((near - 0.2) * 6.0).clamp(0.0, 1.0))
    });
    edit
}

/// Wiped while wet: drawn out along one direction.
fn print_smear(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    const TAPS: usize = 24;
    let mut edit = Edit::none(scene.canvas);
    let centre = (scene.place)(rng);
    let radius = scene.length(13.0 + 22.0 * strength);
    let lobes = Lobes::drawn(centre, radius, rng);
    let wipe = Point::new(scene.length(7.0 + 26.0 * strength), 0.0).turned(rng.random_range(0.0..TAU));
    let dirt = Rgb::gray(-0.03 - 0.05 * strength);
    edit.paint(centre, radius * 2.0, |pixel, _| {
        let tap = |number: usize| scene.canvas.sample(pixel - wipe * (number as f32 / TAPS as f32));
        let drawn_out =
            (0..TAPS).map(tap).fold(Rgb::default(), |sum, colour| sum + colour) * (1.0 / TAPS as f32);
        (drawn_out + dirt, lobes.cover(pixel))
    });
    edit
}

/// Worn smooth: fine detail is gone.
fn blur(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let centre = (scene.place)(rng);
    let radius = scene.length(15.0 + 25.0 * strength);
    let lobes = Lobes::drawn(centre, radius, rng);
    let soft = blurred(scene.canvas, scene.length(1.2 + 3.5 * strength));
    let mut edit = Edit::none(scene.canvas);
    edit.paint(centre, radius * 2.0, |pixel, _| (soft.sample(pixel), lobes.cover(pixel)));
    edit
}

/// Contrast to the mean around is lower or higher than it should be.
fn contrast(scene: &Scene<'_>, rng: &mut ChaCha8Rng, strength: f32) -> Edit {
    let centre = (scene.place)(rng);
    let radius = scene.length(15.0 + 25.0 * strength);
    let lobes = Lobes::drawn(centre, radius, rng);
    let mean = blurred(scene.canvas, scene.length(9.0));
    let factor = if rng.random_bool(0.5) { 0.65 - 0.5 * strength } else { 1.5 + 1.1 * strength };
    let mut edit = Edit::none(scene.canvas);
    edit.paint(centre, radius * 2.0, |pixel, below| {
        let mean = mean.sample(pixel);
        (mean + (below - mean) * factor, lobes.cover(pixel))
    });
    edit
}
