//! The folder of anomaly maps: where each picture goes, and writing it whole or not at all.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{BufWriter, Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageDecoder as _, ImageReader, RgbImage};
use tempfile::NamedTempFile;

use crate::overlay::{self, PatchMap, Rectangle, Style};

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("maps cannot be written to folder {path:?}")]
pub(crate) struct FolderError {
    path: PathBuf,
    source: std::io::Error,
}

/// Why there is no map of one image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MapError {
    /// The server sent none, or one that is not what it says.
    #[error("the server's anomaly map cannot be used: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// The server could read the image and this program cannot.
    #[error("its anomaly map cannot be drawn, this program cannot decode the image: {reason}")]
    Decode {
        /// Why.
        reason: image::ImageError,
    },
    /// It cannot be written.
    #[error("its anomaly map cannot be written to {path:?}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

/// A folder that takes maps, and the file of each image in it.
#[derive(Debug)]
pub(crate) struct MapFolder {
    files: HashMap<PathBuf, PathBuf>,
    style: Style,
}

impl MapFolder {
    /// Makes the folder where it is missing, and proves that files can be written there.
    pub(crate) fn open(folder: &Path, images: &[PathBuf], style: Style) -> Result<Self, FolderError> {
        let prove = || {
            std::fs::create_dir_all(folder)?;
            let mut proof = NamedTempFile::new_in(folder)?;
            proof.write_all(b"map")?;
            proof.close()
        };
        prove().map_err(|source| FolderError { path: folder.to_owned(), source })?;
        Ok(Self { files: files_for(folder, images), style })
    }

    /// Where the map of `image` goes.
    pub(crate) fn file(&self, image: &Path) -> Option<&Path> {
        self.files.get(image).map(PathBuf::as_path)
    }

    pub(crate) fn style(&self) -> Style {
        self.style
    }
}

/// Draws the map of an encoded image and writes it to `file`. Blocks.
pub(crate) fn write(
    encoded: &Bytes,
    map: &PatchMap,
    examined: Rectangle,
    style: Style,
    file: &Path,
) -> Result<(), MapError> {
    let image = decode(encoded).map_err(|reason| MapError::Decode { reason })?;
    let picture = overlay::draw(image, map, examined, style);
    save(&picture, file).map_err(|reason| MapError::Write { path: file.to_owned(), reason })
}

/// The image upright, as the server examines it.
fn decode(encoded: &Bytes) -> Result<RgbImage, image::ImageError> {
    let mut decoder = ImageReader::new(Cursor::new(encoded)).with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// Written beside its place, synchronised, then renamed: there is never half a picture.
fn save(picture: &RgbImage, file: &Path) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut part = tempfile::Builder::new()
        .prefix(".map-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    let mut writer = BufWriter::new(part.as_file_mut());
    let encoder = PngEncoder::new_with_quality(&mut writer, CompressionType::Fast, FilterType::Adaptive);
    picture.write_with_encoder(encoder).map_err(std::io::Error::other)?;
    writer.flush()?;
    drop(writer);
    part.as_file().sync_all()?;
    part.persist(file)?;
    Ok(())
}

/// The tree of the images below their common folder, mirrored: equal names of different folders stay apart, and
/// so do `a.png` and `a.jpg`.
fn files_for(folder: &Path, images: &[PathBuf]) -> HashMap<PathBuf, PathBuf> {
    let whole: Vec<PathBuf> = images.iter().map(|image| absolute(image)).collect();
    let common =
        whole.iter().filter_map(|image| image.parent()).map(Path::to_owned).reduce(|common, other| {
            let shared = common.components().zip(other.components()).take_while(|(one, two)| one == two);
            shared.map(|(component, _)| component).collect()
        });
    let common = common.unwrap_or_default();
    let file = |image: &PathBuf| {
        let mut name = OsString::from(image.strip_prefix(&common).unwrap_or(image));
        name.push(".map.png");
        folder.join(name)
    };
    images.iter().cloned().zip(whole.iter().map(file)).collect()
}

/// Absolute, without `.` and `..`; links are left alone.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { map_max: 1.0, is_side_by_side: false };

    fn files(images: &[&str]) -> Vec<String> {
        let images: Vec<PathBuf> = images.iter().map(PathBuf::from).collect();
        let files = files_for(Path::new("maps"), &images);
        images.iter().map(|image| files[image].display().to_string()).collect()
    }

    fn png(width: u32, height: u32) -> Bytes {
        let mut encoded = Vec::new();
        let image = RgbImage::from_pixel(width, height, image::Rgb([9, 99, 199]));
        image.write_to(&mut Cursor::new(&mut encoded), image::ImageFormat::Png).unwrap();
        encoded.into()
    }

    #[test]
    fn equal_names_of_different_folders_stay_apart() {
        assert_eq!(
            files(&["/d/good/1.png", "/d/bad/1.png", "/d/bad/1.jpg"]),
            ["maps/good/1.png.map.png", "maps/bad/1.png.map.png", "maps/bad/1.jpg.map.png"]
        );
        assert_eq!(files(&["x/../y/1.png", "y/2.png"]), ["maps/1.png.map.png", "maps/2.png.map.png"]);
        assert_eq!(files(&["/d/only.png"]), ["maps/only.png.map.png"]);
    }

    #[test]
    fn a_file_in_the_folder_s_place_is_refused_before_scoring() {
        let file = NamedTempFile::new().unwrap();
        let refused = MapFolder::open(&file.path().join("maps"), &[], STYLE).unwrap_err();
        assert!(refused.to_string().contains("cannot be written"), "{refused}");
    }

    #[test]
    fn a_map_is_written_whole_and_readable_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sub/a.png.map.png");
        let map = PatchMap { columns: 1, rows: 1, values: vec![1.0] };
        let examined = Rectangle { x: 0.0, y: 0.0, width: 12.0, height: 7.0 };
        write(&png(12, 7), &map, examined, STYLE, &file).unwrap();
        assert_eq!(image::open(&file).unwrap().into_rgb8().dimensions(), (12, 7));
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_ne!(mode & 0o044, 0, "{mode:o} must let others read, as the umask does");
        let names: Vec<_> = std::fs::read_dir(file.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing but the map must be left");
    }

    #[test]
    fn an_image_that_cannot_be_decoded_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.map.png");
        let map = PatchMap { columns: 1, rows: 1, values: vec![1.0] };
        let examined = Rectangle { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
        let refused = write(&Bytes::from_static(b"no image"), &map, examined, STYLE, &file).unwrap_err();
        assert!(matches!(refused, MapError::Decode { .. }), "{refused}");
        assert!(!file.exists());
    }
}
