//! EfficientNet-Lite0 (Apache-2.0, Google), the starter backbone's image tower: `[B, 3, 240, 240]` pixels to the
//! outputs of three stages on one 15 x 15 grid and the pooled head.
//!
//! ```text
//! stem 32 @120 -> 1: 16 @120 -> 2: 24 @60 -> 3: 40 @30* -> 4: 80 @15 -> 5: 112 @15* -> 6: 192 @8 -> 7: 320 @8*
//!   -> head 1280 @8 -> mean 1280       (* tapped: mean of 2 x 2, as is, bilinear)
//! ```

use tch::{Kind, TchError, Tensor};

use super::tower::{ImageTower, Placement};
use super::weights::Weights;
use crate::Features;

mod conv;

use conv::{Conv, ConvShape, Groups, channels_last};

/// Side of the square that the tower takes.
pub(super) const IMAGE_SIZE: u32 = 240;
/// Tapped stages, counted from 1.
pub(super) const TAPS: [usize; 3] = [3, 5, 7];
/// Their channels.
pub(super) const TAP_CHANNELS: [usize; 3] = [40, 112, 320];
/// Rows and columns that every tap is brought to: those of stage 5.
pub(super) const GRID: (usize, usize) = (15, 15);
/// Channels of the head, which are the class feature once pooled.
pub(super) const EMBED_DIM: usize = 1280;

const STEM_CHANNELS: i64 = 32;

/// Inverted residual blocks that share their shape, but for the first one's stride and input.
struct Stage {
    kernel: i64,
    stride: i64,
    expansion: i64,
    channels: i64,
    repeats: usize,
}

const fn stage(kernel: i64, stride: i64, expansion: i64, channels: i64, repeats: usize) -> Stage {
    Stage { kernel, stride, expansion, channels, repeats }
}

const STAGES: [Stage; 7] = [
    stage(3, 1, 1, 16, 1),
    stage(3, 2, 6, 24, 2),
    stage(5, 2, 6, 40, 2),
    stage(3, 2, 6, 80, 3),
    stage(5, 1, 6, 112, 3),
    stage(5, 2, 6, 192, 4),
    stage(3, 1, 6, 320, 1),
];

/// The tower in memory; batch norms are folded into the convolutions before them.
pub(super) struct EfficientNetLite0 {
    stem: Conv,
    stages: Vec<Vec<Block>>,
    head: Conv,
    placement: Placement,
}

/// Widen, convolve each channel by itself, narrow; the input is added where the shape is kept.
struct Block {
    expand: Option<Conv>,
    depthwise: Conv,
    project: Conv,
    is_residual: bool,
}

impl EfficientNetLite0 {
    /// Takes the tower's tensors, named as in the published state dict.
    pub(super) fn load(weights: &mut Weights, placement: Placement) -> Result<Self, TchError> {
        let pointwise =
            |input, output| ConvShape { input, output, kernel: 1, stride: 1, groups: Groups::One };
        let stem = ConvShape { input: 3, output: STEM_CHANNELS, kernel: 3, stride: 2, groups: Groups::One };
        let stem = Conv::load(weights, "_conv_stem", "_bn0", stem, placement)?;
        let mut channels = STEM_CHANNELS;
        let mut number = 0;
        let mut stages = Vec::with_capacity(STAGES.len());
        for stage in &STAGES {
            let mut blocks = Vec::with_capacity(stage.repeats);
            for repeat in 0..stage.repeats {
                let stride = if repeat == 0 { stage.stride } else { 1 };
                let shape = BlockShape { input: channels, stride, stage };
                blocks.push(Block::load(weights, &format!("_blocks.{number}"), &shape, placement)?);
                channels = stage.channels;
                number += 1;
            }
            stages.push(blocks);
        }
        let head =
            Conv::load(weights, "_conv_head", "_bn1", pointwise(channels, EMBED_DIM as i64), placement)?;
        Ok(Self { stem, stages, head, placement })
    }
}

/// Sizes of one block.
struct BlockShape<'a> {
    input: i64,
    stride: i64,
    stage: &'a Stage,
}

impl Block {
    fn load(
        weights: &mut Weights,
        name: &str,
        shape: &BlockShape<'_>,
        placement: Placement,
    ) -> Result<Self, TchError> {
        let &BlockShape {
            input,
            stride,
            stage: &Stage { kernel, stride: _, expansion, channels, repeats: _ },
        } = shape;
        let width = input * expansion;
        let mut conv = |conv: &str, norm: &str, shape: ConvShape| {
            Conv::load(weights, &format!("{name}.{conv}"), &format!("{name}.{norm}"), shape, placement)
        };
        let pointwise =
            |input, output| ConvShape { input, output, kernel: 1, stride: 1, groups: Groups::One };
        let depthwise =
            ConvShape { input: width, output: width, kernel, stride, groups: Groups::EachChannel };
        Ok(Self {
            expand: (expansion > 1)
                .then(|| conv("_expand_conv", "_bn0", pointwise(input, width)))
                .transpose()?,
            depthwise: conv("_depthwise_conv", "_bn1", depthwise)?,
            project: conv("_project_conv", "_bn2", pointwise(width, channels))?,
            is_residual: stride == 1 && input == channels,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let Self { expand, depthwise, project, is_residual } = self;
        let wide = expand.as_ref().map(|expand| expand.activated(x)).transpose()?;
        let narrow = project.forward(&depthwise.activated(wide.as_ref().unwrap_or(x))?)?;
        if *is_residual { narrow.f_add(x) } else { Ok(narrow) }
    }
}

impl ImageTower for EfficientNetLite0 {
    fn encode(&self, pixels: &Tensor) -> Result<Features, TchError> {
        let mut x = self.stem.activated(&channels_last(&self.placement.place(pixels)?)?)?;
        let mut taps = Vec::with_capacity(TAPS.len());
        for (stage, number) in self.stages.iter().zip(1..) {
            for block in stage {
                x = block.forward(&x)?;
            }
            if TAPS.contains(&number) {
                taps.push(on_grid(&x)?);
            }
        }
        let head = self.head.activated(&x)?.f_to_kind(Kind::Float)?;
        Ok(Features { taps, class: head.f_mean_dim([2, 3].as_slice(), false, None)? })
    }
}

/// `[B, C, h, w]` to float32 `[B, N, C]` on the common grid: finer maps are averaged, coarser ones interpolated
/// between the centres of their cells.
fn on_grid(map: &Tensor) -> Result<Tensor, TchError> {
    let (rows, columns) = (GRID.0 as i64, GRID.1 as i64);
    let map = map.f_to_kind(Kind::Float)?;
    let (_, _, height, width) = map.size4()?;
    let map = if (height, width) == (rows, columns) {
        map
    } else if height > rows {
        let cell = [height / rows, width / columns];
        map.f_avg_pool2d(cell, cell, [0, 0], false, false, None)?
    } else {
        map.f_upsample_bilinear2d([rows, columns], false, None, None)?
    };
    map.f_flatten(2, 3)?.f_transpose(1, 2)?.f_contiguous()
}
