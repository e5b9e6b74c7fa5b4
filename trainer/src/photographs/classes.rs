//! Small grey images by class, as other packages carry them, to folders of images of the usual side.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use flate2::read::GzDecoder;
use image::imageops::{FilterType, resize};
use image::{ExtendedColorType, GrayImage};
use rand::seq::SliceRandom as _;
use rayon::prelude::*;

use super::{Output, PhotographsError, SIDE};
use crate::synth::axes::{Axis, Seeds};
use crate::synth::png;

/// Images of a class that may serve as prompts, and queries of it: few enough that one backbone pass over all is short.
const PROMPTS: usize = 20;
const QUERIES: usize = 24;

/// Images of ten classes.
pub(super) struct Classes {
    side: usize,
    /// Names by class.
    names: [&'static str; 10],
    /// Those that may be prompts, those that may be queries.
    images: [Vec<Labelled>; 2],
}

/// Class and pixels.
type Labelled = (usize, Vec<u8>);

const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

const GARMENTS: [&str; 10] =
    ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"];

/// Pixels of a scikit-learn digit along a side, and the value of white.
const DIGIT_SIDE: usize = 8;
const DIGIT_WHITE: u16 = 16;

impl Classes {
    /// scikit-learn's digits: 64 values in 0..=16 and the class, a line an image. The first half gives prompts, the
    /// second queries.
    pub(super) fn from_csv(path: &Path) -> Result<Self, PhotographsError> {
        let bad = |reason: String| PhotographsError::Content { path: path.to_owned(), reason };
        let file =
            File::open(path).map_err(|source| PhotographsError::Read { path: path.to_owned(), source })?;
        let mut images = Vec::new();
        let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(GzDecoder::new(file));
        for (line, row) in rows.records().enumerate() {
            let row = row.map_err(|error| bad(error.to_string()))?;
            // The numbers are written as floats (`7.000000000000000000e+00`).
            let values: Option<Vec<u16>> = row
                .iter()
                .map(|value| value.parse::<f32>().ok().filter(|value| (0.0..=16.0).contains(value)))
                .map(|value| value.map(|value| value as u16))
                .collect();
            let values = values.filter(|values| values.len() == DIGIT_SIDE * DIGIT_SIDE + 1);
            let Some((&class, pixels)) = values.as_deref().and_then(<[u16]>::split_last) else {
                return Err(bad(format!("line {} must hold 65 numbers from 0 to {DIGIT_WHITE}", line + 1)));
            };
            let class = usize::from(class);
            if class >= DIGITS.len() {
                return Err(bad(format!("line {} has class {class} and there are ten", line + 1)));
            }
            images.push((class, pixels.iter().map(|value| (value * 255 / DIGIT_WHITE) as u8).collect()));
        }
        let queries = images.split_off(images.len() / 2);
        Ok(Self { side: DIGIT_SIDE, names: DIGITS, images: [images, queries] })
    }

    /// Fashion-MNIST: training images give prompts, test images queries.
    pub(super) fn from_idx(folder: &Path) -> Result<Self, PhotographsError> {
        let read = |part: &str| -> Result<(usize, Vec<Labelled>), PhotographsError> {
            let (sides, pixels) = idx(&folder.join(format!("{part}-images-idx3-ubyte.gz")))?;
            let path = folder.join(format!("{part}-labels-idx1-ubyte.gz"));
            let (_, labels) = idx(&path)?;
            let bad = |reason: String| PhotographsError::Content { path: path.clone(), reason };
            let side = match sides.as_slice() {
                [count, height, width] if height == width && *height > 0 && *count == labels.len() => *width,
                _ => {
                    return Err(bad(format!(
                        "{} labels, images of {sides:?}: not a square each",
                        labels.len()
                    )));
                }
            };
            if let Some(label) = labels.iter().find(|label| usize::from(**label) >= GARMENTS.len()) {
                return Err(bad(format!("label {label}, and there are ten classes")));
            }
            let images =
                labels.into_iter().map(usize::from).zip(pixels.chunks_exact(side * side).map(<[u8]>::to_vec));
            Ok((side, images.collect()))
        };
        let (side, train) = read("train")?;
        let (_, test) = read("t10k")?;
        Ok(Self { side, names: GARMENTS, images: [train, test] })
    }

