//! JPEG, including what printers use: four inks are kept as CMYK until after the resize, as Pillow does.

use image::ImageFormat;
use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::ImageLimits;
use super::decode::{MAX_SIDE, check_size};
use super::error::ImageError;
use super::raster::{Raster, Samples, turn};

/// Decodes a complete JPEG file.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Raster, ImageError> {
    let undecodable = |source| ImageError::undecodable(ImageFormat::Jpeg, source);
    // A lenient decoder tolerates what cameras write; that the file is complete is checked here.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(MAX_SIDE as usize)
        .set_max_height(MAX_SIDE as usize);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(undecodable)?;
    let (width, height) = decoder.dimensions().unwrap_or((0, 0));
    let (width, height) = (width as u32, height as u32);
    check_size(width, height, limits)?;
    if !is_complete(bytes) {
        return Err(ImageError::Truncated { format: "JPEG".into(), bytes: bytes.len() });
    }
    let orientation = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif))
        .unwrap_or(Orientation::NoTransforms);

    let input = decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr);
    let output = match input {
        ColorSpace::Luma | ColorSpace::CMYK | ColorSpace::YCCK => input,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    let pixels = decoder.decode().map_err(undecodable)?;
    let turned = turn(width, height, pixels, output.num_components(), orientation)
        .ok_or_else(|| ImageError::Truncated { format: "JPEG".into(), bytes: bytes.len() })?;
    Ok(match (output, turned) {
        (ColorSpace::CMYK, (width, height, mut pixels)) => {
            // Pillow takes all four-ink files for Adobe's, which store the light that passes, not the ink.
            for sample in &mut pixels {
                *sample = 255 - *sample;
            }
            Raster { width, height, samples: Samples::Cmyk(pixels), indexed: false }
        }
        (ColorSpace::YCCK, (width, height, mut pixels)) => {
            pixels.as_chunks_mut().0.iter_mut().for_each(ycck_to_cmyk);
            Raster { width, height, samples: Samples::Cmyk(pixels), indexed: false }
        }
        (ColorSpace::Luma, (width, height, pixels)) => {
            Raster { width, height, samples: Samples::Gray(pixels), indexed: false }
        }
        (_, (width, height, pixels)) => {
            Raster { width, height, samples: Samples::Rgb(pixels), indexed: false }
        }
    })
}

/// Luma and chroma of the inverted inks to inks: cyan is 255 less red, and the file holds 255 less cyan.
fn ycck_to_cmyk(pixel: &mut [u8; 4]) {
    let [luma, blue, red, black] = pixel.map(f32::from);
    let (blue, red) = (blue - 128.0, red - 128.0);
    let colours = [luma + 1.402 * red, luma - 0.344_136 * blue - 0.714_136 * red, luma + 1.772 * blue];
    let [cyan, magenta, yellow] = colours.map(|colour| colour.round().clamp(0.0, 255.0) as u8);
    *pixel = [cyan, magenta, yellow, 255 - black as u8];
}

/// Whether the file reaches its end-of-image marker. Headers are stepped over by their lengths, so that the marker of
/// a thumbnail inside them does not count; within entropy-coded data 0xFF is followed by 0 or a restart marker.
fn is_complete(bytes: &[u8]) -> bool {
    const START: u8 = 0xD8;
    const END: u8 = 0xD9;
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xFF)) {
        at += found + 1;
        match bytes.get(at) {
            None => return false,
            Some(&END) => return true,
            // Padding: the marker may begin at the next byte.
            Some(0xFF) => {}
            // A stuffed byte, a marker without a body.
            Some(0x00 | 0x01 | 0xD0..=0xD7 | &START) => at += 1,
            Some(_) => {
                let Some(&[high, low]) = bytes.get(at + 1..at + 3) else { return false };
                at += 1 + usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_marker_of_a_thumbnail_does_not_end_the_file() {
        let header = [0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 1, 2, 0xFF, 0xD9];
        let scan = [0xFF, 0xDA, 0, 2, 7, 0xFF, 0x00, 0xFF, 0xD0, 9];
        let cut = [header.as_slice(), scan.as_slice()].concat();
        assert!(!is_complete(&cut));
        assert!(is_complete(&[cut.as_slice(), &[0xFF, 0xFF, 0xD9]].concat()));
    }
}
