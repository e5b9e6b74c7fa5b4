//! Features of images on disk, so that the frozen backbone sees each image once.
//!
//! One safetensors file an image and view, float32, in a folder named by backbone and pre-processing; its name is the
//! digest of the image's content, so that copies and moved data sets cost nothing. Size: 4 bytes times (patches times
//! the channels of all taps + class width), 0.43 MB with the starter backbone and 2.42 MB with ViT-B-16-plus-240.
//! Float32 because scores from the cache must equal scores from pixels.
//!
//! Files appear whole (temporary name, rename) and are checked when read; a damaged one is made again. Features are
//! read when asked for: memory holds what is selected, never the data set.

use std::path::{Path, PathBuf};

use inctrl_model::{Backbone, BackboneError, Device, Features, ImageError, ImageLimits};
use inctrl_storage::Digest;
use rayon::prelude::*;
use tch::Tensor;

use crate::files::{Durability, write_whole};

mod extract;
mod record;

use record::Record;

/// Images of a data set are trusted more than those of a request: 100 MiB and 100 megapixels.
pub(crate) const LIMITS: ImageLimits = ImageLimits { max_bytes: 100 << 20, max_pixels: 100_000_000 };

/// How an image is shown to the backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// As it is.
    Plain,
    /// Mirrored left to right; the context of a prompt set of one image is made with it.
    Mirrored,
}

/// How a file of the cache is written, whole or not at all.
type WriteFile = dyn Fn(&Path, &[u8], Durability) -> std::io::Result<()> + Send + Sync;

/// Cached features of one backbone.
pub struct FeatureCache<'b> {
    folder: PathBuf,
    backbone: &'b Backbone,
    write: Box<WriteFile>,
}

/// The features of a list of images, on disk until they are selected.
pub struct FeatureSet<'c> {
    cache: &'c FeatureCache<'c>,
    images: Vec<CachedImage>,
}

/// Where the features of an image are, and how to make them again.
#[derive(Debug, Clone)]
struct CachedImage {
    image: PathBuf,
    view: View,
    file: PathBuf,
}

/// Why features could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// An image file could not be read.
    #[error("cannot read image {path:?}")]
    ReadImage {
        /// The image.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not an image that can be used.
    #[error("cannot use image {path:?}; take it out of the data set or replace it")]
    Image {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ImageError,
    },
    /// The disk of the cache is full.
    #[error(
        "no space left for the feature cache {folder:?}: {missing} images to go, {bytes} bytes; \
         make room or set `cache` to another folder"
    )]
    DiskFull {
        /// Folder of the cache.
        folder: PathBuf,
        /// Images without features.
        missing: usize,
        /// Bytes that they need.
        bytes: u64,
    },
    /// The cache could not be read or written.
    #[error(
        "cannot use the feature cache at {path:?}; check its permissions or set `cache` to another folder"
    )]
    Cache {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The backbone refused.
    #[error("the backbone could not encode {path:?} and the images after it")]
    Encode {
        /// First image of the batch.
        path: PathBuf,
        /// What it said.
        #[source]
        source: BackboneError,
    },
}

impl<'b> FeatureCache<'b> {
    /// Opens (and makes, if need be) the part of the cache `dir` that belongs to `backbone`. The backbone should
    /// compute in float32: precision is not part of the key.
    pub fn open(dir: &Path, backbone: &'b Backbone) -> Result<Self, FeatureError> {
        let info = backbone.info();
        let preprocess = serde_json::to_string(&info.preprocess).expect("plain numbers and names serialise");
        let identity = Digest::of(format!("{} {preprocess}", info.digest));
        let folder = dir.join(format!("{}-{}", info.name, identity.short()));
        std::fs::create_dir_all(&folder)
            .map_err(|source| FeatureError::Cache { path: folder.clone(), source })?;
        Ok(Self { folder, backbone, write: Box::new(write_whole) })
    }

    /// The same with another way to write files, such as one whose disk is full.
    #[must_use]
    pub fn writing_with(
        self,
        write: impl Fn(&Path, &[u8], Durability) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { write: Box::new(write), ..self }
    }

    /// Text features of an object name, `[2, D]`, on the CPU; none without a text tower. They are not kept.
    pub fn text(&self, object: &str) -> Result<Option<Tensor>, BackboneError> {
        Ok(self.backbone.encode_object(object)?.map(|text| text.to_device(Device::Cpu)))
    }

    /// The backbone that the features are of.
    pub fn backbone(&self) -> &'b Backbone {
        self.backbone
    }

    /// Makes the features of `images` that are not in the cache yet, showing progress. Memory holds a few batches of
    /// pixels at a time.
    pub fn extract(&self, images: &[PathBuf], view: View) -> Result<FeatureSet<'_>, FeatureError> {
        let images = extract::locate(&self.folder, images, view)?;
        let missing: Vec<&CachedImage> = images.iter().filter(|image| !image.file.exists()).collect();
        extract::make(self, &missing)?;
        Ok(FeatureSet { cache: self, images })
    }
}

impl FeatureSet<'_> {
    /// How many images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Taps of the backbone.
    pub fn taps(&self) -> usize {
        self.cache.backbone.info().tap_channels.len()
    }

    /// Patches of an image.
    pub fn patches(&self) -> usize {
        let (rows, columns) = self.cache.backbone.info().grid;
        rows * columns
    }

    /// Size of an image's taps in memory.
    pub fn tap_bytes(&self) -> usize {
        self.cache.backbone.info().tap_channels.iter().sum::<usize>() * self.patches() * size_of::<f32>()
    }

    /// The images of `self`, then those of `other`, which must be of the same cache.
    #[must_use]
    pub fn chain(mut self, other: Self) -> Self {
        self.images.extend(other.images);
        self
    }

    /// Class features `[len, D]` of all images, in blocks, on the CPU.
    pub fn class_features(&self) -> Result<Tensor, FeatureError> {
        let all: Vec<usize> = (0..self.len()).collect();
        let blocks: Result<Vec<Tensor>, FeatureError> = all
            .chunks(extract::BATCH)
            .map(|block| self.select(block).map(|features| features.class))
            .collect();
        Ok(Tensor::cat(&blocks?, 0))
    }

    /// Features of the images `indices`, in that order (an index may come twice), on the CPU.
    ///
    /// # Panics
    ///
    /// When an index is not smaller than [`Self::len`], or `indices` is empty.
    pub fn select(&self, indices: &[usize]) -> Result<Features, FeatureError> {
        let info = self.cache.backbone.info();
        let files: Vec<&Path> = indices.iter().map(|&index| self.images[index].file.as_path()).collect();
        let records: Vec<_> = files.par_iter().map(|file| Record::read(file, info)).collect();
        let records = indices
            .iter()
            .zip(records)
            .map(|(&index, record)| match record {
                Ok(record) => Ok(record),
                Err(damaged) => self.make_again(&self.images[index], &damaged),
            })
            .collect::<Result<Vec<Record>, FeatureError>>()?;
        Ok(Record::features(&records, info))
    }

    /// Makes features again whose file is gone or damaged.
    fn make_again(&self, image: &CachedImage, damaged: &record::Damaged) -> Result<Record, FeatureError> {
        tracing::warn!(file = ?image.file, reason = %damaged, "features are made again");
        extract::make(self.cache, &[image])?;
        Record::read(&image.file, self.cache.backbone.info()).map_err(|damaged| FeatureError::Cache {
            path: image.file.clone(),
            source: std::io::Error::other(damaged),
        })
    }
}
