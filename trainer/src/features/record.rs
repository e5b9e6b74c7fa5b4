//! One file of the feature cache: the features of one image in one view.

use std::collections::HashMap;
use std::path::Path;

use inctrl_model::tensors::bytes_of;
use inctrl_model::{BackboneInfo, Device, Features};
use inctrl_storage::StreamingDigest;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

/// Key of the file's metadata under which the digest of all values stands.
const DIGEST_KEY: &str = "sha256";

/// Values of one image as they stand in the file: little-endian float32.
pub(super) struct Record {
    /// Taps in order, `[N, C_l]` each; then the class feature `[D]`.
    parts: Vec<Vec<u8>>,
}

/// Why a file of the cache is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damaged {
    /// Gone, or not readable.
    #[error("it cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// Cut short, overwritten, or of another layout.
    #[error("{0}")]
    Content(String),
}

impl Record {
    /// Rows of a batch of features, one record each.
    pub(super) fn of_batch(features: &Features) -> Vec<Self> {
        let tensors: Vec<Tensor> = features
            .taps
            .iter()
            .chain([&features.class])
            .map(|tensor| tensor.to_device(Device::Cpu))
            .collect();
        (0..features.class.size()[0])
            .map(|row| Self { parts: tensors.iter().map(|tensor| bytes_of(&tensor.get(row))).collect() })
            .collect()
    }

    /// The file's bytes.
    pub(super) fn to_bytes(&self, info: &BackboneInfo) -> Vec<u8> {
        let views = shapes(info).into_iter().zip(&self.parts).map(|((name, shape), part)| {
            let view = TensorView::new(Dtype::F32, shape, part);
            (name, view.expect("the backbone's features have the shapes that its description states"))
        });
        let digest = HashMap::from([(DIGEST_KEY.to_owned(), self.digest())]);
        safetensors::serialize(views, Some(digest))
            .expect("in-memory serialisation of valid views cannot fail")
    }

    /// Reads and checks a file.
    pub(super) fn read(path: &Path, info: &BackboneInfo) -> Result<Self, Damaged> {
        let content = |reason: &dyn std::fmt::Display| Damaged::Content(reason.to_string());
        let bytes = std::fs::read(path).map_err(Damaged::Unreadable)?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| content(&error))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| content(&error))?;
        let mut parts = Vec::new();
        for (name, shape) in shapes(info) {
            let view = file.tensor(&name).map_err(|error| content(&error))?;
            if view.shape() != shape || view.dtype() != Dtype::F32 {
                return Err(content(&format!("{name} must be float32 of shape {shape:?}")));
            }
            parts.push(view.data().to_vec());
        }
        let record = Self { parts };
        let stated = header.metadata().as_ref().and_then(|entries| entries.get(DIGEST_KEY));
        if stated == Some(&record.digest()) { Ok(record) } else { Err(content(&"its checksum is wrong")) }
    }

    /// One batch of several records.
    pub(super) fn features(records: &[Self], info: &BackboneInfo) -> Features {
        let mut tensors = shapes(info).into_iter().enumerate().map(|(part, (_, shape))| {
            let bytes: Vec<u8> =
                records.iter().flat_map(|record| record.parts[part].iter().copied()).collect();
            let size: Vec<i64> =
                [records.len()].into_iter().chain(shape).map(|length| length as i64).collect();
            Tensor::from_data_size(&bytes, &size, Kind::Float)
        });
        let taps = tensors.by_ref().take(info.tap_channels.len()).collect();
        let class = tensors.next().expect("the class feature stands after the taps");
        Features { taps, class }
    }

    fn digest(&self) -> String {
        let mut hash = StreamingDigest::default();
        self.parts.iter().for_each(|part| hash.update(part));
        hash.finish().0.to_string()
    }
}

/// Names and shapes of the parts of a record.
fn shapes(info: &BackboneInfo) -> Vec<(String, Vec<usize>)> {
    let patches = info.grid.0 * info.grid.1;
    let taps = info.tap_channels.iter().enumerate();
    let mut shapes: Vec<(String, Vec<usize>)> =
        taps.map(|(tap, &channels)| (format!("tap.{tap}"), vec![patches, channels])).collect();
    shapes.push(("class".to_owned(), vec![info.embed_dim]));
    shapes
}
