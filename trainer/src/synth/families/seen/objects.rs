//! Objects of training: how their parts are laid out.

use std::f32::consts::TAU;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::noise::{Lattice, two_colours};
use super::shapes::{Assembly, Outline, Piece};
use crate::synth::canvas::{Point, Rgb};

/// An empty ground in a colour away from `colour`.
fn ground(rng: &mut ChaCha8Rng, colour: Rgb) -> Assembly {
    let light = if colour.luma() > 0.5 { rng.random_range(0.12..0.3) } else { rng.random_range(0.65..0.85) };
    let tint = Rgb::drawn(rng, -0.08..0.08);
    Assembly {
        ground: Rgb::gray(light) + tint,
        grain: Lattice::new(rng),
        grain_strength: rng.random_range(0.02..0.08),
        pieces: Vec::new(),
        fixed: 0,
    }
}

/// A few washers and nuts lying side by side.
pub(super) fn washers(rng: &mut ChaCha8Rng) -> Assembly {
    let (colour, second) = two_colours(rng, 0.15..0.3);
    let mut assembly = ground(rng, colour);
    let spread = rng.random_range(48.0..60.0);
    let turn = rng.random_range(0.0..TAU);
    let count = rng.random_range(3..=4);
    for number in 0..count {
        let angle = turn + number as f32 / count as f32 * TAU;
        let hole = rng.random_range(0.3..0.6);
        let nut = number % 2 == 1;
        let outline = if nut { Outline::Nut { hole } } else { Outline::Ring { hole } };
        assembly.pieces.push(Piece {
            outline,
            centre: Point::new(spread, 0.0).turned(angle),
            size: rng.random_range(26.0..36.0),
            turn: rng.random_range(0.0..TAU),
            colour: if nut { second } else { colour },
            second,
            bevel: rng.random_range(3.0..7.0),
        });
    }
    assembly
}

/// A gear with a hub and holes between them.
pub(super) fn gear(rng: &mut ChaCha8Rng) -> Assembly {
    let (colour, second) = two_colours(rng, 0.15..0.3);
    let mut assembly = ground(rng, colour);
    let size = rng.random_range(72.0..88.0);
    let piece = |outline, centre, size, colour, bevel| Piece {
        outline,
        centre,
        size,
        turn: 0.0,
        colour,
        second,
        bevel,
    };
    let teeth = rng.random_range(10..22) as f32;
    let depth = rng.random_range(0.12..0.2);
    assembly.pieces.push(piece(Outline::Gear { teeth, depth }, Point::default(), size, colour, 5.0));
    let (holes, ring) = (rng.random_range(3..7), size * rng.random_range(0.5..0.6));
    let bore = size * rng.random_range(0.12..0.17);
    let ground = assembly.ground * 0.8;
    for number in 0..holes {
        let centre = Point::new(ring, 0.0).turned(number as f32 / holes as f32 * TAU);
        assembly.pieces.push(piece(Outline::Ring { hole: 0.0 }, centre, bore, ground, 2.0));
    }
    let hub = size * rng.random_range(0.24..0.3);
    assembly.pieces.push(piece(Outline::Nut { hole: 0.4 }, Point::default(), hub, second, 4.0));
    assembly.fixed = 1;
    assembly
}

/// Pills in two colours, in rows.
pub(super) fn capsules(rng: &mut ChaCha8Rng) -> Assembly {
    let (colour, _) = two_colours(rng, 0.15..0.3);
    let second = colour.turned(rng.random_range(1.0..5.0)) + Rgb::gray(rng.random_range(-0.15..0.15));
    let mut assembly = ground(rng, colour);
    let (columns, rows) = (rng.random_range(1..=2), rng.random_range(3..=4));
    let (dx, dy) = (180.0 / columns as f32, 180.0 / rows as f32);
    let height = rng.random_range(0.32..0.42);
    let size = (dx * 0.42).min(dy * 0.42 / height).min(62.0);
    for (column, row) in (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row))) {
        let place = |number: i32, count: i32, step: f32| (number as f32 + 0.5 - count as f32 / 2.0) * step;
        assembly.pieces.push(Piece {
            outline: Outline::Capsule { height },
            centre: Point::new(place(column, columns, dx), place(row, rows, dy)),
            size,
            turn: rng.random_range(-0.12..0.12),
            colour,
            second,
            bevel: height * size,
        });
    }
    assembly
}

