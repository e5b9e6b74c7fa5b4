//! Connected regions of a mask, pixels touching by edge or corner.

/// Marks a pixel that is in no region.
pub(super) const BACKGROUND: u32 = u32::MAX;

/// Number of pixels of each region.
pub(super) type RegionSizes = Vec<u64>;

/// The region of each pixel of a row-major mask, regions counted from 0 in the order of their first pixels, and the
/// size of each.
pub(super) fn regions(mask: &[bool], width: usize) -> (Vec<u32>, RegionSizes) {
    let height = mask.len() / width.max(1);
    let mut region_of = vec![BACKGROUND; mask.len()];
    let mut sizes = Vec::new();
    let mut open = Vec::new();
    for start in 0..mask.len() {
        if !mask[start] || region_of[start] != BACKGROUND {
            continue;
        }
        let region = sizes.len() as u32;
        let mut size = 0;
        region_of[start] = region;
        open.push(start);
        while let Some(pixel) = open.pop() {
            size += 1;
            for next in neighbours(pixel, width, height) {
                if mask[next] && region_of[next] == BACKGROUND {
                    region_of[next] = region;
                    open.push(next);
                }
            }
        }
        sizes.push(size);
    }
    (region_of, sizes)
}

/// The pixels around one (and itself), as far as they are in the image.
fn neighbours(pixel: usize, width: usize, height: usize) -> impl Iterator<Item = usize> {
    let (x, y) = (pixel % width, pixel / width);
    let columns = x.saturating_sub(1)..=(x + 1).min(width - 1);
    let rows = y.saturating_sub(1)..=(y + 1).min(height - 1);
    rows.flat_map(move |row| columns.clone().map(move |column| row * width + column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_join_and_edges_of_the_image_do_not() {
        let mask = [
            [1, 0, 0, 1], //
            [0, 1, 0, 0],
            [1, 0, 0, 1],
        ];
        let mask: Vec<bool> = mask.as_flattened().iter().map(|&pixel| pixel == 1).collect();
        let (region_of, sizes) = regions(&mask, 4);
        assert_eq!(sizes, [3, 1, 1]);
        let marked: Vec<u32> = region_of.into_iter().filter(|&region| region != BACKGROUND).collect();
        assert_eq!(marked, [0, 1, 0, 0, 2]);
    }

    #[test]
    fn an_empty_mask_has_no_regions() {
        assert_eq!(regions(&[false; 6], 3), (vec![BACKGROUND; 6], Vec::new()));
    }
}
