//! An anomaly map over its image, as a picture: pure pixel work.
//!
//! Inside the examined area the image turns grey and the map lies over it in colour, the more opaque the larger its
//! value; outside, where nothing was examined, the image stays as it is, darkened, behind a thin frame.

use image::{Rgb, RgbImage, imageops};

/// Longest side of a picture in pixels: a map of 15 x 15 gains nothing from more.
const MAX_SIDE: u32 = 1600;
/// Opacity of the colours at the map's zero and at the bright end.
const OPACITY: (f32, f32) = (0.15, 0.75);
/// Brightness left where nothing was examined.
const UNSEEN_BRIGHTNESS: f32 = 0.35;
/// Weights of red, green and blue in grey (ITU-R BT.601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];
const FRAME: Rgb<u8> = Rgb([255, 255, 255]);
const GAP: u32 = 8;

/// One value a patch, row-major, in 0..=1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PatchMap {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) values: Vec<f32>,
}

/// A rectangle of the image, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rectangle {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) width: f32,
    pub(crate) height: f32,
}

/// How pictures look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Style {
    /// Value of the map at the bright end of the colours.
    pub(crate) map_max: f32,
    /// Put the plain image beside the overlay.
    pub(crate) is_side_by_side: bool,
}

/// Draws `map` over `image`, which was examined within `examined`.
pub(crate) fn draw(image: RgbImage, map: &PatchMap, examined: Rectangle, style: Style) -> RgbImage {
    let (image, examined) = shrunk(image, examined);
    let mut picture = image.clone();
    let colours = colours();
    let grid = examined.square_around();
    let columns = taps(picture.width(), grid.x, grid.width, map.columns);
    let rows = taps(picture.height(), grid.y, grid.height, map.rows);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        if !examined.contains(x, y) {
            pixel.0 = pixel.0.map(|value| (f32::from(value) * UNSEEN_BRIGHTNESS) as u8);
            continue;
        }
        let value = rows[y as usize]
            .between(|row| columns[x as usize].between(|column| map.values[row * map.columns + column]));
        let share = (value / style.map_max).clamp(0.0, 1.0);
        let opacity = OPACITY.0 + (OPACITY.1 - OPACITY.0) * share;
        let grey: f32 = pixel.0.iter().zip(LUMA).map(|(&value, weight)| f32::from(value) * weight).sum();
        let colour = colours[(share * 255.0).round() as usize];
        pixel.0 = colour.map(|value| (grey * (1.0 - opacity) + f32::from(value) * opacity).round() as u8);
    }
    frame(&mut picture, examined);
    if style.is_side_by_side { beside(&image, &picture) } else { picture }
}

impl Rectangle {
    fn scaled(self, factor: f32) -> Self {
        let Self { x, y, width, height } = self;
        Self { x: x * factor, y: y * factor, width: width * factor, height: height * factor }
    }

    /// What the patch grid covers: the square of the longer side around the same centre. A crop examines that square
    /// itself; a letterbox examines the whole image, and its grid reaches over the shorter edges.
    fn square_around(self) -> Self {
        let Self { x, y, width, height } = self;
        let side = width.max(height);
        Self { x: x - (side - width) / 2.0, y: y - (side - height) / 2.0, width: side, height: side }
    }

    /// Whether the centre of a pixel lies within.
    fn contains(self, x: u32, y: u32) -> bool {
        let within = |at: u32, from: f32, length: f32| (from..from + length).contains(&(at as f32 + 0.5));
        within(x, self.x, self.width) && within(y, self.y, self.height)
    }
}

/// The image with its longer side at most [`MAX_SIDE`], and the rectangle with it.
fn shrunk(image: RgbImage, examined: Rectangle) -> (RgbImage, Rectangle) {
    let longer = image.width().max(image.height());
    if longer <= MAX_SIDE {
        return (image, examined);
    }
    let factor = MAX_SIDE as f32 / longer as f32;
    let side = |length: u32| ((length as f32 * factor).round() as u32).max(1);
    let small = imageops::thumbnail(&image, side(image.width()), side(image.height()));
    (small, examined.scaled(factor))
}

/// Inferno in 256 steps: perceptually uniform, readable in grey and with any colour vision.
fn colours() -> [[u8; 3]; 256] {
    std::array::from_fn(|step| {
        let colorous::Color { r, g, b } = colorous::INFERNO.eval_rational(step, 256);
        [r, g, b]
    })
}

/// Two neighbouring patches of one axis and the share of the second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tap {
    before: usize,
    after: usize,
    share: f32,
}

impl Tap {
    fn between(self, value: impl Fn(usize) -> f32) -> f32 {
        let before = value(self.before);
        before + (value(self.after) - before) * self.share
    }
}

/// For each of `pixels`, its neighbours among `patches` centres spread over `length` from `offset`.
fn taps(pixels: u32, offset: f32, length: f32, patches: usize) -> Vec<Tap> {
    let last = patches - 1;
    (0..pixels)
        .map(|pixel| {
            let at = (pixel as f32 + 0.5 - offset) / length * patches as f32 - 0.5;
            let at = at.clamp(0.0, last as f32);
            let before = (at as usize).min(last);
            Tap { before, after: (before + 1).min(last), share: at - before as f32 }
        })
        .collect()
}

