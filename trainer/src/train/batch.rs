//! Queries of a step as tensors: residuals of each against its own prompt set, from remembered patch matches.

use std::collections::BTreeMap;

use inctrl_model::head::contextual::{relative, statistics};
use inctrl_model::head::paper::PaperInputs;
use inctrl_model::residual::{class_distance, text_score};
use inctrl_model::{HeadKind, HeadMetadata};
use tch::{Kind, Tensor};

use crate::episodes::Query;
use crate::features::{FeatureError, FeatureSet};
use crate::pairs::Pairs;

/// What a head is shown of B queries.
#[derive(Debug)]
pub struct Batch {
    /// Residuals in the form that the head takes.
    pub inputs: Inputs,
    /// `[B]`: 0 normal, 1 anomalous.
    pub labels: Tensor,
}

/// Residuals in the form that a head takes.
#[derive(Debug)]
pub enum Inputs {
    /// For the paper's head.
    Paper(PaperInputs),
    /// For contextual heads: log-ratios `[B, 8]`.
    Contextual(Tensor),
}

/// Makes batches of the images of one feature set.
pub struct Batches<'f> {
    kind: HeadKind,
    pairs: Pairs<'f>,
    /// Class features `[images, D]`.
    class: Tensor,
    /// Text features `[2, D]` of each class, where the head uses them.
    text: Option<Vec<Tensor>>,
    /// Index of the mirrored view of images that are prompt sets by themselves.
    mirrored: BTreeMap<usize, usize>,
}

impl<'f> Batches<'f> {
    /// Over `features`. `prompts` are the images that are ever prompts, `mirrored` says where in the set the mirrored
    /// views of prompt images stand; without them prompt sets of one image have no context. `text` holds the text
    /// features of each class where the head uses them.
    pub fn new(
        metadata: &HeadMetadata,
        features: &'f FeatureSet<'f>,
        prompts: impl IntoIterator<Item = usize>,
        mirrored: BTreeMap<usize, usize>,
        text: Option<Vec<Tensor>>,
    ) -> Result<Self, FeatureError> {
        let mut is_prompt = vec![false; features.len()];
        prompts.into_iter().for_each(|image| is_prompt[image] = true);
        let text = text.filter(|_| metadata.uses_text);
        let (kind, class) = (metadata.kind, features.class_features()?);
        Ok(Self { kind, pairs: Pairs::new(features, is_prompt), class, text, mirrored })
    }

    /// A step's queries, which all have the same number of prompts.
    pub fn batch(&mut self, queries: &[Query]) -> Result<Batch, FeatureError> {
        let wanted: Vec<(usize, &[usize])> =
            queries.iter().map(|query| (query.image, query.prompts.as_slice())).collect();
        let map = self.pairs.maps(&wanted)?;
        let class = self.class_of(queries.iter().map(|query| query.image));
        let prompt_class = self.prompt_class(queries);
        let labels: Vec<f32> = queries.iter().map(|query| f32::from(u8::from(query.anomalous))).collect();
        let inputs = match self.kind {
            HeadKind::Paper => {
                let text_score = self.text_scores(queries, &class);
                Inputs::Paper(PaperInputs { class, prompt_class, map, text_score })
            }
            HeadKind::Contextual => {
                let distance = class_distance(&class.unsqueeze(1), &prompt_class).squeeze_dim(1);
                let context = self.context(queries, &prompt_class)?;
                Inputs::Contextual(relative(&statistics(&map, &distance), &context))
            }
        };
        Ok(Batch { inputs, labels: Tensor::from_slice(&labels) })
    }

    /// Statistics `[B, K', 8]` of each prompt set against itself: each image against the others, a single image's
    /// mirrored view against the image.
    fn context(&mut self, queries: &[Query], prompt_class: &Tensor) -> Result<Tensor, FeatureError> {
        let (batch, shots) = (queries.len() as i64, queries[0].prompts.len());
        let mut images = Vec::new();
        let mut others: Vec<Vec<usize>> = Vec::new();
        for query in queries {
            for (position, &prompt) in query.prompts.iter().enumerate() {
                if shots == 1 {
                    images.push(self.mirrored[&prompt]);
                    others.push(vec![prompt]);
                } else {
                    let mut rest = query.prompts.clone();
                    rest.remove(position);
                    images.push(prompt);
                    others.push(rest);
                }
            }
        }
        let wanted: Vec<(usize, &[usize])> =
            images.iter().copied().zip(others.iter().map(Vec::as_slice)).collect();
        let maps = self.pairs.maps(&wanted)?;
        let of_images = self.class_of(images.iter().copied());
        let distance = if shots == 1 {
            class_distance(&of_images.unsqueeze(1), prompt_class)
        } else {
            let width = of_images.size()[1];
            let of_others = self.class_of(others.iter().flatten().copied());
            class_distance(&of_images.unsqueeze(1), &of_others.reshape([-1, shots as i64 - 1, width]))
        };
        let context = statistics(&maps, &distance.reshape([-1]));
        Ok(context.reshape([batch, shots as i64, -1]))
    }

    fn class_of(&self, images: impl Iterator<Item = usize>) -> Tensor {
        let rows: Vec<i64> = images.map(|image| image as i64).collect();
        self.class.index_select(0, &Tensor::from_slice(&rows).to_device(self.class.device()))
    }

    /// `[B, K, D]`.
    fn prompt_class(&self, queries: &[Query]) -> Tensor {
        let prompts = queries.iter().flat_map(|query| query.prompts.iter().copied());
        let (batch, width) = (queries.len() as i64, self.class.size()[1]);
        self.class_of(prompts).reshape([batch, -1, width])
    }

    /// `[B]`, each query against the texts of its prompt set's class.
    fn text_scores(&self, queries: &[Query], class: &Tensor) -> Option<Tensor> {
        let text = self.text.as_ref()?;
        let rows = queries.iter().enumerate();
        let scores: Vec<Tensor> = rows
            .map(|(row, query)| text_score(&class.narrow(0, row as i64, 1), &text[query.class]))
            .collect();
        Some(Tensor::cat(&scores, 0).to_kind(Kind::Float))
    }
}

impl Batch {
    /// Position of the first query with an input that is not finite.
    pub fn first_non_finite(&self) -> Option<usize> {
        let rows = match &self.inputs {
            Inputs::Contextual(ratios) => ratios.shallow_clone(),
            Inputs::Paper(PaperInputs { class, prompt_class, map, text_score }) => {
                let mut parts = vec![class.shallow_clone(), prompt_class.flatten(1, 2), map.shallow_clone()];
                parts.extend(text_score.as_ref().map(|score| score.unsqueeze(1)));
                Tensor::cat(&parts, 1)
            }
        };
        let finite = rows.isfinite().all_dim(1, false);
        let finite: Vec<bool> = Vec::try_from(finite).unwrap_or_default();
        finite.iter().position(|finite| !finite)
    }
}
