//! CLIP's image tower: a vision transformer whose inner blocks are tapped for patch tokens.

use tch::{Kind, TchError, Tensor};

use super::super::tower::{ImageTower, Placement, convolve};
use super::super::weights::Weights;
use super::block::{Block, BlockShape, LayerNorm};
use super::config::ClipModel;
use crate::Features;

/// The image tower in memory.
pub(super) struct VisionTower {
    /// `[W, 3, P, P]`, stride P, no bias.
    patch_embedding: Tensor,
    patch_size: i64,
    /// `[1, 1, W]`.
    class_embedding: Tensor,
    /// `[N + 1, W]`, the class token first.
    positions: Tensor,
    norm_before: LayerNorm,
    blocks: Vec<Block>,
    /// Counted from 1.
    taps: Vec<usize>,
    norm_after: LayerNorm,
    /// `[W, D]`.
    projection: Tensor,
    placement: Placement,
}

impl VisionTower {
    pub(super) fn load(
        weights: &mut Weights,
        model: &ClipModel,
        placement: Placement,
    ) -> Result<Self, TchError> {
        let ClipModel { config, taps, .. } = model;
        let vision = &config.vision_cfg;
        let (width, patch_size) = (vision.width, vision.patch_size);
        let shape = BlockShape {
            width,
            heads: width / vision.head_width,
            mlp_ratio: vision.mlp_ratio,
            quick_gelu: config.quick_gelu,
        };
        let mut take = |name: &str, shape: &[i64]| placement.place(&weights.take(name, shape));
        let patch_embedding = take("visual.conv1.weight", &[width, 3, patch_size, patch_size])?;
        let class_embedding = take("visual.class_embedding", &[width])?.f_view([1, 1, width])?;
        let positions = take("visual.positional_embedding", &[vision.grid().pow(2) + 1, width])?;
        let projection = take("visual.proj", &[width, config.embed_dim])?;
        let blocks = (0..vision.layers)
            .map(|i| Block::load(weights, &format!("visual.transformer.resblocks.{i}"), shape, placement))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            patch_embedding,
            patch_size,
            class_embedding,
            positions,
            norm_before: LayerNorm::load(weights, "visual.ln_pre", width, placement)?,
            blocks,
            taps: taps.clone(),
            norm_after: LayerNorm::load(weights, "visual.ln_post", width, placement)?,
            projection,
            placement,
        })
    }

    /// `[B, 3, S, S]` to tokens `[B, N + 1, W]`, the class token first.
    fn embed(&self, pixels: &Tensor) -> Result<Tensor, TchError> {
        let pixels = self.placement.place(pixels)?;
        let patches = convolve(&pixels, &self.patch_embedding, None, self.patch_size, [0; 2], 1)?;
        let patches = patches.f_flatten(2, 3)?.f_transpose(1, 2)?;
        let class = self.class_embedding.f_expand([patches.size()[0], -1, -1], false)?;
        let tokens = Tensor::f_cat(&[class, patches], 1)?.f_add(&self.positions)?;
        self.norm_before.forward(&tokens)
    }
}

impl ImageTower for VisionTower {
    fn encode(&self, pixels: &Tensor) -> Result<Features, TchError> {
        let mut tokens = self.embed(pixels)?;
        let mut taps = Vec::with_capacity(self.taps.len());
        for (block, number) in self.blocks.iter().zip(1..) {
            let tapped = self.taps.contains(&number);
            // Nobody reads the patch tokens of an untapped last block.
            if number == self.blocks.len() && !tapped {
                tokens = block.forward_first(&tokens)?;
                break;
            }
            tokens = block.forward(&tokens, false)?;
            if tapped {
                let patches = tokens.size()[1] - 1;
                taps.push(tokens.f_narrow(1, 1, patches)?.f_to_kind(Kind::Float)?.f_contiguous()?);
            }
        }
        let class = self.norm_after.forward(&tokens.f_select(1, 0)?)?.f_matmul(&self.projection)?;
        Ok(Features { taps, class: class.f_to_kind(Kind::Float)? })
    }
}
