//! Held-out objects: a gauge, a fern, cutlery.

use std::f32::consts::{PI, TAU};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::polygons::{Arrangement, Figure};
use crate::synth::canvas::{Point, Rgb};

fn disc(radius: f32, corners: usize) -> Vec<Point> {
    (0..corners).map(|number| Point::new(radius, 0.0).turned(number as f32 / corners as f32 * TAU)).collect()
}

/// Points above and below a line along x, `width` of each station from 0 to 1.
fn spindle(length: f32, stations: usize, width: impl Fn(f32) -> f32) -> Vec<Point> {
    let share = |number: usize| number as f32 / (stations - 1) as f32;
    let at = |number: usize, sign: f32| {
        Point::new((share(number) - 0.5) * length, sign * width(share(number)) / 2.0)
    };
    let above = (0..stations).map(|number| at(number, -1.0));
    above.chain((0..stations).rev().map(|number| at(number, 1.0))).collect()
}

fn figure(corners: Vec<Point>, centre: Point, turn: f32, colour: Rgb) -> Figure {
    Figure { corners, centre, turn, colour }
}

fn ground(rng: &mut ChaCha8Rng, light: std::ops::Range<f32>) -> (Rgb, Rgb) {
    let upper = Rgb::gray(rng.random_range(light)) + Rgb::drawn(rng, -0.06..0.06);
    (upper, upper * rng.random_range(0.75..0.95))
}

/// A round instrument: face, scale, coloured zone, hand.
pub(super) fn gauge(rng: &mut ChaCha8Rng) -> Arrangement {
    let face = Rgb::gray(rng.random_range(0.75..0.92));
    let case = Rgb::gray(rng.random_range(0.1..0.35)) + Rgb::drawn(rng, -0.08..0.08);
    let ink = Rgb::gray(0.12);
    let radius = rng.random_range(78.0..92.0);
    let mut figures = vec![
        figure(disc(radius, 64), Point::default(), 0.0, case),
        figure(disc(radius * 0.88, 64), Point::default(), 0.0, face),
    ];
    let zone = Rgb([0.8, 0.2, 0.15]).turned(rng.random_range(-1.5..1.5));
    let ticks = rng.random_range(7..13);
    for tick in 0..ticks {
        let angle = PI * 0.75 + 1.5 * PI * tick as f32 / (ticks - 1) as f32;
        let hot = tick + 3 >= ticks;
        let (length, width) = if hot { (18.0, 9.0) } else { (13.0, 4.5) };
        let place = Point::new(radius * 0.72, 0.0).turned(angle);
        let colour = if hot { zone } else { ink };
        figures.push(figure(spindle(length, 2, |_| width), place, angle, colour));
    }
    let window = spindle(34.0, 2, |_| 15.0);
    figures.push(figure(window, Point::new(0.0, radius * 0.42), 0.0, face * 0.7));
    let heading = PI * rng.random_range(0.9..1.6);
    let hand = spindle(radius * 0.62, 5, |share| 11.0 * (1.0 - share) + 2.0);
    figures.push(figure(hand, Point::new(radius * 0.24, 0.0).turned(heading), heading, ink));
    figures.push(figure(disc(8.0, 24), Point::default(), 0.0, case));
    Arrangement { ground: ground(rng, 0.45..0.75), figures, fixed: 2 }
}

/// A stem with leaflets in pairs.
pub(super) fn fern(rng: &mut ChaCha8Rng) -> Arrangement {
    let green = Rgb([0.25, 0.5, 0.22]).turned(rng.random_range(-0.7..0.7)) * rng.random_range(0.7..1.2);
    let stem = spindle(200.0, 6, |share| 7.0 - 4.0 * share);
    let mut figures = vec![figure(stem, Point::default(), -PI / 2.0, green * 0.7)];
    let pairs = rng.random_range(5..8);
    let (lean, plump) = (rng.random_range(0.5..1.0), rng.random_range(0.25..0.45));
    for pair in 0..pairs {
        let share = (pair as f32 + 0.5) / pairs as f32;
        let length = 78.0 * (1.0 - 0.6 * share) + 8.0;
        for sign in [-1.0, 1.0] {
            let heading = -PI / 2.0 + sign * lean;
            let leaf =
                spindle(length, 9, |share| plump * length * (PI * share).sin().max(0.0) * (1.2 - share));
            let root = Point::new(0.0, 85.0 - 165.0 * share);
            let middle = root + Point::new(length * 0.48, 0.0).turned(heading);
            let tone = rng.random_range(-0.04..0.04);
            figures.push(figure(leaf, middle, heading, green + Rgb::gray(tone)));
        }
    }
    Arrangement { ground: ground(rng, 0.7..0.9), figures, fixed: 1 }
}

/// Knives, forks and spoons in a row.
pub(super) fn cutlery(rng: &mut ChaCha8Rng) -> Arrangement {
    let steel = Rgb::gray(rng.random_range(0.6..0.8)) + Rgb::drawn(rng, -0.04..0.04);
    let handle = Rgb::gray(rng.random_range(0.15..0.5)) + Rgb::drawn(rng, -0.15..0.15);
    let mut figures = Vec::new();
    let count = rng.random_range(3..=4);
    let first = rng.random_range(0..3);
    for number in 0..count {
        let x = (number as f32 + 0.5 - count as f32 / 2.0) * 200.0 / count as f32;
        let upright = -PI / 2.0;
        let place = |y: f32| Point::new(x, y);
        let grip = spindle(88.0, 7, |share| 13.0 - 6.0 * share);
        figures.push(figure(grip, place(52.0), upright, handle));
        match (number + first) % 3 {
            0 => {
                let blade = spindle(104.0, 9, |share| 15.0 * (1.0 - share.powi(6)) + 1.0);
                figures.push(figure(blade, place(-44.0), upright, steel));
            }
            1 => {
                let bowl = spindle(58.0, 15, |share| 33.0 * (PI * share).sin().max(0.0).sqrt());
                figures.push(figure(spindle(52.0, 2, |_| 6.0), place(-16.0), upright, steel));
                figures.push(figure(bowl, place(-66.0), upright, steel));
            }
            _ => {
                figures.push(figure(spindle(54.0, 2, |_| 6.0), place(-16.0), upright, steel));
                figures.push(figure(spindle(14.0, 2, |_| 30.0), place(-44.0), upright, steel));
                for tine in [-12.0, -4.0, 4.0, 12.0] {
                    let tine = figure(spindle(44.0, 3, |_| 4.5), Point::new(x + tine, -70.0), upright, steel);
                    figures.push(tine);
                }
            }
        }
    }
    Arrangement { ground: ground(rng, 0.2..0.8), figures, fixed: 0 }
}
