//! Published checkpoints to what the server reads: a backbone folder, and a head file where the checkpoint holds one.
//!
//! ```text
//! file --container--> pickle, storages --pickle--> descriptions --checkpoint--> named tensors
//!   --layout--> which kind of checkpoint --folder--> backbone folder, opened strictly before it gets its name
//!   --head--> head.safetensors
//! ```
//!
//! Nothing in the checkpoint is run: a pickle that names anything but tensors is refused by that name.

use std::path::{Path, PathBuf};

use inctrl_model::{Backbone, BackboneError, BackboneInfo, Device, Precision};

mod checkpoint;
mod container;
mod dtype;
mod error;
mod folder;
mod head;
mod layout;
mod pickle;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use error::ConvertError;
pub use pickle::PickleError;

use crate::files::{Durability, StagedFile};
use folder::{Clip, StagedFolder};
use layout::Layout;

/// Turn a published PyTorch checkpoint into a backbone folder, and a head file where it holds one.
///
/// Understood are the authors' checkpoints (InCTRL .pyth: backbone and head), open_clip's state dicts (.pt) and the
/// starter backbone's (EfficientNet-Lite0 .pth). Nothing in the file is run.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// File of torch.save.
    pub checkpoint: PathBuf,
    /// Backbone folder to make; it must not exist yet.
    #[arg(long, value_name = "FOLDER", required_unless_present = "backbone")]
    pub into: Option<PathBuf>,
    /// Head file to write, of a checkpoint that holds a head.
    #[arg(long, value_name = "FILE")]
    pub head: Option<PathBuf>,
    /// Backbone folder that is there already: only the head is written, once the checkpoint's CLIP tensors were found
    /// equal to the folder's.
    #[arg(long, value_name = "FOLDER", conflicts_with = "into", requires = "head")]
    pub backbone: Option<PathBuf>,
    /// open_clip's configuration (`open_clip_config.json`, or its `model_cfg` alone) of a CLIP that is not
    /// ViT-B-16-plus-240.
    #[arg(long, value_name = "FILE", conflicts_with = "backbone")]
    pub config: Option<PathBuf>,
    /// CLIP's vocabulary: `bpe_simple_vocab_16e6.txt.gz` (in the open_clip package and in the authors' repository) or
    /// tokenizer.json.
    #[arg(long, value_name = "FILE", conflicts_with = "backbone")]
    pub vocabulary: Option<PathBuf>,
}

/// Converts as asked. Everything is checked and written before the first output gets its name.
pub fn run(args: &Args) -> Result<(), ConvertError> {
    let Args { checkpoint: path, into, head, backbone, config, vocabulary } = args;
    let checkpoint =
        Checkpoint::open(path).map_err(|source| ConvertError::Checkpoint { path: path.clone(), source })?;
    let layout = Layout::of(&checkpoint)
        .map_err(|reason| ConvertError::UnknownLayout { path: path.clone(), reason })?;
    match (layout, head) {
        (Layout::Official, None) => return Err(ConvertError::HeadUnnamed { path: path.clone() }),
        (Layout::OpenClip | Layout::Starter, Some(_)) => {
            return Err(ConvertError::NoHead { path: path.clone(), layout: layout.name() });
        }
        (Layout::Official, Some(_)) | (Layout::OpenClip | Layout::Starter, None) => {}
    }
    for (flag, given) in [("--config", config), ("--vocabulary", vocabulary)] {
        if layout == Layout::Starter && given.is_some() {
            return Err(ConvertError::Surplus { path: path.clone(), layout: layout.name(), flag });
        }
    }
    let (staged, info) = match (into, backbone) {
        (Some(into), _) => {
            let clip = match layout {
                Layout::Starter => None,
                Layout::Official | Layout::OpenClip => {
                    Some(Clip::read(config.as_deref(), vocabulary.as_deref())?)
                }
            };
            let staged = StagedFolder::fill(path, &checkpoint, clip.as_ref(), into)?;
            let info = staged.info().clone();
            (Some(staged), info)
        }
        (None, Some(folder)) => (None, folder::compare(path, &checkpoint, folder)?),
        (None, None) => return Err(ConvertError::NoOutput),
    };
    let head = match head {
        Some(file) => {
            let bytes = head::make(path, &checkpoint, info)?.to_bytes();
            let staged = StagedFile::write(file, &bytes, Durability::Durable)
                .map_err(|source| ConvertError::Write { path: file.clone(), source })?;
            Some((file, staged))
        }
        None => None,
    };
    if let Some(staged) = staged {
        staged.publish()?;
    }
    if let Some((file, head)) = head {
        head.publish().map_err(|source| ConvertError::Write { path: file.clone(), source })?;
    }
    Ok(())
}

/// Opens a backbone folder strictly.
fn open_backbone(folder: &Path) -> Result<BackboneInfo, BackboneError> {
    Backbone::open(folder, Device::Cpu, Precision::Fp32).map(|backbone| backbone.info().clone())
}
