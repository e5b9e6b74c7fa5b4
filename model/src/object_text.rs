//! Text features of an object name, a few sentences at a time: all of them take seconds on a CPU, in which a server has
//! queries to answer.

use tch::Tensor;

use crate::backbone::{Backbone, BackboneError};
use crate::text_prompts::TextPrompts;

/// Sentences encoded at once: enough to keep matrix products busy, about a query's time on a CPU.
const SENTENCES_AT_ONCE: usize = 32;

/// Text features of an object name in the making; [`Backbone::begin_object`] begins them.
#[derive(Debug)]
pub struct ObjectText {
    /// The normal sentences, then the anomalous ones.
    sentences: Vec<String>,
    normal: usize,
    encoded: Vec<Tensor>,
    done: usize,
}

impl ObjectText {
    pub(crate) fn new(object: &str) -> Self {
        let TextPrompts { normal, anomalous } = TextPrompts::of(object);
        let count = normal.len();
        let sentences = normal.into_iter().chain(anomalous).collect();
        Self { sentences, normal: count, encoded: Vec::new(), done: 0 }
    }

    /// Encodes the next sentences. With the last of them: the features, `[2, D]` of unit length, float32 (normal,
    /// anomalous). `backbone` must be the one that began them.
    pub fn advance(&mut self, backbone: &Backbone) -> Result<Option<Tensor>, BackboneError> {
        let end = self.sentences.len().min(self.done + SENTENCES_AT_ONCE);
        if self.done < end {
            self.encoded.push(backbone.encode_sentences(&self.sentences[self.done..end])?);
            self.done = end;
        }
        Ok((end == self.sentences.len()).then(|| tch::no_grad(|| self.features())))
    }

    /// The mean of each kind's unit features, brought to unit length.
    fn features(&self) -> Tensor {
        let rows = crate::residual::normalised(&Tensor::cat(&self.encoded, 0));
        let mean = |start: usize, end: usize| {
            rows.narrow(0, start as i64, (end - start) as i64).mean_dim([0].as_slice(), false, None)
        };
        let kinds = [mean(0, self.normal), mean(self.normal, self.sentences.len())];
        crate::residual::normalised(&Tensor::stack(&kinds, 0))
    }
}
