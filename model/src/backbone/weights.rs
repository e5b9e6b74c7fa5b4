//! Named tensors out of a safetensors file, taken strictly: between the backbone folder and the towers.
//!
//! A tower takes each of its tensors by name and shape; what does not fit is collected, and [`Weights::finish`]
//! answers with one error that names everything at once. Reading streams tensor by tensor, so that the peak is the
//! weights themselves and not twice of them, and computes the digest on the way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

/// Longest header that is read, in bytes; the limit of the format's own library.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// How many names an error spells out of each group.
const NAMES_SHOWN: usize = 5;

/// Why weights could not be read, or do not fit the architecture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file could not be opened or read.
    #[error("cannot read weights {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not safetensors, or is cut short.
    #[error("{path:?} is not a complete safetensors file: {reason}; fetch it again")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Tensors of the file and of the architecture differ.
    #[error("weights {path:?} do not fit the configuration: {mismatch}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Every difference.
        mismatch: Box<WeightsMismatch>,
    },
}

/// What differs between the tensors of a file and those of an architecture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WeightsMismatch {
    /// Asked for, not in the file.
    pub missing: Vec<String>,
    /// In the file, asked for by nothing.
    pub surplus: Vec<String>,
    /// Of another shape: name, expected, actual.
    pub misshapen: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// Holding NaN or infinite values.
    pub non_finite: Vec<String>,
    /// Variances below zero.
    pub negative: Vec<String>,
    /// Of another number format than 16 or 32-bit floats: name, format.
    pub not_float: Vec<(String, String)>,
}

impl WeightsMismatch {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for WeightsMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { missing, surplus, misshapen, non_finite, negative, not_float } = self;
        let misshapen = misshapen
            .iter()
            .map(|(name, expected, actual)| format!("{name} (expected {expected:?}, is {actual:?})"));
        let not_float = not_float.iter().map(|(name, format)| format!("{name} ({format})"));
        let groups = [
            shortened("missing", missing.clone()),
            shortened("surplus", surplus.clone()),
            shortened("misshapen", misshapen.collect()),
            shortened("NaN or infinite values in", non_finite.clone()),
            shortened("variances below zero in", negative.clone()),
            shortened("not 16 or 32-bit floats", not_float.collect()),
        ];
        f.write_str(&groups.into_iter().flatten().collect::<Vec<_>>().join("; "))
    }
}

/// `what: a, b, c and 7 more`; nothing for an empty list.
fn shortened(what: &str, names: Vec<String>) -> Option<String> {
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let shown = names.into_iter().take(NAMES_SHOWN).collect::<Vec<_>>().join(", ");
    match (shown.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("{what}: {shown}")),
        (false, more) => Some(format!("{what}: {shown} and {more} more")),
    }
}

/// The tensors of a file that have not been taken yet; float32, on the CPU.
pub(crate) struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    mismatch: WeightsMismatch,
    digest: Sha256,
}

