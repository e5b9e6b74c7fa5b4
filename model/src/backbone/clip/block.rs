//! One pre-norm transformer block, shared by the image and the text tower.

use tch::{TchError, Tensor};

use super::super::tower::Placement;
use super::super::weights::Weights;

/// Added to the variance by every layer norm of CLIP.
const LAYER_NORM_EPS: f64 = 1e-5;

/// Layer norm over the last dimension.
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

/// `x W^T + b`.
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
pub(super) struct Block {
    attention_norm: LayerNorm,
    /// Packed query, key and value, `[3W, W]`.
    qkv: Linear,
    attention_out: Linear,
    mlp_norm: LayerNorm,
    mlp_in: Linear,
    mlp_out: Linear,
    heads: i64,
    quick_gelu: bool,
}

/// Sizes of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockShape {
    pub(super) width: i64,
    pub(super) heads: i64,
    pub(super) mlp_ratio: f64,
    pub(super) quick_gelu: bool,
}

impl LayerNorm {
    pub(super) fn load(
        weights: &mut Weights,
        name: &str,
        width: i64,
        placement: Placement,
    ) -> Result<Self, TchError> {
        let Linear { weight, bias } = Linear::load_named(
            weights,
            [format!("{name}.weight"), format!("{name}.bias")],
            &[width],
            placement,
        )?;
        Ok(Self { weight, bias })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let width = self.weight.size();
        x.f_layer_norm(&width, Some(&self.weight), Some(&self.bias), LAYER_NORM_EPS, true)
    }
}

impl Linear {
    fn load(
        weights: &mut Weights,
        name: &str,
        shape: [i64; 2],
        placement: Placement,
    ) -> Result<Self, TchError> {
        Self::load_named(weights, [format!("{name}.weight"), format!("{name}.bias")], &shape, placement)
    }

    /// The names of weight and bias; the first dimension of `shape` is the bias's.
    fn load_named(
        weights: &mut Weights,
        [weight, bias]: [String; 2],
        shape: &[i64],
        placement: Placement,
    ) -> Result<Self, TchError> {
        Ok(Self {
            weight: placement.place(&weights.take(&weight, shape))?,
            bias: placement.place(&weights.take(&bias, &shape[..1]))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_linear(&self.weight, Some(&self.bias))
    }

    /// The output columns `start..start + length` alone.
    fn columns(&self, x: &Tensor, start: i64, length: i64) -> Result<Tensor, TchError> {
        let bias = self.bias.f_narrow(0, start, length)?;
        x.f_linear(&self.weight.f_narrow(0, start, length)?, Some(&bias))
    }
}

impl Block {
    pub(super) fn load(
        weights: &mut Weights,
        name: &str,
        shape: BlockShape,
        placement: Placement,
    ) -> Result<Self, TchError> {
        let BlockShape { width, heads, mlp_ratio, quick_gelu } = shape;
        let hidden = (width as f64 * mlp_ratio) as i64;
        let packed = ["weight", "bias"].map(|part| format!("{name}.attn.in_proj_{part}"));
        Ok(Self {
            attention_norm: LayerNorm::load(weights, &format!("{name}.ln_1"), width, placement)?,
            qkv: Linear::load_named(weights, packed, &[3 * width, width], placement)?,
            attention_out: Linear::load(
                weights,
                &format!("{name}.attn.out_proj"),
                [width, width],
                placement,
            )?,
            mlp_norm: LayerNorm::load(weights, &format!("{name}.ln_2"), width, placement)?,
            mlp_in: Linear::load(weights, &format!("{name}.mlp.c_fc"), [hidden, width], placement)?,
            mlp_out: Linear::load(weights, &format!("{name}.mlp.c_proj"), [width, hidden], placement)?,
            heads,
            quick_gelu,
        })
    }

    /// `[B, T, W]` to `[B, T, W]`; with `causal`, a token sees those before it and itself.
    pub(super) fn forward(&self, x: &Tensor, causal: bool) -> Result<Tensor, TchError> {
        let packed = self.qkv.forward(&self.attention_norm.forward(x)?)?.f_chunk(3, -1)?;
        let attended = self.attend(&packed[0], &packed[1], &packed[2], causal)?;
        self.mlp(&x.f_add(&attended)?)
    }

    /// What [`Self::forward`] says of the first token, `[B, 1, W]`, without computing the rest: all that the last
    /// block is asked for, at a sixth of its cost.
    pub(super) fn forward_first(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let width = x.size()[2];
        let normed = self.attention_norm.forward(x)?;
        let query = self.qkv.columns(&normed.f_narrow(1, 0, 1)?, 0, width)?;
        let packed = self.qkv.columns(&normed, width, 2 * width)?.f_chunk(2, -1)?;
        let attended = self.attend(&query, &packed[0], &packed[1], false)?;
        self.mlp(&x.f_narrow(1, 0, 1)?.f_add(&attended)?)
    }

    fn attend(&self, query: &Tensor, key: &Tensor, value: &Tensor, causal: bool) -> Result<Tensor, TchError> {
        let (batch, tokens, width) = query.size3()?;
        let split = |x: &Tensor| x.f_view([batch, -1, self.heads, width / self.heads])?.f_transpose(1, 2);
        let mixed = Tensor::f_scaled_dot_product_attention(
            &split(query)?,
            &split(key)?,
            &split(value)?,
            None::<Tensor>,
            0.0,
            causal,
            None,
            false,
        )?;
        self.attention_out.forward(&mixed.f_transpose(1, 2)?.f_reshape([batch, tokens, width])?)
    }

    fn mlp(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let hidden = self.mlp_in.forward(&self.mlp_norm.forward(x)?)?;
        let active = if self.quick_gelu {
            hidden.f_mul(&hidden.f_mul_scalar(1.702)?.f_sigmoid()?)?
        } else {
            hidden.f_gelu("none")?
        };
        x.f_add(&self.mlp_out.forward(&active)?)
    }
}
