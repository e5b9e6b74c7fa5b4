//! A square picture in floats, and what every family and defect operator may use of it: no noise, no shapes.

use std::ops::{Add, Mul, Range, Sub};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// Red, green, blue; 0..=1 by the time it is written, any value before.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Rgb(pub(crate) [f32; 3]);

/// A place on the canvas in pixels, or in a family's own units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Point {
    pub(crate) x: f32,
    pub(crate) y: f32,
}

/// A square picture, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Canvas {
    pub(crate) side: usize,
    pub(crate) pixels: Vec<Rgb>,
}

impl Rgb {
    pub(crate) fn gray(value: f32) -> Self {
        Self([value; 3])
    }

    /// A colour whose channels are drawn from `range`.
    pub(crate) fn drawn(rng: &mut ChaCha8Rng, range: Range<f32>) -> Self {
        Self(std::array::from_fn(|_| rng.random_range(range.clone())))
    }

    /// Rec. 601 luma.
    pub(crate) fn luma(self) -> f32 {
        let [red, green, blue] = self.0;
        0.299 * red + 0.587 * green + 0.114 * blue
    }

    /// `self` for 0, `other` for 1. Written so that mixing a colour with itself gives exactly itself.
    pub(crate) fn mix(self, other: Self, share: f32) -> Self {
        self + (other - self) * share
    }

    /// Largest difference of a channel.
    pub(crate) fn distance(self, other: Self) -> f32 {
        (self - other).0.into_iter().map(f32::abs).fold(0.0, f32::max)
    }

    /// Turned around the grey axis by `angle`; lightness stays.
    pub(crate) fn turned(self, angle: f32) -> Self {
        let grey = self.0.iter().sum::<f32>() / 3.0;
        let (sin, cos) = angle.sin_cos();
        let [red, green, blue] = (self - Self::gray(grey)).0;
        let cross = [blue - green, red - blue, green - red].map(|difference| difference / 3f32.sqrt());
        Self([0, 1, 2].map(|channel| grey + [red, green, blue][channel] * cos + cross[channel] * sin))
    }
}

impl Add for Rgb {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self([0, 1, 2].map(|channel| self.0[channel] + other.0[channel]))
    }
}

impl Sub for Rgb {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self([0, 1, 2].map(|channel| self.0[channel] - other.0[channel]))
    }
}

impl Mul<f32> for Rgb {
    type Output = Self;

    fn mul(self, factor: f32) -> Self {
        Self(self.0.map(|value| value * factor))
    }
}

impl Point {
    pub(crate) fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    pub(crate) fn length(self) -> f32 {
        self.x.hypot(self.y)
    }

    pub(crate) fn turned(self, angle: f32) -> Self {
        let (sin, cos) = angle.sin_cos();
        Self { x: self.x * cos - self.y * sin, y: self.x * sin + self.y * cos }
    }

    pub(crate) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }
}

impl Add for Point {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y }
    }
}

impl Sub for Point {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { x: self.x - other.x, y: self.y - other.y }
    }
}

impl Mul<f32> for Point {
    type Output = Self;

    fn mul(self, factor: f32) -> Self {
        Self { x: self.x * factor, y: self.y * factor }
    }
}

impl Canvas {
    pub(crate) fn filled(side: usize, colour: Rgb) -> Self {
        Self { side, pixels: vec![colour; side * side] }
    }

    /// The colour that `at` gives for each pixel's centre.
    pub(crate) fn painted(side: usize, mut at: impl FnMut(Point) -> Rgb) -> Self {
        let mut pixels = Vec::with_capacity(side * side);
        for y in 0..side {
            for x in 0..side {
                pixels.push(at(Point::new(x as f32 + 0.5, y as f32 + 0.5)));
            }
        }
        Self { side, pixels }
    }

    pub(crate) fn centre(&self) -> Point {
        Point::new(self.side as f32 / 2.0, self.side as f32 / 2.0)
    }

    /// Bilinear, mirrored at the edges.
    pub(crate) fn sample(&self, at: Point) -> Rgb {
        let (x, y) = (at.x - 0.5, at.y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let pixel = |dx: f32, dy: f32| {
            let (column, row) = (self.mirrored(left + dx), self.mirrored(top + dy));
            self.pixels[row * self.side + column]
        };
        let upper = pixel(0.0, 0.0).mix(pixel(1.0, 0.0), x - left);
        let lower = pixel(0.0, 1.0).mix(pixel(1.0, 1.0), x - left);
        upper.mix(lower, y - top)
    }

    fn mirrored(&self, position: f32) -> usize {
        let last = self.side as i64 - 1;
        let position = (position as i64).rem_euclid(2 * last.max(1));
        position.min(2 * last - position) as usize
    }

    /// Changes the pixels within `radius` of `centre`, given each pixel's centre and colour.
    pub(crate) fn touch(&mut self, centre: Point, radius: f32, mut colour: impl FnMut(Point, Rgb) -> Rgb) {
        let last = self.side.saturating_sub(1) as f32;
        let range = |middle: f32| {
            let from = (middle - radius).floor().clamp(0.0, last) as usize;
            from..=(middle + radius).ceil().clamp(0.0, last) as usize
        };
        for y in range(centre.y) {
            for x in range(centre.x) {
                let pixel = &mut self.pixels[y * self.side + x];
                *pixel = colour(Point::new(x as f32 + 0.5, y as f32 + 0.5), *pixel);
            }
        }
    }

    /// Interleaved 8-bit RGB, rounded.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let byte = |value: f32| (value * 255.0).round().clamp(0.0, 255.0) as u8;
        self.pixels.iter().flat_map(|pixel| pixel.0.map(byte)).collect()
    }

    /// From interleaved 8-bit RGB of a square picture.
    #[cfg(test)]
    pub(crate) fn from_bytes(side: usize, bytes: &[u8]) -> Self {
        let (pixels, _) = bytes.as_chunks::<3>();
        let pixels = pixels.iter().map(|pixel| Rgb(pixel.map(|value| f32::from(value) / 255.0)));
        Self { side, pixels: pixels.collect() }
    }
}

/// 0 below `from`, 1 above `to`, smooth between.
pub(crate) fn smooth(from: f32, to: f32, value: f32) -> f32 {
    let share = ((value - from) / (to - from)).clamp(0.0, 1.0);
    share * share * (3.0 - 2.0 * share)
}
