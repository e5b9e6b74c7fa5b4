//! Which part of the source the square shows: torchvision's `Resize` and `CenterCrop`, and the letterbox.

use super::{Area, Fit};

/// Sizes and offsets of one image's way to the square, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placement {
    /// Size of the resized image: width, height. Wide as an image of one row may ask for.
    pub(super) resized: (u64, u64),
    /// Upper left corner of the part of the resized image that is kept: x, y.
    pub(super) crop: (u64, u64),
    /// Size of the part that is kept: width, height; never more than the square.
    pub(super) kept: (u32, u32),
    /// Where the kept part's upper left corner lies in the square: x, y.
    pub(super) paste: (u32, u32),
}

impl Placement {
    /// Places an image of `source` pixels (width, height; neither is 0) in a square of `size`.
    pub(super) fn new(source: (u32, u32), size: u32, fit: Fit) -> Self {
        match fit {
            Fit::Crop => Self::cropped(source, size),
            Fit::Letterbox => Self::letterboxed(source, size),
        }
    }

    /// Shorter side to `size`, the longer one truncated (`int(size * long / short)`), then the centre.
    fn cropped((width, height): (u32, u32), size: u32) -> Self {
        let long = |long: u32, short: u32| u64::from(size) * u64::from(long) / u64::from(short);
        let size = u64::from(size);
        let resized = if width <= height { (size, long(height, width)) } else { (long(width, height), size) };
        let crop = (centre_offset(resized.0 - size), centre_offset(resized.1 - size));
        Self { resized, crop, kept: (size as u32, size as u32), paste: (0, 0) }
    }

    /// Longer side to `size`, the shorter one truncated but at least one pixel, in the middle of the square.
    fn letterboxed((width, height): (u32, u32), size: u32) -> Self {
        let short =
            |short: u32, long: u32| (u64::from(size) * u64::from(short) / u64::from(long)).max(1) as u32;
        let kept = if width <= height { (short(width, height), size) } else { (size, short(height, width)) };
        Self {
            resized: (u64::from(kept.0), u64::from(kept.1)),
            crop: (0, 0),
            kept,
            paste: ((size - kept.0) / 2, (size - kept.1) / 2),
        }
    }

    /// The square in source pixels. A letterbox shows more than the image: its area reaches over the edges.
    pub(super) fn examined(&self, source: (u32, u32), size: u32) -> Area {
        let axis = |source: u32, resized: u64, crop: u64, paste: u32| {
            let scale = f64::from(source) / resized as f64;
            (((crop as f64) - f64::from(paste)) * scale, f64::from(size) * scale)
        };
        let (x, width) = axis(source.0, self.resized.0, self.crop.0, self.paste.0);
        let (y, height) = axis(source.1, self.resized.1, self.crop.1, self.paste.1);
        Area { x: x as f32, y: y as f32, width: width as f32, height: height as f32 }
    }
}

/// `round(surplus / 2)` with halves to the even neighbour, as Python rounds: 1 gives 0, 3 gives 2, 5 gives 2.
fn centre_offset(surplus: u64) -> u64 {
    let floor = surplus / 2;
    if surplus.is_multiple_of(2) { floor } else { floor + floor % 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crop_offsets_round_half_to_even() {
        let offsets = [241, 243, 244, 245, 247, 799].map(|side: u64| centre_offset(side - 240));
        assert_eq!(offsets, [0, 2, 2, 2, 4, 280]);
    }

    #[test]
    fn longer_side_is_truncated() {
        let placement = Placement::new((900, 700), 240, Fit::Crop);
        assert_eq!(placement.resized, (308, 240));
        assert_eq!(placement.crop, (34, 0));
    }

    #[test]
    fn an_image_of_one_row_does_not_overflow() {
        let placement = Placement::new((u32::MAX, 1), 240, Fit::Crop);
        assert_eq!(placement.resized.1, 240);
        assert_eq!(placement.resized.0, 240 * u64::from(u32::MAX));
    }

    #[test]
    fn cropped_area_lies_inside_the_source() {
        let source = (900, 700);
        let area = Placement::new(source, 240, Fit::Crop).examined(source, 240);
        assert!(0.0 < area.x && area.x + area.width < 900.0, "{area:?} must lie within the width");
        assert!(area.y == 0.0 && (area.height - 700.0).abs() < 1e-3, "{area:?} must span the height");
    }

    #[test]
    fn letterboxed_area_covers_the_source() {
        let source = (900, 300);
        let placement = Placement::new(source, 240, Fit::Letterbox);
        assert_eq!((placement.kept, placement.paste), ((240, 80), (0, 80)));
        let area = placement.examined(source, 240);
        assert_eq!(area, Area { x: 0.0, y: -300.0, width: 900.0, height: 900.0 });
    }

    #[test]
    fn letterbox_keeps_at_least_one_row() {
        assert_eq!(Placement::new((10_000, 2), 240, Fit::Letterbox).kept, (240, 1));
    }
}
