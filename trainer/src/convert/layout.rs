//! Which kind of checkpoint, told by the names of its tensors; and which of them anybody needs.

use super::checkpoint::Checkpoint;

/// Kinds of checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// The authors': a CLIP, the adapter and both score heads under one roof.
    Official,
    /// A CLIP of open_clip.
    OpenClip,
    /// EfficientNet-Lite0.
    Starter,
}

/// Prefixes of the tensors that are the head's.
const HEAD_PREFIXES: [&str; 3] = ["adapter.", "diff_head.", "diff_head_ref."];

/// What tells the kinds apart.
const CLIP_TENSOR: &str = "visual.conv1.weight";
const HEAD_TENSOR: &str = "adapter.fc.0.weight";
const STARTER_TENSOR: &str = "_conv_stem.weight";

impl Layout {
    /// The kind, or what was missed.
    pub(super) fn of(checkpoint: &Checkpoint) -> Result<Self, String> {
        let has = |name| checkpoint.contains(name);
        match (has(CLIP_TENSOR), has(HEAD_TENSOR), has(STARTER_TENSOR)) {
            (true, true, false) => Ok(Self::Official),
            (true, false, false) => Ok(Self::OpenClip),
            (false, false, true) => Ok(Self::Starter),
            _ => {
                let first: Vec<&str> = checkpoint.names().take(3).collect();
                Err(format!(
                    "a CLIP has {CLIP_TENSOR}, an InCTRL checkpoint {HEAD_TENSOR} besides, EfficientNet-Lite0 has \
                     {STARTER_TENSOR}; this one begins with {}",
                    first.join(", ")
                ))
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Official => "an InCTRL checkpoint",
            Self::OpenClip => "a CLIP state dict",
            Self::Starter => "an EfficientNet-Lite0 state dict",
        }
    }
}

/// Whether a tensor belongs into the backbone's folder: not the head's, not what no feature depends on (counters of
/// training, the temperature of CLIP's training loss, the classifier of EfficientNet).
pub(super) fn is_of_backbone(name: &str) -> bool {
    let is_of_head = HEAD_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let is_unused = name.ends_with(".num_batches_tracked")
        || matches!(name, "logit_scale" | "logit_bias" | "attn_mask" | "_fc.weight" | "_fc.bias");
    !is_of_head && !is_unused
}

/// Whether a tensor belongs into the head file. The authors construct and save a first batch norm that nothing reads.
pub(super) fn is_of_head(name: &str) -> bool {
    let is_unused = name.ends_with(".num_batches_tracked") || name.contains(".bn1.");
    HEAD_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !is_unused
}
