//! Images to files of the cache: decoded ahead on all cores, encoded in batches, written one by one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use inctrl_model::{Backbone, Pixels, Preprocess};
use inctrl_storage::Digest;
use rayon::prelude::*;

use super::{CachedImage, FeatureCache, FeatureError, LIMITS, Record, View};
use crate::files::Durability;
use crate::progress::Progress;

/// Images in one pass of the backbone: enough for a full pipeline of a CPU's cores and a good part of an
/// accelerator's, 22 MB of pixels at 240 px.
pub(super) const BATCH: usize = 32;

/// Decoded batches that wait for the backbone; one being encoded and one ready keep both sides busy.
const BATCHES_AHEAD: usize = 1;

/// Reads every image once for the digest of its content, which names its file.
pub(super) fn locate(
    folder: &Path,
    images: &[PathBuf],
    view: View,
) -> Result<Vec<CachedImage>, FeatureError> {
    images
        .par_iter()
        .map(|image| {
            let bytes = std::fs::read(image)
                .map_err(|source| FeatureError::ReadImage { path: image.clone(), source })?;
            let digest = Digest::of(bytes);
            let suffix = match view {
                View::Plain => "",
                View::Mirrored => ".mirrored",
            };
            let name = format!("{}{suffix}.safetensors", digest.hex());
            let first = format!("{:02x}", digest.as_bytes()[0]);
            Ok(CachedImage { image: image.clone(), view, file: folder.join(first).join(name) })
        })
        .collect()
}

/// Makes the files of `images`.
pub(super) fn make(cache: &FeatureCache<'_>, images: &[&CachedImage]) -> Result<(), FeatureError> {
    let FeatureCache { folder, backbone, write } = cache;
    let distinct: BTreeMap<&Path, &CachedImage> =
        images.iter().map(|image| (image.file.as_path(), *image)).collect();
    let images: Vec<&CachedImage> = distinct.into_values().collect();
    let preprocess = backbone.info().preprocess.clone();
    let mut progress = Progress::new("extracting features", images.len());
    let mut missing = images.len();
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(BATCHES_AHEAD);
        let batches = images.chunks(BATCH);
        scope.spawn(move || {
            for batch in batches {
                let pixels: Result<Vec<Pixels>, FeatureError> =
                    batch.par_iter().map(|image| decode(image, &preprocess)).collect();
                let last = pixels.is_err();
                let receiver_is_gone = send.send((batch, pixels)).is_err();
                if last || receiver_is_gone {
                    return;
                }
            }
        });
        for (batch, pixels) in receive {
            let records = encode(backbone, batch, &pixels?)?;
            for (image, record) in batch.iter().zip(records) {
                write(&image.file, &record, Durability::Relaxed)
                    .map_err(|source| not_written(folder, image, missing * record.len(), missing, source))?;
                missing -= 1;
            }
            progress.advance(batch.len());
        }
        Ok(())
    })
}

fn decode(image: &CachedImage, preprocess: &Preprocess) -> Result<Pixels, FeatureError> {
    let path = || image.image.clone();
    let bytes =
        std::fs::read(&image.image).map_err(|source| FeatureError::ReadImage { path: path(), source })?;
    let pixels =
        preprocess.load(&bytes, &LIMITS).map_err(|source| FeatureError::Image { path: path(), source })?;
    Ok(match image.view {
        View::Plain => pixels,
        View::Mirrored => pixels.mirrored(),
    })
}

/// The bytes of each image's file.
fn encode(
    backbone: &Backbone,
    batch: &[&CachedImage],
    pixels: &[Pixels],
) -> Result<Vec<Vec<u8>>, FeatureError> {
    let features = backbone
        .stack(&pixels.iter().collect::<Vec<_>>())
        .and_then(|stacked| backbone.encode_images(&stacked))
        .map_err(|source| FeatureError::Encode { path: batch[0].image.clone(), source })?;
    Ok(Record::of_batch(&features).iter().map(|record| record.to_bytes(backbone.info())).collect())
}

fn not_written(
    folder: &Path,
    image: &CachedImage,
    bytes: usize,
    missing: usize,
    source: std::io::Error,
) -> FeatureError {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            FeatureError::DiskFull { folder: folder.to_owned(), missing, bytes: bytes as u64 }
        }
        _ => FeatureError::Cache { path: image.file.clone(), source },
    }
}
