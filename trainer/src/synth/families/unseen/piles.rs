//! Things strewn one on another: fibres of felt, pebbles of a beach.

use std::f32::consts::TAU;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::synth::canvas::{Canvas, Point, Rgb};
use crate::synth::families::{Change, Instance, Shot};

/// Matted fibres.
pub(super) struct Felt {
    count: usize,
    length: f32,
    width: f32,
    wool: Rgb,
    spread: f32,
}

impl Felt {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        Self {
            count: rng.random_range(900..1500),
            length: rng.random_range(25.0..60.0),
            width: rng.random_range(0.9..1.8),
            wool: Rgb::gray(rng.random_range(0.3..0.7)) + Rgb::drawn(rng, -0.2..0.2),
            spread: rng.random_range(0.1..0.22),
        }
    }
}

impl Instance for Felt {
    fn render(&self, shot: &Shot, _: Option<&Change>) -> Canvas {
        let mut rng = ChaCha8Rng::seed_from_u64(shot.detail);
        let mut canvas = Canvas::filled(shot.side, self.wool);
        let side = shot.side as f32;
        let around = -0.1 * side..1.1 * side;
        for _ in 0..self.count {
            let tone = rng.random_range(-self.spread..self.spread);
            let fibre = self.wool + Rgb::gray(tone);
            let mut at = Point::new(rng.random_range(around.clone()), rng.random_range(around.clone()));
            let mut heading = rng.random_range(0.0..TAU);
            let bend = rng.random_range(-0.06..0.06);
            let width = self.width * shot.zoom;
            // Steps of about a width: the dabs of a fibre just overlap.
            let step = Point::new(width.max(1.0), 0.0);
            for _ in 0..(self.length * shot.zoom / step.x) as usize {
                canvas.touch(at, width, |pixel, below| {
                    let cover = (width + 0.5 - (pixel - at).length()).clamp(0.0, 0.6);
                    below.mix(fibre, cover)
                });
                at = at + step.turned(heading);
                heading += bend;
            }
        }
        canvas
    }
}

/// Stones of two sorts.
pub(super) struct Pebbles {
    size: f32,
    sorts: [Rgb; 2],
    flatness: f32,
    gloss: f32,
}

impl Pebbles {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let first = Rgb::gray(rng.random_range(0.35..0.7)) + Rgb::drawn(rng, -0.12..0.12);
        Self {
            size: rng.random_range(8.0..17.0),
            sorts: [first, first + Rgb::gray(rng.random_range(-0.2..0.2)) + Rgb::drawn(rng, -0.06..0.06)],
            flatness: rng.random_range(0.55..0.95),
            gloss: rng.random_range(0.1..0.35),
        }
    }
}

impl Instance for Pebbles {
    fn render(&self, shot: &Shot, _: Option<&Change>) -> Canvas {
        let mut rng = ChaCha8Rng::seed_from_u64(shot.detail);
        let mut canvas = Canvas::filled(shot.side, self.sorts[0] * 0.3);
        let side = shot.side as f32;
        let size = self.size * shot.zoom;
        // Three layers of stones: the ground hardly shows.
        let count = (3.0 * side * side / (size * size * 2.2)) as usize;
        let around = -size..side + size;
        for _ in 0..count {
            let centre = Point::new(rng.random_range(around.clone()), rng.random_range(around.clone()));
            let radius = size * rng.random_range(0.65..1.35);
            let turn = rng.random_range(0.0..TAU);
            let flat = rng.random_range(self.flatness * 0.8..self.flatness);
            let stone =
                self.sorts[usize::from(rng.random_bool(0.35))] + Rgb::gray(rng.random_range(-0.06..0.06));
            let gloss = self.gloss;
            canvas.touch(centre, radius + 2.0, |pixel, below| {
                let at = (pixel - centre).turned(turn) * (1.0 / radius);
                let reach = Point::new(at.x, at.y / flat).length();
                let cover = ((1.0 - reach) * radius + 0.5).clamp(0.0, 1.0);
                if cover == 0.0 {
                    let shadow = (1.0 - (reach - 1.0) * radius / 2.0).clamp(0.0, 1.0);
                    return below * (1.0 - 0.3 * shadow);
                }
                let towards_light = (centre - pixel).dot(Point::new(0.7, 0.7)) / radius;
                below
                    .mix(stone * (1.0 - 0.25 * reach * reach) + Rgb::gray(gloss * 0.5 * towards_light), cover)
            });
        }
        canvas
    }
}
