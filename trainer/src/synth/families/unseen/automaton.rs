//! Camouflage: cells that join the majority around them until blobs stand.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::synth::canvas::{Canvas, Rgb};
use crate::synth::families::{Change, Instance, Shot};

/// Cells along a side of the torus on which the automaton runs: more than an image shows.
const CELLS: usize = 96;

/// Cloth printed in three colours.
pub(super) struct Camouflage {
    /// Pixels of a cell.
    cell: f32,
    rounds: usize,
    inks: [Rgb; 3],
}

impl Camouflage {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let first = Rgb::gray(rng.random_range(0.25..0.7)) + Rgb::drawn(rng, -0.15..0.15);
        let turn = rng.random_range(-0.8..0.8);
        let step = rng.random_range(0.1..0.18);
        let lighter = first.turned(turn) + Rgb::gray(step);
        let darker = first.turned(-turn) - Rgb::gray(step);
        Self {
            cell: rng.random_range(3.2..5.5),
            rounds: rng.random_range(3..9),
            inks: [first, lighter, darker],
        }
    }

    /// The ink of each cell after some rounds of majority.
    fn grow(&self, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let mut cells: Vec<usize> = (0..CELLS * CELLS).map(|_| rng.random_range(0..3)).collect();
        for _ in 0..self.rounds {
            cells = (0..cells.len()).map(|cell| majority(&cells, cell)).collect();
        }
        cells
    }
}

/// The commonest ink of a cell's eight neighbours, its own counting twice.
fn majority(cells: &[usize], cell: usize) -> usize {
    let (x, y) = (cell % CELLS, cell / CELLS);
    let mut votes = [0; 3];
    votes[cells[cell]] += 1;
    for row in [y + CELLS - 1, y, y + 1] {
        for column in [x + CELLS - 1, x, x + 1] {
            votes[cells[row % CELLS * CELLS + column % CELLS]] += 1;
        }
    }
    let most = votes.iter().max().copied().unwrap_or(0);
    votes.iter().position(|&vote| vote == most).unwrap_or(0)
}

impl Instance for Camouflage {
    fn render(&self, shot: &Shot, _: Option<&Change>) -> Canvas {
        let cells = self.grow(&mut ChaCha8Rng::seed_from_u64(shot.detail));
        let wrapped = |place: f32| place.rem_euclid(CELLS as f32);
        Canvas::painted(shot.side, |pixel| {
            let place = shot.to_scene(pixel) * (1.0 / self.cell);
            let (x, y) = (wrapped(place.x), wrapped(place.y));
            let (left, top) = (x.floor(), y.floor());
            let ink = |dx: usize, dy: usize| {
                self.inks[cells[(top as usize + dy) % CELLS * CELLS + (left as usize + dx) % CELLS]]
            };
            // Steep mixing rounds the corners of the cells off.
            let steep = |share: f32| ((share - 0.5) * 2.5 + 0.5).clamp(0.0, 1.0);
            let upper = ink(0, 0).mix(ink(1, 0), steep(x - left));
            let lower = ink(0, 1).mix(ink(1, 1), steep(x - left));
            let thread = if (pixel.x as usize + pixel.y as usize).is_multiple_of(2) { 0.012 } else { -0.012 };
            upper.mix(lower, steep(y - top)) + Rgb::gray(thread)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_cell_joins_its_neighbours_and_a_uniform_field_stays() {
        let mut cells = vec![1; CELLS * CELLS];
        cells[5 * CELLS + 5] = 2;
        assert_eq!(majority(&cells, 5 * CELLS + 5), 1);
        assert_eq!(majority(&cells, 0), 1);
    }
}
