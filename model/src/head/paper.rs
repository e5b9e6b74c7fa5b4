//! The authors' head (paper section 3): an adapter on class features and two score heads, fused with the largest
//! patch residual. Tensor names are those of the authors' checkpoints.

use std::collections::BTreeMap;

use tch::Tensor;

use super::{BatchScores, HeadError};
use crate::{BackboneInfo, PromptFeatures, Residuals};

/// The adapter's bottleneck is the class feature's width divided by this.
const ADAPTER_REDUCTION: usize = 4;

/// Widths of the two hidden layers of a score head.
const HIDDEN: [i64; 2] = [128, 64];

/// Batch norm as the authors have it (torch's defaults).
const BATCH_NORM_EPSILON: f64 = 1e-5;
const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// How the names of batch norm's running variances end.
pub(super) const VARIANCE: &str = ".running_var";

/// Names and shapes of the tensors of a paper head on `backbone`; 30 of them.
pub fn layout(backbone: &BackboneInfo) -> Vec<(String, Vec<i64>)> {
    let width = backbone.embed_dim as i64;
    let bottleneck = (backbone.embed_dim / ADAPTER_REDUCTION) as i64;
    let patches = (backbone.grid.0 * backbone.grid.1) as i64;
    let mut tensors = vec![
        ("adapter.fc.0.weight".to_owned(), vec![bottleneck, width]),
        ("adapter.fc.2.weight".to_owned(), vec![width, bottleneck]),
    ];
    for (head, input) in [("diff_head", patches), ("diff_head_ref", width)] {
        let [first, second] = HIDDEN;
        for (layer, shape) in [(1, [first, input]), (2, [second, first]), (3, [1, second])] {
            tensors.push((format!("{head}.projection{layer}.weight"), shape.to_vec()));
            tensors.push((format!("{head}.projection{layer}.bias"), vec![shape[0]]));
        }
        for (norm, size) in [("bn2", first), ("bn3", second)] {
            for part in ["weight", "bias", "running_mean", "running_var"] {
                tensors.push((format!("{head}.{norm}.{part}"), vec![size]));
            }
        }
    }
    tensors
}

/// Whether a tensor of [`layout`] is a statistic of batch norm, which no gradient trains.
pub fn is_running_statistic(name: &str) -> bool {
    name.ends_with(".running_mean") || name.ends_with(VARIANCE)
}

/// The authors' adapter and score heads.
#[derive(Debug)]
pub struct PaperHead {
    adapter: [Tensor; 2],
    holistic: ScoreHead,
    image: ScoreHead,
}

/// What the head sees of a batch of B queries.
#[derive(Debug)]
pub struct PaperInputs {
    /// Class features of the queries `[B, D]`.
    pub class: Tensor,
    /// Class features of each query's prompt set `[B, K, D]`, or `[1, K, D]` where all share one.
    pub prompt_class: Tensor,
    /// Patch residual maps `[B, N]`.
    pub map: Tensor,
    /// Text scores `[B]`; left out of the fusion where absent.
    pub text_score: Option<Tensor>,
}

/// Answers of both score heads before their sigmoid, `[B]` each.
#[derive(Debug)]
pub struct PaperLogits {
    /// Image-level score.
    pub image: Tensor,
    /// Score over the holistic map.
    pub holistic: Tensor,
}

impl PaperLogits {
    /// Final scores `[B]`: half the holistic score, half the largest patch residual of `map` `[B, N]`.
    pub fn final_score(&self, map: &Tensor) -> Tensor {
        (self.holistic.sigmoid() + map.amax([1].as_slice(), false)) * 0.5
    }
}

impl PaperHead {
    /// Over tensors named and shaped as [`layout`] says; they are shared, not copied, so that a trainer's steps show.
    ///
    /// # Panics
    ///
    /// When a name is missing; tensors of a file are checked before.
    pub fn from_tensors(tensors: &BTreeMap<String, Tensor>) -> Self {
        Self {
            adapter: ["adapter.fc.0.weight", "adapter.fc.2.weight"].map(|name| share(tensors, name)),
            holistic: ScoreHead::from_tensors(tensors, "diff_head"),
            image: ScoreHead::from_tensors(tensors, "diff_head_ref"),
        }
    }

