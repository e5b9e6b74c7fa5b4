//! The head of the authors' checkpoints: adapter and both score heads to a head.

use std::path::Path;

use inctrl_model::{BackboneInfo, Device, Head, HeadKind, HeadMetadata};

use super::checkpoint::Checkpoint;
use super::layout::is_of_head;
use super::{ConvertError, folder};

/// The head of the checkpoint at `path`, which goes with `backbone`; what does not fit is named.
pub(super) fn make(
    path: &Path,
    checkpoint: &Checkpoint,
    backbone: BackboneInfo,
) -> Result<Head, ConvertError> {
    let names = checkpoint.names().filter(|name| is_of_head(name));
    let tensors = names
        .map(|name| Ok((name, folder::read(path, checkpoint, name)?)))
        .collect::<Result<Vec<_>, ConvertError>>()?;
    Head::from_tensors(&HeadMetadata::new(HeadKind::Paper, backbone), tensors, Device::Cpu)
        .map_err(|source| ConvertError::Head { path: path.to_owned(), source })
}
