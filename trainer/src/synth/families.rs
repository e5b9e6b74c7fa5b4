//! F: the families of scenes, those of training and those held out.
//!
//! The two groups share no drawing code beyond [`Canvas`](super::canvas::Canvas): noise, lattices and shapes of each are
//! private to its module, so that the compiler keeps "unseen" true.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::canvas::{Canvas, Point, Rgb};

mod seen;
mod unseen;

/// A kind of scene: what a category name begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    /// Whether training may see it.
    pub(crate) seen: bool,
    /// Whether it has parts on a background, rather than filling the picture with a texture.
    pub(crate) object: bool,
    /// Whether turning the camera shows: a family without a direction cannot be turned the wrong way.
    pub(crate) directed: bool,
    build: fn(&mut ChaCha8Rng) -> Box<dyn Instance>,
}

/// One member of a family: what all images of a category have in common.
pub(crate) trait Instance: Send + Sync {
    /// An image of it before light and camera; with a change in its parts, where asked for one.
    fn render(&self, shot: &Shot, change: Option<&Change>) -> Canvas;

    /// Whether its parts can be changed.
    fn has_parts(&self) -> bool {
        false
    }

    /// A place where a defect would be on the scene and not on its background.
    fn place(&self, shot: &Shot, rng: &mut ChaCha8Rng) -> Point {
        let side = shot.side as f32;
        let inner = 0.15 * side..0.85 * side;
        Point::new(rng.random_range(inner.clone()), rng.random_range(inner))
    }
}

/// How an image shows its scene: the part of the nuisance that a scene has to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shot {
    /// Side of the image in pixels.
    pub(crate) side: usize,
    /// Where the middle of the image looks in the scene, in pixels of an unzoomed image.
    pub(crate) offset: Point,
    /// Turn of the camera.
    pub(crate) angle: f32,
    /// Above 1: nearer.
    pub(crate) zoom: f32,
    /// Seed of fine detail that differs from image to image.
    pub(crate) detail: u64,
}

impl Shot {
    /// The place of the scene that a pixel shows, relative to the scene's origin.
    pub(crate) fn to_scene(self, pixel: Point) -> Point {
        let middle = self.side as f32 / 2.0;
        (pixel - Point::new(middle, middle)).turned(self.angle) * (1.0 / self.zoom) + self.offset
    }

    /// The pixel that shows a place of the scene.
    pub(crate) fn to_pixel(self, place: Point) -> Point {
        let middle = self.side as f32 / 2.0;
        ((place - self.offset) * self.zoom).turned(-self.angle) + Point::new(middle, middle)
    }
}

/// What is done to the parts of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alteration {
    /// One is not there.
    Missing,
    /// One is not where it belongs.
    Misplaced,
    /// One stands where another belongs.
    Swapped,
    /// There is one too many.
    Extra,
}

/// A change in the parts of a scene.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) alteration: Alteration,
    /// Which part, as a share of all.
    pub(crate) which: f32,
    /// Direction of a displacement.
    pub(crate) direction: f32,
    /// Severity in 0..=1.
    pub(crate) strength: f32,
}

/// A part that a [`Change`] can act on.
pub(crate) trait Part: Clone {
    /// Where it is, in the scene.
    fn centre(&mut self) -> &mut Point;
    /// How it is turned.
    fn turn(&mut self) -> &mut f32;
    /// Its extent in pixels.
    fn extent(&self) -> f32;
    /// Looks like `other`, at its own place.
    fn look_like(&mut self, other: &Self);
}

impl Change {
    /// Acts on `parts` from position `fixed` on: those before carry the others and stay.
    pub(crate) fn act_on<P: Part>(&self, parts: &mut Vec<P>, fixed: usize) {
        let movable = parts.len() - fixed;
        let pick = |share: f32| fixed + ((share * movable as f32) as usize).min(movable - 1);
        let chosen = pick(self.which);
        let away = |distance: f32| Point::new(distance, 0.0).turned(self.direction);
        match self.alteration {
            Alteration::Missing => drop(parts.remove(chosen)),
            Alteration::Misplaced => {
                let distance = parts[chosen].extent() * (0.3 + 0.6 * self.strength);
                *parts[chosen].centre() = *parts[chosen].centre() + away(distance);
                *parts[chosen].turn() += 0.2 + 0.6 * self.strength;
            }
            Alteration::Swapped => {
                let other = parts[pick((self.which + 0.5) % 1.0)].clone();
                parts[chosen].look_like(&other);
            }
            Alteration::Extra => {
                let mut extra = parts[chosen].clone();
                *extra.centre() = *extra.centre() + away(extra.extent() * 1.3);
                *extra.turn() += self.direction;
                parts.push(extra);
            }
        }
    }
}

/// A texture: a colour for every place of a plane.
pub(crate) trait Surface: Send + Sync {
    fn colour(&self, place: Point, shot: &Shot) -> Rgb;
}

/// A texture as an instance.
struct Textured<S>(S);

impl<S: Surface> Instance for Textured<S> {
    fn render(&self, shot: &Shot, _: Option<&Change>) -> Canvas {
        Canvas::painted(shot.side, |pixel| self.0.colour(shot.to_scene(pixel), shot))
    }
}

impl Family {
    /// The instance that `rng` gives.
    pub(crate) fn instance(&self, rng: &mut ChaCha8Rng) -> Box<dyn Instance> {
        (self.build)(rng)
    }
}

/// All families, those of training first.
pub(crate) fn all() -> Vec<Family> {
    seen::families().into_iter().chain(unseen::families()).collect()
}
