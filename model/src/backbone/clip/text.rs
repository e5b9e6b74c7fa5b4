//! CLIP's text tower: token ids to text features.

use tch::{Kind, TchError, Tensor};

use super::super::tower::Placement;
use super::super::weights::Weights;
use super::block::{Block, BlockShape, LayerNorm};
use super::config::ClipConfig;

/// Names of the tensors start with this where the model has `custom_text`.
const CUSTOM_TEXT_PREFIX: &str = "text.";

/// The text tower in memory.
pub(super) struct TextTower {
    /// `[V, W]`.
    tokens: Tensor,
    /// `[T, W]`.
    positions: Tensor,
    blocks: Vec<Block>,
    norm_after: LayerNorm,
    /// `[W, D]`.
    projection: Tensor,
}

impl TextTower {
    pub(super) fn load(
        weights: &mut Weights,
        config: &ClipConfig,
        placement: Placement,
    ) -> Result<Self, TchError> {
        let text = &config.text_cfg;
        let width = text.width;
        let shape =
            BlockShape { width, heads: text.heads, mlp_ratio: text.mlp_ratio, quick_gelu: config.quick_gelu };
        let custom = weights.contains(&format!("{CUSTOM_TEXT_PREFIX}positional_embedding"));
        let prefix = if custom { CUSTOM_TEXT_PREFIX } else { "" };
        let mut take =
            |name: &str, shape: &[i64]| placement.place(&weights.take(&format!("{prefix}{name}"), shape));
        let tokens = take("token_embedding.weight", &[text.vocab_size, width])?;
        let positions = take("positional_embedding", &[text.context_length, width])?;
        let projection = take("text_projection", &[width, config.embed_dim])?;
        let blocks = (0..text.layers)
            .map(|i| Block::load(weights, &format!("{prefix}transformer.resblocks.{i}"), shape, placement))
            .collect::<Result<_, _>>()?;
        let norm_after = LayerNorm::load(weights, &format!("{prefix}ln_final"), width, placement)?;
        Ok(Self { tokens, positions, blocks, norm_after, projection })
    }

    /// Features `[M, D]` of M sentences, float32, not normalised. Each is its token ids from start to end token,
    /// without padding: a token sees none after it, so the padding that CLIP was trained with changes nothing, and
    /// sentences are brought only to the length of the longest.
    pub(super) fn encode(&self, sentences: &[Vec<i64>]) -> Result<Tensor, TchError> {
        let longest = sentences.iter().map(Vec::len).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(sentences.len() * longest);
        for sentence in sentences {
            ids.extend_from_slice(sentence);
            ids.resize(ids.len() + longest - sentence.len(), 0);
        }
        let device = self.tokens.device();
        let ids = Tensor::f_from_slice(&ids)?.f_view([-1, longest as i64])?.f_to_device(device)?;
        let ends: Vec<i64> = sentences.iter().map(|sentence| sentence.len() as i64 - 1).collect();
        let ends = Tensor::f_from_slice(&ends)?.f_to_device(device)?;

        let mut x = Tensor::f_embedding(&self.tokens, &ids, -1, false, false)?
            .f_add(&self.positions.f_narrow(0, 0, longest as i64)?)?;
        for block in &self.blocks {
            x = block.forward(&x, true)?;
        }
        let rows = Tensor::f_arange(sentences.len() as i64, (Kind::Int64, device))?;
        let last = x.f_index(&[Some(rows), Some(ends)])?;
        self.norm_after.forward(&last)?.f_matmul(&self.projection)?.f_to_kind(Kind::Float)
    }
}
