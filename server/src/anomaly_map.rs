//! Patch residuals as a map: as they are, or brought to the size of what was examined.

use inctrl_model::preprocess::{Area, Pixels};

/// A map of values in 0..=1, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AnomalyMap {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) values: Vec<f32>,
}

/// Where a map of image size lies, and how the patch grid lies over it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MapPlace {
    /// What the grid covers; may reach over the image's edges.
    grid: Area,
    /// What the map covers, in image pixels.
    covered: Area,
}

impl MapPlace {
    pub(crate) fn of(pixels: &Pixels) -> Self {
        Self { grid: pixels.examined, covered: pixels.examined.within(pixels.source) }
    }

    /// Width and height of the map: one value a pixel, at least one.
    pub(crate) fn size(&self) -> (usize, usize) {
        let side = |length: f32| (length.round() as usize).max(1);
        (side(self.covered.width), side(self.covered.height))
    }
}

impl AnomalyMap {
    /// One value a patch.
    pub(crate) fn patch_grid(values: Vec<f32>, (rows, columns): (usize, usize)) -> Self {
        Self { width: columns, height: rows, values }
    }

    /// Bilinear interpolation between the centres of patches; beyond the outermost centres their values.
    pub(crate) fn image_size(patches: &[f32], grid: (usize, usize), place: &MapPlace) -> Self {
        let (width, height) = place.size();
        let MapPlace { grid: whole, covered } = *place;
        let columns = taps(covered.x - whole.x, covered.width, width, whole.width, grid.1);
        let rows = taps(covered.y - whole.y, covered.height, height, whole.height, grid.0);
        let mut values = Vec::with_capacity(width * height);
        for row in &rows {
            let (upper, lower) = (&patches[row.before * grid.1..], &patches[row.after * grid.1..]);
            values.extend(columns.iter().map(|column| {
                let above = column.between(upper);
                let below = column.between(lower);
                above + (below - above) * row.share
            }));
        }
        Self { width, height, values }
    }
}

/// Two neighbours on one axis and the share of the second.
#[derive(Debug, Clone, Copy)]
struct Tap {
    before: usize,
    after: usize,
    share: f32,
}

impl Tap {
    fn between(&self, line: &[f32]) -> f32 {
        line[self.before] + (line[self.after] - line[self.before]) * self.share
    }
}

/// For each of `count` samples spread over `length`, beginning at `offset` in a line of `whole`, its neighbours
/// among `patches`.
fn taps(offset: f32, length: f32, count: usize, whole: f32, patches: usize) -> Vec<Tap> {
    let step = length / count as f32;
    let last = patches - 1;
    (0..count)
        .map(|index| {
            let position = offset + (index as f32 + 0.5) * step;
            let patch = (position / whole * patches as f32 - 0.5).clamp(0.0, last as f32);
            let before = (patch as usize).min(last);
            Tap { before, after: (before + 1).min(last), share: patch - before as f32 }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(covered: Area, grid: Area) -> MapPlace {
        MapPlace { grid, covered }
    }

    fn area(x: f32, y: f32, width: f32, height: f32) -> Area {
        Area { x, y, width, height }
    }

    #[test]
    fn a_map_of_the_grid_s_own_size_is_the_grid() {
        let patches = [0.0, 0.25, 0.5, 0.75, 1.0, 0.125];
        let whole = area(10.0, 20.0, 3.0, 2.0);
        let map = AnomalyMap::image_size(&patches, (2, 3), &place(whole, whole));
        assert_eq!(map, AnomalyMap::patch_grid(patches.to_vec(), (2, 3)));
    }

    #[test]
    fn twice_the_size_interpolates_between_centres() {
        let whole = area(0.0, 0.0, 4.0, 2.0);
        let map = AnomalyMap::image_size(&[0.0, 1.0], (1, 2), &place(whole, whole));
        assert_eq!((map.width, map.height), (4, 2));
        assert_eq!(map.values, [0.0, 0.25, 0.75, 1.0, 0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn a_letterboxed_map_shows_only_the_image() {
        // A square of 4 x 4 whose middle half is the image, 4 x 2.
        let map = AnomalyMap::image_size(
            &[9.0, 1.0, 2.0, 9.0],
            (4, 1),
            &place(area(0.0, 0.0, 4.0, 2.0), area(0.0, -1.0, 4.0, 4.0)),
        );
        assert_eq!((map.width, map.height), (4, 2));
        assert_eq!(map.values, [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn an_image_of_one_pixel_has_a_map_of_one_value() {
        let whole = area(0.0, 0.0, 1.0, 1.0);
        let map = AnomalyMap::image_size(&[0.0, 1.0, 0.0, 1.0], (2, 2), &place(whole, whole));
        assert_eq!((map.width, map.height, map.values), (1, 1, vec![0.5]));
    }
}
