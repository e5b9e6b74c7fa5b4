//! Parts drawn as polygons, row by row, with four samples a pixel in each direction.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::synth::canvas::{Canvas, Point, Rgb};
use crate::synth::families::{Change, Instance, Part, Shot};

/// Sub-rows of a pixel row: coverage in steps of a quarter down and exactly across.
const SUB_ROWS: usize = 4;

/// A part: corners around its own centre.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub(super) corners: Vec<Point>,
    pub(super) centre: Point,
    pub(super) turn: f32,
    pub(super) colour: Rgb,
}

impl Part for Figure {
    fn centre(&mut self) -> &mut Point {
        &mut self.centre
    }

    fn turn(&mut self) -> &mut f32 {
        &mut self.turn
    }

    fn extent(&self) -> f32 {
        self.corners.iter().map(|corner| corner.length()).fold(0.0, f32::max)
    }

    fn look_like(&mut self, other: &Self) {
        *self = Self { centre: self.centre, turn: self.turn, ..other.clone() };
    }
}

/// Figures on a ground that is a plain colour with a gradient.
pub(super) struct Arrangement {
    pub(super) ground: (Rgb, Rgb),
    pub(super) figures: Vec<Figure>,
    /// Figures at the front of the list that carry the others.
    pub(super) fixed: usize,
}

impl Instance for Arrangement {
    fn render(&self, shot: &Shot, change: Option<&Change>) -> Canvas {
        let mut figures = self.figures.clone();
        if let Some(change) = change {
            change.act_on(&mut figures, self.fixed);
        }
        let (upper, lower) = self.ground;
        let side = shot.side as f32;
        let mut canvas = Canvas::painted(shot.side, |pixel| upper.mix(lower, pixel.y / side));
        for figure in &figures {
            fill(&mut canvas, figure, shot);
        }
        canvas
    }

    fn has_parts(&self) -> bool {
        true
    }

    fn place(&self, shot: &Shot, rng: &mut ChaCha8Rng) -> Point {
        let figure = &self.figures[rng.random_range(0..self.figures.len())];
        let corner = figure.corners[rng.random_range(0..figure.corners.len())];
        let inside = (corner * rng.random_range(0.1..0.7)).turned(figure.turn);
        shot.to_pixel(figure.centre + inside)
    }
}

/// Paints one figure, lit a little from the left.
fn fill(canvas: &mut Canvas, figure: &Figure, shot: &Shot) {
    let corner = |corner: &Point| shot.to_pixel(figure.centre + corner.turned(figure.turn));
    let corners: Vec<Point> = figure.corners.iter().map(corner).collect();
    let span = |of: fn(&Point) -> f32| {
        let values = corners.iter().map(of);
        (values.clone().fold(f32::INFINITY, f32::min), values.fold(f32::NEG_INFINITY, f32::max))
    };
    let ((left, right), (top, bottom)) = (span(|corner| corner.x), span(|corner| corner.y));
    let side = canvas.side;
    let rows = top.floor().clamp(0.0, side as f32) as usize..bottom.ceil().clamp(0.0, side as f32) as usize;
    let mut cover = vec![0.0; side];
    for row in rows {
        cover.fill(0.0);
        for sub_row in 0..SUB_ROWS {
            let y = row as f32 + (sub_row as f32 + 0.5) / SUB_ROWS as f32;
            for crossing in crossings(&corners, y).chunks_exact(2) {
                add_span(&mut cover, crossing[0], crossing[1]);
            }
        }
        for (column, cover) in cover.iter().enumerate().filter(|(_, cover)| **cover > 0.0) {
            let across = (column as f32 - left) / (right - left).max(1.0);
            let lit = figure.colour + Rgb::gray(0.08 * (0.5 - across));
            let pixel = &mut canvas.pixels[row * side + column];
            *pixel = pixel.mix(lit, cover / SUB_ROWS as f32);
        }
    }
}

/// Where the outline crosses a row, from left to right.
fn crossings(corners: &[Point], y: f32) -> Vec<f32> {
    let edges = corners.iter().zip(corners.iter().cycle().skip(1));
    let mut crossings: Vec<f32> = edges
        .filter(|(from, to)| (from.y <= y) != (to.y <= y))
        .map(|(from, to)| from.x + (y - from.y) / (to.y - from.y) * (to.x - from.x))
        .collect();
    crossings.sort_by(f32::total_cmp);
    crossings
}

/// Adds a span's share of each pixel of a row.
fn add_span(cover: &mut [f32], from: f32, to: f32) {
    let last = cover.len() as f32;
    let (from, to) = (from.clamp(0.0, last), to.clamp(0.0, last));
    let first = from as usize;
    for (column, cover) in cover.iter_mut().enumerate().take(to.ceil() as usize).skip(first) {
        let share = to.min(column as f32 + 1.0) - from.max(column as f32);
        *cover += share.max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_covers_its_area() {
        let corners = [(-3.0, -2.0), (3.0, -2.0), (3.0, 2.0), (-3.0, 2.0)].map(|(x, y)| Point::new(x, y));
        let figure =
            Figure { corners: corners.to_vec(), centre: Point::default(), turn: 0.0, colour: Rgb::gray(1.0) };
        let shot = Shot { side: 20, offset: Point::new(0.3, 0.25), angle: 0.0, zoom: 1.0, detail: 0 };
        let mut canvas = Canvas::filled(20, Rgb::gray(0.0));
        fill(&mut canvas, &figure, &shot);
        let area: f32 = canvas.pixels.iter().map(|pixel| pixel.luma()).sum();
        assert!((area - 24.0).abs() < 0.5, "the square covers {area} pixels, must be about 24");
    }
}