impl Weights {
    /// Reads every tensor of `path` whose name is not in `ignored` (a name, or `*` and how names end). 16-bit floats
    /// are widened to float32.
    pub(crate) fn read(path: &Path, ignored: &[&str]) -> Result<Self, WeightsError> {
        let read_error = |source| WeightsError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read_error)?;
        let (data_start, metadata) = read_header(&mut file, path)?;
        let infos: BTreeMap<String, &TensorInfo> = metadata.tensors().into_iter().collect();
        let mut weights = Self {
            path: path.to_owned(),
            tensors: BTreeMap::new(),
            mismatch: WeightsMismatch::default(),
            digest: Sha256::new(),
        };
        for (name, info) in infos {
            if ignored.iter().any(|pattern| matches(pattern, &name)) {
                continue;
            }
            let kind = match info.dtype {
                Dtype::F32 => Kind::Float,
                Dtype::F16 => Kind::Half,
                Dtype::BF16 => Kind::BFloat16,
                other => {
                    weights.mismatch.not_float.push((name, other.to_string()));
                    continue;
                }
            };
            let (start, end) = info.data_offsets;
            let mut bytes = vec![0; end - start];
            file.seek(SeekFrom::Start(data_start + start as u64)).map_err(read_error)?;
            file.read_exact(&mut bytes).map_err(read_error)?;
            weights.insert(name, &bytes, &info.shape, kind);
        }
        Ok(weights)
    }

    fn insert(&mut self, name: String, bytes: &[u8], shape: &[usize], kind: Kind) {
        let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let tensor = Tensor::from_data_size(bytes, &shape, kind).to_kind(Kind::Float);
        self.digest.update((name.len() as u64).to_le_bytes());
        self.digest.update(&name);
        self.digest.update((shape.len() as u64).to_le_bytes());
        for dimension in &shape {
            self.digest.update(dimension.to_le_bytes());
        }
        if kind == Kind::Float {
            self.digest.update(bytes);
        } else {
            let mut widened = vec![0; tensor.numel() * size_of::<f32>()];
            tensor.copy_data_u8(&mut widened, tensor.numel());
            self.digest.update(&widened);
        }
        if !bool::try_from(tensor.isfinite().all()).unwrap_or(false) {
            self.mismatch.non_finite.push(name.clone());
        }
        self.tensors.insert(name, tensor);
    }

    /// Whether a tensor of that name is still there.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Takes the tensor `name`, which must have `shape`. What does not fit is noted for [`Self::finish`]; zeros
    /// stand in for it until then.
    pub(crate) fn take(&mut self, name: &str, shape: &[i64]) -> Tensor {
        match self.tensors.remove(name) {
            Some(tensor) if tensor.size() == shape => return tensor,
            Some(tensor) => self.mismatch.misshapen.push((name.to_owned(), shape.to_vec(), tensor.size())),
            None if self.mismatch.not_float.iter().any(|(other, _)| other == name) => {}
            None => self.mismatch.missing.push(name.to_owned()),
        }
        // One zero seen at every place: a shape from a wrong configuration may be larger than any memory.
        Tensor::zeros([1], (Kind::Float, tch::Device::Cpu)).expand(shape, false)
    }

    /// Takes a tensor of variances: one below zero has no root.
    pub(crate) fn take_variance(&mut self, name: &str, shape: &[i64]) -> Tensor {
        let variance = self.take(name, shape);
        if bool::try_from(variance.lt(0.0).any()).unwrap_or(false) {
            self.mismatch.negative.push(name.to_owned());
        }
        variance
    }

    /// Ends the taking: an error that names every difference, or the digest of all tensors (see
    /// [`BackboneInfo::digest`](super::BackboneInfo)) to be continued with the configuration.
    pub(crate) fn finish(mut self) -> Result<Sha256, WeightsError> {
        self.mismatch.surplus = self.tensors.into_keys().collect();
        if self.mismatch.is_empty() {
            Ok(self.digest)
        } else {
            Err(WeightsError::Mismatch { path: self.path, mismatch: Box::new(self.mismatch) })
        }
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_prefix('*').map_or(name == pattern, |end| name.ends_with(end))
}

/// Where the data begins, and what stands in it; the length of the file must agree.
fn read_header(file: &mut File, path: &Path) -> Result<(u64, Metadata), WeightsError> {
    let read_error = |source| WeightsError::Read { path: path.to_owned(), source };
    let malformed = |reason: String| WeightsError::Malformed { path: path.to_owned(), reason };
    let actual = file.metadata().map_err(read_error)?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| malformed(format!("{actual} bytes hold no header")))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES || length > actual.saturating_sub(8) {
        return Err(malformed(format!("the header claims {length} bytes of a file of {actual}")));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(read_error)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| malformed(format!("header: {error}")))?;
    let data_start = 8 + length;
    let expected = data_start + metadata.data_len() as u64;
    if expected == actual {
        Ok((data_start, metadata))
    } else {
        Err(malformed(format!("it has {actual} bytes, its header describes {expected}")))
    }
}