/// A line of one pixel just inside the examined area, where that is not the whole image.
fn frame(picture: &mut RgbImage, examined: Rectangle) {
    let (width, height) = picture.dimensions();
    let edge = |from: f32, length: f32, limit: u32| {
        let first = (from + 0.5).floor().max(0.0) as u32;
        let last = ((from + length - 0.5).floor().max(0.0) as u32).min(limit - 1);
        (first.min(last), last)
    };
    let (left, right) = edge(examined.x, examined.width, width);
    let (top, bottom) = edge(examined.y, examined.height, height);
    for y in top..=bottom {
        if 0 < left {
            picture.put_pixel(left, y, FRAME);
        }
        if right < width - 1 {
            picture.put_pixel(right, y, FRAME);
        }
    }
    for x in left..=right {
        if 0 < top {
            picture.put_pixel(x, top, FRAME);
        }
        if bottom < height - 1 {
            picture.put_pixel(x, bottom, FRAME);
        }
    }
}

fn beside(left: &RgbImage, right: &RgbImage) -> RgbImage {
    let (width, height) = left.dimensions();
    let mut both = RgbImage::from_pixel(width * 2 + GAP, height, FRAME);
    imageops::replace(&mut both, left, 0, 0);
    imageops::replace(&mut both, right, i64::from(width + GAP), 0);
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { map_max: 1.0, is_side_by_side: false };
    const BACKGROUND: Rgb<u8> = Rgb([200, 100, 50]);

    fn image(width: u32, height: u32) -> RgbImage {
        RgbImage::from_pixel(width, height, BACKGROUND)
    }

    fn map(columns: usize, values: &[f32]) -> PatchMap {
        PatchMap { columns, rows: values.len() / columns, values: values.to_vec() }
    }

    fn whole(width: f32, height: f32) -> Rectangle {
        Rectangle { x: 0.0, y: 0.0, width, height }
    }

    fn brightness(pixel: Rgb<u8>) -> f32 {
        pixel.0.iter().zip(LUMA).map(|(&value, weight)| f32::from(value) * weight).sum()
    }

    #[test]
    fn large_values_are_bright_where_they_lie() {
        let picture = draw(image(40, 40), &map(2, &[0.0, 0.0, 0.0, 1.0]), whole(40.0, 40.0), PLAIN);
        let (normal, anomalous) = (picture.get_pixel(2, 2), picture.get_pixel(38, 38));
        assert!(brightness(*normal) + 50.0 < brightness(*anomalous), "{normal:?} {anomalous:?}");
        let [red, _, blue] = anomalous.0;
        assert!(blue < red, "the bright end of inferno is yellow, not {anomalous:?}");
    }

    #[test]
    fn brightness_of_the_colours_rises_all_the_way() {
        let steps = colours().map(|colour| brightness(Rgb(colour)));
        let falls = steps.array_windows().filter(|[before, after]| after + 1.0 < *before).count();
        assert_eq!(falls, 0, "a perceptual map must not fall");
        assert!(steps[0] < 10.0 && 230.0 < steps[255], "{} to {}", steps[0], steps[255]);
    }

    #[test]
    fn what_was_not_examined_is_darkened_and_framed_off() {
        let examined = Rectangle { x: 30.0, y: 0.0, width: 40.0, height: 40.0 };
        let picture = draw(image(100, 40), &map(1, &[0.5]), examined, PLAIN);
        assert_eq!(picture.get_pixel(5, 20), &Rgb([70, 35, 17]), "outside keeps its hue");
        assert_eq!(picture.get_pixel(30, 20), &FRAME);
        assert_eq!(picture.get_pixel(69, 20), &FRAME);
        assert_ne!(picture.get_pixel(50, 0), &FRAME, "no frame along the image's own edge");
    }

    #[test]
    fn a_letterboxed_grid_reaches_over_the_image() {
        // Of a grid of 4 rows over a square, a wide image shows the two in the middle.
        let picture = draw(image(80, 40), &map(1, &[1.0, 0.0, 0.0, 1.0]), whole(80.0, 40.0), PLAIN);
        let (edge, middle) = (brightness(*picture.get_pixel(40, 0)), brightness(*picture.get_pixel(40, 20)));
        assert!(middle < edge, "the outer rows must shine in at the edges only: {middle} {edge}");
        let flat = draw(image(80, 40), &map(1, &[1.0, 1.0, 1.0, 1.0]), whole(80.0, 40.0), PLAIN);
        assert!(edge < brightness(*flat.get_pixel(40, 0)), "and not be squeezed into it");
    }

    #[test]
    fn the_scale_is_the_one_asked_for() {
        let at = |map_max: f32| {
            let style = Style { map_max, ..PLAIN };
            *draw(image(8, 8), &map(1, &[0.2]), whole(8.0, 8.0), style).get_pixel(4, 4)
        };
        assert_eq!(at(0.2), at(0.1), "values at and beyond the end look alike");
        assert_ne!(at(0.2), at(0.4));
    }

    #[test]
    fn side_by_side_keeps_the_plain_image() {
        let style = Style { is_side_by_side: true, ..PLAIN };
        let picture = draw(image(10, 6), &map(1, &[1.0]), whole(10.0, 6.0), style);
        assert_eq!(picture.dimensions(), (10 * 2 + GAP, 6));
        assert_eq!(picture.get_pixel(3, 3), &BACKGROUND);
        assert_ne!(picture.get_pixel(10 + GAP + 3, 3), &BACKGROUND);
    }

    #[test]
    fn huge_images_make_pictures_of_usual_size() {
        let picture = draw(image(4800, 2400), &map(1, &[1.0]), whole(4800.0, 2400.0), PLAIN);
        assert_eq!(picture.dimensions(), (1600, 800));
    }

    #[test]
    fn one_pixel_is_an_image_too() {
        let picture = draw(image(1, 1), &map(2, &[0.0, 1.0, 0.0, 1.0]), whole(1.0, 1.0), PLAIN);
        assert_eq!(picture.dimensions(), (1, 1));
    }
}