/// Chips, pads and capacitors on a board, by a simple grammar: rows of one kind each.
pub(super) fn circuit_board(rng: &mut ChaCha8Rng) -> Assembly {
    let board = Rgb([0.08, 0.3, 0.16]).turned(rng.random_range(-1.2..1.2));
    let mut assembly = ground(rng, board);
    let piece = |outline, centre, size, colour, second, bevel| Piece {
        outline,
        centre,
        size,
        turn: 0.0,
        colour,
        second,
        bevel,
    };
    let plate = Outline::Plate { height: rng.random_range(0.75..0.95), corner: 0.06 };
    assembly.pieces.push(piece(plate, Point::default(), 98.0, board, board * 1.15, 3.0));
    assembly.fixed = 1;
    for row in 0..4 {
        let y = -54.0 + 36.0 * row as f32;
        let kind = rng.random_range(0..3);
        let count = [rng.random_range(1..=2), rng.random_range(3..=4), rng.random_range(5..=6)][kind];
        let tint = rng.random_range(-0.04..0.04);
        for number in 0..count {
            let x = (number as f32 + 0.5 - count as f32 / 2.0) * 150.0 / count as f32;
            let centre = Point::new(x, y);
            assembly.pieces.push(match kind {
                0 => {
                    let chip = Outline::Plate { height: 0.42, corner: 0.05 };
                    let black = Rgb::gray(0.14 + tint);
                    piece(chip, centre, 28.0, black, Rgb::gray(0.55), 2.0)
                }
                1 => {
                    let can = Rgb([0.72, 0.72, 0.76]) + Rgb::gray(tint);
                    piece(Outline::Ring { hole: 0.0 }, centre, 12.0, can, can, 5.0)
                }
                _ => {
                    let brown = Rgb([0.62, 0.47, 0.3]) + Rgb::gray(tint);
                    piece(
                        Outline::Plate { height: 0.5, corner: 0.1 },
                        centre,
                        9.0,
                        brown,
                        Rgb::gray(0.85),
                        1.5,
                    )
                }
            });
        }
    }
    assembly
}

/// Keys in a grid on a panel.
pub(super) fn keypad(rng: &mut ChaCha8Rng) -> Assembly {
    let (panel, _) = two_colours(rng, 0.15..0.3);
    let mut assembly = ground(rng, panel);
    let (key, mark) = two_colours(rng, 0.3..0.5);
    let corner = rng.random_range(0.1..0.45);
    let piece = |outline, centre, size, colour, second| Piece {
        outline,
        centre,
        size,
        turn: 0.0,
        colour,
        second,
        bevel: 4.0,
    };
    let plate = Outline::Plate { height: 1.0, corner: 0.12 };
    assembly.pieces.push(piece(plate, Point::default(), 92.0, panel, panel));
    assembly.fixed = 1;
    let count = rng.random_range(3..=4);
    let step = 164.0 / count as f32;
    for (column, row) in (0..count).flat_map(|row| (0..count).map(move |column| (column, row))) {
        let place = |number: i32| (number as f32 + 0.5 - count as f32 / 2.0) * step;
        let special = row == count - 1 && column != 1;
        let colour = if special { key.turned(2.0) } else { key };
        let outline = Outline::Plate { height: rng.random_range(0.82..0.86), corner };
        assembly.pieces.push(piece(outline, Point::new(place(column), place(row)), step * 0.4, colour, mark));
    }
    assembly
}
