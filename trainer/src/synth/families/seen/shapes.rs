//! Parts drawn from signed distances: soft edges and bevels come with the distance.

use std::f32::consts::TAU;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::noise::Lattice;
use crate::synth::canvas::{Canvas, Point, Rgb, smooth};
use crate::synth::families::{Change, Instance, Part, Shot};

/// Outline of a part of size 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outline {
    /// A disc with a hole, which may be 0.
    Ring { hole: f32 },
    /// A rectangle with rounded corners; height as a share of the width.
    Plate { height: f32, corner: f32 },
    /// A disc with teeth.
    Gear { teeth: f32, depth: f32 },
    /// A pill in two colours; height as a share of the length.
    Capsule { height: f32 },
    /// Six sides and a hole.
    Nut { hole: f32 },
}

/// A part of a scene.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) outline: Outline,
    pub(super) centre: Point,
    /// Half of its width.
    pub(super) size: f32,
    pub(super) turn: f32,
    pub(super) colour: Rgb,
    /// Colour of the second half of capsules, of marks on the others.
    pub(super) second: Rgb,
    /// Width of the bevel in pixels.
    pub(super) bevel: f32,
}

impl Part for Piece {
    fn centre(&mut self) -> &mut Point {
        &mut self.centre
    }

    fn turn(&mut self) -> &mut f32 {
        &mut self.turn
    }

    fn extent(&self) -> f32 {
        self.size
    }

    fn look_like(&mut self, other: &Self) {
        *self = Self { centre: self.centre, turn: self.turn, ..other.clone() };
    }
}

impl Piece {
    /// Distance to the edge in pixels, negative inside.
    fn distance(&self, place: Point) -> f32 {
        let at = (place - self.centre).turned(-self.turn) * (1.0 / self.size);
        let distance = match self.outline {
            Outline::Ring { hole } => (at.length() - 1.0).max(hole - at.length()),
            Outline::Plate { height, corner } => {
                let over =
                    Point::new((at.x.abs() - 1.0 + corner).max(0.0), (at.y.abs() - height + corner).max(0.0));
                let inside = (at.x.abs() - 1.0).max(at.y.abs() - height).min(0.0);
                if over == Point::default() { inside } else { over.length() - corner }
            }
            Outline::Gear { teeth, depth } => {
                let wave = (at.y.atan2(at.x) * teeth).sin();
                at.length() - 1.0 + depth * (1.0 - smooth(-0.35, 0.35, wave))
            }
            Outline::Capsule { height } => {
                let middle = at.x.clamp(height - 1.0, 1.0 - height);
                (at - Point::new(middle, 0.0)).length() - height
            }
            Outline::Nut { hole } => {
                let sector = TAU / 6.0;
                let angle = at.y.atan2(at.x).rem_euclid(sector) - sector / 2.0;
                (at.length() * angle.cos() - 0.87).max(hole - at.length())
            }
        };
        distance * self.size
    }

    fn colour_at(&self, place: Point, grain: f32) -> Rgb {
        let across = (place - self.centre).turned(-self.turn).x;
        let colour = match self.outline {
            Outline::Capsule { .. } => self.colour.mix(self.second, smooth(-0.8, 0.8, across)),
            Outline::Plate { .. } => {
                let mark = smooth(0.6, 1.4, (across + 0.72 * self.size).abs());
                self.second.mix(self.colour, mark)
            }
            Outline::Ring { .. } | Outline::Gear { .. } | Outline::Nut { .. } => self.colour,
        };
        colour + Rgb::gray(grain)
    }
}

/// Parts on a ground.
pub(super) struct Assembly {
    pub(super) ground: Rgb,
    pub(super) grain: Lattice,
    pub(super) grain_strength: f32,
    pub(super) pieces: Vec<Piece>,
    /// Pieces at the front of the list that carry the others.
    pub(super) fixed: usize,
}

impl Instance for Assembly {
    fn render(&self, shot: &Shot, change: Option<&Change>) -> Canvas {
        let mut pieces = self.pieces.clone();
        if let Some(change) = change {
            change.act_on(&mut pieces, self.fixed);
        }
        let fresh = Point::new((shot.detail & 0xFFFF) as f32, (shot.detail >> 16 & 0xFFFF) as f32);
        let grain = |place: Point| self.grain.octaves((place + fresh) * 0.2, 2) * self.grain_strength;
        let mut canvas =
            Canvas::painted(shot.side, |pixel| self.ground + Rgb::gray(grain(shot.to_scene(pixel))));
        for piece in &pieces {
            piece.paint(shot, &mut canvas, &grain);
        }
        canvas
    }

    fn has_parts(&self) -> bool {
        true
    }

    fn place(&self, shot: &Shot, rng: &mut ChaCha8Rng) -> Point {
        let piece = &self.pieces[rng.random_range(0..self.pieces.len())];
        let aside = Point::new(rng.random_range(0.2..0.75) * piece.size, 0.0);
        let inside = match piece.outline {
            Outline::Plate { height, .. } | Outline::Capsule { height } => aside * height,
            Outline::Ring { .. } | Outline::Gear { .. } | Outline::Nut { .. } => aside,
        };
        shot.to_pixel(piece.centre + inside.turned(rng.random_range(0.0..TAU)))
    }
}

impl Piece {
    fn paint(&self, shot: &Shot, canvas: &mut Canvas, grain: &impl Fn(Point) -> f32) {
        let middle = shot.to_pixel(self.centre);
        let reach = (self.size * 1.5 + 6.0) * shot.zoom;
        canvas.touch(middle, reach, |pixel, below| {
            let place = shot.to_scene(pixel);
            let shadow = smooth(4.0, -3.0, self.distance(place - Point::new(2.5, 3.0)));
            let below = below * (1.0 - 0.35 * shadow);
            let distance = self.distance(place);
            if distance > 1.0 {
                return below;
            }
            let lit = self.distance(place + Point::new(0.7, 0.7)) - distance;
            let bevel = smooth(-self.bevel, 0.0, distance) * lit * 0.35;
            let colour = self.colour_at(place, 0.6 * grain(place) - bevel);
            below.mix(colour, smooth(0.7, -0.7, distance))
        });
    }
}
