//! Marble: many plane waves of random direction make the ground and bend the veins.

use std::f32::consts::TAU;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::synth::canvas::{Canvas, Point, Rgb};
use crate::synth::families::{Change, Instance, Shot};

/// Waves of a field: enough that no period shows.
const WAVES: usize = 14;

/// A sum of plane waves, drawn anew for every image with the same spectrum.
struct Field {
    waves: Vec<Wave>,
}

struct Wave {
    frequency: Point,
    phase: f32,
    height: f32,
}

impl Field {
    /// Wave lengths of `longest` pixels down to an eighth of it; heights fall with frequency to the power of `slope`.
    fn new(rng: &mut ChaCha8Rng, longest: f32, slope: f32) -> Self {
        let wave = |number| {
            let octave = 3.0 * number as f32 / WAVES as f32;
            let frequency = TAU / longest * octave.exp2();
            Wave {
                frequency: Point::new(frequency, 0.0).turned(rng.random_range(0.0..TAU)),
                phase: rng.random_range(0.0..TAU),
                height: (-octave * slope).exp2(),
            }
        };
        Self { waves: (0..WAVES).map(wave).collect() }
    }

    /// Values at all pixels, row by row. Along a row each wave turns by a constant angle, which costs two
    /// multiplications instead of a sine.
    fn values(&self, shot: &Shot) -> Vec<f32> {
        let mut values = vec![0.0; shot.side * shot.side];
        let start = shot.to_scene(Point::default());
        let (right, down) =
            (shot.to_scene(Point::new(1.0, 0.0)) - start, shot.to_scene(Point::new(0.0, 1.0)) - start);
        for wave in &self.waves {
            let (step_sin, step_cos) = wave.frequency.dot(right).sin_cos();
            for (row, values) in values.chunks_mut(shot.side).enumerate() {
                let angle = wave.frequency.dot(start + down * row as f32) + wave.phase;
                let (mut sin, mut cos) = angle.sin_cos();
                for value in values {
                    *value += wave.height * sin;
                    (sin, cos) = (sin * step_cos + cos * step_sin, cos * step_cos - sin * step_sin);
                }
            }
        }
        values
    }
}

/// Veined stone.
pub(super) struct Marble {
    longest: f32,
    slope: f32,
    vein_pitch: f32,
    sharpness: f32,
    stone: Rgb,
    vein: Rgb,
}

impl Marble {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let stone = Rgb::gray(rng.random_range(0.35..0.8)) + Rgb::drawn(rng, -0.12..0.12);
        let deeper = if stone.luma() > 0.55 { -0.28 } else { 0.28 };
        Self {
            longest: rng.random_range(60.0..120.0),
            slope: rng.random_range(0.8..1.3),
            vein_pitch: rng.random_range(0.35..0.7),
            sharpness: rng.random_range(3.0..8.0),
            stone,
            vein: stone + Rgb::gray(deeper) + Rgb::drawn(rng, -0.08..0.08),
        }
    }
}

impl Instance for Marble {
    fn render(&self, shot: &Shot, _: Option<&Change>) -> Canvas {
        let mut rng = ChaCha8Rng::seed_from_u64(shot.detail);
        let clouds = Field::new(&mut rng, self.longest, self.slope).values(shot);
        let bends = Field::new(&mut rng, self.longest * 1.4, self.slope).values(shot);
        let colour = |(cloud, bend): (&f32, &f32)| {
            let vein = (1.0 - (bend * self.vein_pitch * TAU).sin().abs()).powf(self.sharpness);
            self.stone.mix(self.vein, 0.85 * vein) + Rgb::gray(0.035 * cloud)
        };
        Canvas { side: shot.side, pixels: clouds.iter().zip(&bends).map(colour).collect() }
    }
}
