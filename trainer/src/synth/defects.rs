//! D: the defect operators, those that training may see and those held out.
//!
//! An operator gives new content and the share of each pixel that it covers; one piece of code blends the two
//! into the scene before light and camera. With the scene's own content the blend changes no bit (the null edit), so that
//! nothing but the content tells an anomaly from its twin.

use rand_chacha::ChaCha8Rng;

use super::canvas::{Canvas, Point, Rgb};
use super::families::Alteration;
use super::nuisance::SCENE_SIDE;

mod seen;
mod unseen;

/// A pixel is anomalous if a defect covers this share of it.
const MASK_COVER: f32 = 0.5;

/// Mean change of the covered pixels (largest channel, 0..=1) below which a defect cannot be called one.
const VISIBLE: f32 = 0.022;

/// Smallest area of a defect, as a share of the picture: 23 pixels at 240.
const SMALLEST: f32 = 0.0004;

/// Colours nearer than this are the same when a change of parts is looked for.
const SAME: f32 = 2.0 / 255.0;

/// A kind of defect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator {
    pub(crate) name: &'static str,
    /// Whether training may see it.
    pub(crate) seen: bool,
    pub(crate) action: Action,
}

/// What an operator changes, and hence which scenes it can be applied to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// The surface of any scene.
    Surface(Paint),
    /// The surface of a scene with a direction.
    DirectedSurface(Paint),
    /// A part of a scene that has parts.
    Parts(Alteration),
    /// The turn of the whole picture, where it is not free.
    Turn,
    /// The hue of the whole picture, where it is not free.
    Hue,
}

/// Draws a defect of a strength in 0..=1.
pub(crate) type Paint = fn(&Scene<'_>, &mut ChaCha8Rng, f32) -> Edit;

/// What a defect is painted on.
pub(crate) struct Scene<'a> {
    pub(crate) canvas: &'a Canvas,
    /// A place where a defect would be on the scene and not on its background.
    pub(crate) place: &'a dyn Fn(&mut ChaCha8Rng) -> Point,
    /// A picture of something else, of the same side.
    pub(crate) foreign: &'a dyn Fn() -> Canvas,
}

/// New content and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) content: Canvas,
    /// Share of each pixel that is covered, row by row.
    pub(crate) cover: Vec<f32>,
}

/// All operators, those of training first.
pub(crate) fn all() -> Vec<Operator> {
    seen::operators().into_iter().chain(unseen::operators()).collect()
}

impl Scene<'_> {
    /// Pixels of a length that is given for the usual side.
    fn length(&self, usual: f32) -> f32 {
        usual * self.canvas.side as f32 / SCENE_SIDE
    }
}

impl Edit {
    /// Nothing changed.
    pub(crate) fn none(canvas: &Canvas) -> Self {
        Self { content: canvas.clone(), cover: vec![0.0; canvas.pixels.len()] }
    }

    /// A changed picture of the whole scene.
    pub(crate) fn whole(content: Canvas) -> Self {
        let cover = vec![1.0; content.pixels.len()];
        Self { content, cover }
    }

    /// What differs between two renderings; specks of equal colour inside of it belong to it.
    pub(crate) fn between(before: &Canvas, after: Canvas) -> Self {
        let differs =
            before.pixels.iter().zip(&after.pixels).map(|(before, after)| before.distance(*after) > SAME);
        let cover = closed(&differs.collect::<Vec<_>>(), before.side).into_iter().map(f32::from).collect();
        Self { content: after, cover }
    }

    /// Sets content and cover of the pixels within `radius` of `centre`; the larger cover wins.
    fn paint(&mut self, centre: Point, radius: f32, mut at: impl FnMut(Point, Rgb) -> (Rgb, f32)) {
        let Self { content, cover } = self;
        let side = content.side;
        content.touch(centre, radius, |pixel, below| {
            let (colour, share) = at(pixel, below);
            let known = &mut cover[pixel.y as usize * side + pixel.x as usize];
            if share <= *known {
                return below;
            }
            *known = share.min(1.0);
            colour
        });
    }

    /// The same place and shape with the scene's own content: the null edit.
    #[cfg(test)]
    pub(crate) fn nulled(mut self, canvas: &Canvas) -> Self {
        self.content = canvas.clone();
        self
    }

    /// The scene with the defect in it.
    pub(crate) fn blended(&self, canvas: &Canvas) -> Canvas {
        let pixels = canvas.pixels.iter().zip(&self.content.pixels).zip(&self.cover);
        let pixels = pixels.map(|((before, after), cover)| before.mix(*after, *cover)).collect();
        Canvas { side: canvas.side, pixels }
    }

    /// Which pixels are anomalous.
    pub(crate) fn mask(&self) -> Vec<bool> {
        self.cover.iter().map(|cover| *cover >= MASK_COVER).collect()
    }

    /// Whether there is enough of it, and enough difference, to be called a defect.
    pub(crate) fn is_visible(&self, canvas: &Canvas) -> bool {
        let (mut area, mut change) = (0_usize, 0.0);
        let pixels = canvas.pixels.iter().zip(&self.content.pixels).zip(&self.cover);
        for ((before, after), _) in pixels.filter(|(_, cover)| **cover >= MASK_COVER) {
            area += 1;
            change += before.distance(*after).min(1.0);
        }
        area as f32 >= SMALLEST * canvas.pixels.len() as f32 && change >= VISIBLE * area as f32
    }
}

/// Dilation by a pixel, then erosion by one.
fn closed(mask: &[bool], side: usize) -> Vec<bool> {
    let around = |index: usize| {
        let (x, y) = (index % side, index / side);
        let columns = x.saturating_sub(1)..=(x + 1).min(side - 1);
        (y.saturating_sub(1)..=(y + 1).min(side - 1))
            .flat_map(move |y| columns.clone().map(move |x| y * side + x))
    };
    let grown: Vec<bool> = (0..mask.len()).map(|index| around(index).any(|near| mask[near])).collect();
    (0..mask.len()).map(|index| around(index).all(|near| grown[near])).collect()
}
