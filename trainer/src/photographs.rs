//! Real images for evaluation, out of files that other packages carry: photographs of three textures, handwritten
//! digits, and garments where a system package has them.
//!
//! ```text
//! brick.png, grass.png, gravel.png --textures--> MVTec layout; defects painted on by the operators of `synth`
//! digits.csv.gz, idx files         --classes-->  a folder a class, below train/ and test/
//! ```
//!
//! No training sees any of them. Three photographs are no data set: their windows overlap, and figures say so.

use std::path::{Path, PathBuf};

mod classes;
mod error;
mod textures;

pub use error::PhotographsError;

use crate::files::{Durability, write_whole};
use classes::Classes;

/// Side of the images that are written, in pixels.
const SIDE: usize = 240;

/// Make evaluation data sets of real images: texture photographs with painted defects, handwritten digits, garments.
///
/// FROM holds brick.png, grass.png and gravel.png of scikit-image and digits.csv.gz of scikit-learn, taken out of
/// their wheels. OUT gets `textures` (MVTec layout, with masks) and `digits` (a folder a class, below train and test).
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder with the four files.
    #[arg(long, value_name = "FROM")]
    pub from: PathBuf,
    /// Folder with Fashion-MNIST's idx files (Debian's dataset-fashion-mnist: /usr/share/datasets/fashion-mnist); OUT
    /// gets `fashion-mnist` besides.
    #[arg(long, value_name = "FOLDER")]
    pub fashion_mnist: Option<PathBuf>,
    /// Folder to make; it must not exist yet, or be empty.
    #[arg(long, value_name = "OUT")]
    pub out: PathBuf,
    /// Seed of windows, defects and choice of images.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Log directives, such as `info,inctrl_trainer=debug`.
    #[arg(long, env = "INCTRL_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// A file to be: path below the root, and content.
type Output = (String, Vec<u8>);

/// Makes the data sets. OUT appears whole or not at all.
pub fn run(args: &Args) -> Result<(), PhotographsError> {
    let Args { from, fashion_mnist, out, seed, log: _ } = args;
    if std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(PhotographsError::Taken { out: out.clone() });
    }
    let mut files = textures::draw(from, *seed)?;
    files.extend(Classes::from_csv(&from.join("digits.csv.gz"))?.files("digits", *seed));
    if let Some(folder) = fashion_mnist {
        files.extend(Classes::from_idx(folder)?.files("fashion-mnist", *seed));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PhotographsError::Write { path, source }
    };
    std::fs::create_dir_all(parent).map_err(failed(parent))?;
    let staging =
        tempfile::Builder::new().prefix(".photographs-").tempdir_in(parent).map_err(failed(parent))?;
    let made = staging.path().join("made");
    for (name, bytes) in &files {
        let path = made.join(name);
        write_whole(&path, bytes, Durability::Relaxed).map_err(failed(&path))?;
    }
    std::fs::rename(&made, out).map_err(failed(out))?;
    tracing::info!(out = %out.display(), images = files.len(), "real images are laid out");
    Ok(())
}