    /// Image-level residual `[B, D]`: mean adapted prompt feature minus adapted query feature.
    pub fn image_residual(&self, class: &Tensor, prompt_class: &Tensor) -> Tensor {
        self.adapt(prompt_class).mean_dim([1].as_slice(), false, tch::Kind::Float) - self.adapt(class)
    }

    /// Logits of both score heads. With `train`, batch norm takes the batch's own statistics (B of at least 2) and
    /// updates the running ones in place.
    pub fn logits(&self, inputs: &PaperInputs, train: bool) -> PaperLogits {
        let PaperInputs { class, prompt_class, map, text_score } = inputs;
        let image = self.image.logits(&self.image_residual(class, prompt_class), train);
        let shift = image.sigmoid();
        // Not in place: the sigmoid's gradient needs its own answer.
        let shift =
            text_score.as_ref().map_or_else(|| shift.shallow_clone(), |text_score| &shift + text_score);
        let holistic = self.holistic.logits(&(map + shift.unsqueeze(1)), train);
        PaperLogits { image, holistic }
    }

    pub(super) fn score(
        &self,
        residuals: &Residuals,
        prompts: &PromptFeatures,
        uses_text: bool,
    ) -> Result<BatchScores, HeadError> {
        let text_score = match (uses_text, &residuals.text_score) {
            (false, _) => None,
            (true, Some(score)) => Some(score.shallow_clone()),
            (true, None) => return Err(HeadError::NoText),
        };
        let inputs = PaperInputs {
            class: residuals.class.shallow_clone(),
            prompt_class: prompts.class.unsqueeze(0),
            map: residuals.map.shallow_clone(),
            text_score,
        };
        let logits = self.logits(&inputs, false);
        Ok(BatchScores {
            score: logits.final_score(&inputs.map),
            image_score: Some(logits.image.sigmoid()),
            holistic_score: Some(logits.holistic.sigmoid()),
        })
    }

    /// Two linear layers without bias, each followed by ReLU; no skip, no norm.
    fn adapt(&self, class: &Tensor) -> Tensor {
        let [down, up] = &self.adapter;
        let plain = None::<&Tensor>;
        class.linear(down, plain).relu().linear(up, plain).relu()
    }
}

/// Linear, ReLU, batch norm, twice; then linear. Batch norm stands after the ReLU.
#[derive(Debug)]
struct ScoreHead {
    projections: [(Tensor, Tensor); 3],
    norms: [BatchNorm; 2],
}

#[derive(Debug)]
struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl ScoreHead {
    fn from_tensors(tensors: &BTreeMap<String, Tensor>, head: &str) -> Self {
        let part = |name: &str| share(tensors, &format!("{head}.{name}"));
        Self {
            projections: ["projection1", "projection2", "projection3"]
                .map(|layer| (part(&format!("{layer}.weight")), part(&format!("{layer}.bias")))),
            norms: ["bn2", "bn3"].map(|norm| BatchNorm {
                weight: part(&format!("{norm}.weight")),
                bias: part(&format!("{norm}.bias")),
                running_mean: part(&format!("{norm}.running_mean")),
                running_var: part(&format!("{norm}.running_var")),
            }),
        }
    }

    /// `[B, d]` to `[B]`.
    fn logits(&self, input: &Tensor, train: bool) -> Tensor {
        let [first, second, last] = &self.projections;
        let hidden = self.norms[0].apply(&input.linear(&first.0, Some(&first.1)).relu(), train);
        let hidden = self.norms[1].apply(&hidden.linear(&second.0, Some(&second.1)).relu(), train);
        hidden.linear(&last.0, Some(&last.1)).squeeze_dim(1)
    }
}

impl BatchNorm {
    fn apply(&self, input: &Tensor, train: bool) -> Tensor {
        let Self { weight, bias, running_mean, running_var } = self;
        input.batch_norm(
            Some(weight),
            Some(bias),
            Some(running_mean),
            Some(running_var),
            train,
            BATCH_NORM_MOMENTUM,
            BATCH_NORM_EPSILON,
            false,
        )
    }
}

fn share(tensors: &BTreeMap<String, Tensor>, name: &str) -> Tensor {
    tensors.get(name).unwrap_or_else(|| panic!("tensor {name} must be given")).shallow_clone()
}