    /// Files of the data set `root`: a drawn few of every class, enlarged.
    pub(super) fn files(&self, root: &str, seed: u64) -> Vec<Output> {
        let mut rng = Seeds::new(seed).stream(Axis::Nuisance, &format!("photographs/{root}"));
        let mut chosen = Vec::new();
        for ((split, wanted), images) in [("train", PROMPTS), ("test", QUERIES)].into_iter().zip(&self.images)
        {
            for (class, name) in self.names.iter().enumerate() {
                let mut members: Vec<&Vec<u8>> =
                    images.iter().filter(|(of, _)| *of == class).map(|(_, pixels)| pixels).collect();
                members.shuffle(&mut rng);
                let members = members.into_iter().take(wanted).enumerate();
                chosen.extend(
                    members
                        .map(|(number, pixels)| (format!("{root}/{split}/{name}/{number:03}.png"), pixels)),
                );
            }
        }
        chosen.into_par_iter().map(|(path, pixels)| (path, self.enlarged(pixels))).collect()
    }

    fn enlarged(&self, pixels: &[u8]) -> Vec<u8> {
        let side = self.side as u32;
        let small =
            GrayImage::from_raw(side, side, pixels.to_vec()).expect("every image was checked to be a square");
        // Catmull and Rom's cubic is what PIL calls bicubic.
        let large = resize(&small, SIDE as u32, SIDE as u32, FilterType::CatmullRom);
        png(large.as_raw(), SIDE, ExtendedColorType::L8)
    }
}

/// Sizes and bytes of an idx file of unsigned bytes, gzipped.
fn idx(path: &Path) -> Result<(Vec<usize>, Vec<u8>), PhotographsError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        GzDecoder::new(File::open(path)?).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| PhotographsError::Read { path: path.to_owned(), source })?;
    let bad = |reason: &str| PhotographsError::Content { path: path.to_owned(), reason: reason.to_owned() };
    let Some(([0, 0, 8, dimensions], rest)) = bytes.split_first_chunk::<4>() else {
        return Err(bad("it does not begin as an idx file of bytes"));
    };
    let (header, data) =
        rest.split_at_checked(4 * usize::from(*dimensions)).ok_or_else(|| bad("its header is cut off"))?;
    let sizes: Vec<usize> =
        header.as_chunks::<4>().0.iter().map(|size| u32::from_be_bytes(*size) as usize).collect();
    if sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size)) != Some(data.len()) {
        return Err(bad("it holds another number of bytes than its header says"));
    }
    Ok((sizes, data.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzipped(path: &Path, bytes: &[u8]) {
        let mut encoder = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap();
    }

    #[test]
    fn digits_are_read_as_scikit_learn_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digits.csv.gz");
        let line = |class: usize| format!("{}16.0,{class}.000000000000000000e+00\n", "0.0,".repeat(63));
        gzipped(&path, (line(3) + &line(7)).as_bytes());
        let digits = Classes::from_csv(&path).unwrap();
        let [prompts, queries] = &digits.images;
        assert_eq!((prompts.len(), queries.len()), (1, 1));
        assert_eq!((prompts[0].0, prompts[0].1[62], prompts[0].1[63]), (3, 0, 255));
        let names: Vec<String> = digits.files("digits", 1).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["digits/train/3/000.png", "digits/test/7/000.png"]);
    }

    #[test]
    fn a_line_of_another_length_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digits.csv.gz");
        gzipped(&path, b"1.0,2.0\n");
        let error = Classes::from_csv(&path).err().unwrap().to_string();
        assert!(error.contains("line 1 must hold 65 numbers"), "{error}");
    }

    #[test]
    fn idx_files_are_read_and_cut_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.gz");
        gzipped(&path, &[0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 5, 6]);
        assert_eq!(idx(&path).unwrap(), (vec![1, 2], vec![5, 6]));
        gzipped(&path, &[0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 5]);
        assert!(idx(&path).unwrap_err().to_string().contains("another number of bytes"));
        gzipped(&path, b"GIF89a");
        assert!(idx(&path).unwrap_err().to_string().contains("begin as an idx file"));
    }
}
