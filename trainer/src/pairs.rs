//! Patch matches between pairs of images, remembered: what an epoch costs once the features are cached.
//!
//! A residual map against a prompt set is the largest cosine over the set's images, so that matches of a query with
//! one prompt image serve every set that holds the image, every epoch, and the set's own leave-one-out context. Each
//! pair is one product of fixed shape, so that its values do not depend on what was remembered before.

use std::collections::{BTreeSet, HashMap};

use inctrl_model::residual::normalised;
use rayon::prelude::*;
use tch::Tensor;

use crate::features::{FeatureError, FeatureSet};

/// Memory for remembered pairs in bytes; at 225 patches and three taps, 390,000 pairs.
const PAIR_BYTES: usize = 1 << 30;

/// Memory for normalised taps in bytes: 5,000 images of the starter backbone, 880 of ViT-B-16-plus-240. Of larger data
/// sets, they are read from the cache again and again.
const TAP_BYTES: usize = 2 << 30;

/// Images read from the cache at a time, and pairs that cores share at a time.
const BLOCK: usize = 256;

/// A query image and a prompt image, as indices of the feature set.
pub type Pair = (usize, usize);

/// Largest cosines between the patches of pairs of images.
pub struct Pairs<'f> {
    features: &'f FeatureSet<'f>,
    /// Whether an image is ever a prompt: its matches in the other direction come with the same product.
    prompt: Vec<bool>,
    taps: HashMap<usize, Vec<Tensor>>,
    cosines: HashMap<Pair, Vec<f32>>,
}

impl<'f> Pairs<'f> {
    /// Over the images of `features`; `prompt` says of each whether it is ever a prompt.
    pub fn new(features: &'f FeatureSet<'f>, prompt: Vec<bool>) -> Self {
        Self { features, prompt, taps: HashMap::new(), cosines: HashMap::new() }
    }

    /// Residual maps `[queries, N]` of each query image against its prompt images.
    pub fn maps(&mut self, queries: &[(usize, &[usize])]) -> Result<Tensor, FeatureError> {
        let wanted =
            queries.iter().flat_map(|(query, prompts)| prompts.iter().map(|prompt| (*query, *prompt)));
        self.match_all(wanted.collect())?;
        let maps: Vec<Vec<f32>> = queries.iter().map(|(query, prompts)| self.map(*query, prompts)).collect();
        Ok(Tensor::from_slice2(&maps))
    }

    /// Half distance to the nearest patch of any prompt image, averaged over the taps; the pairs must be there.
    fn map(&self, query: usize, prompts: &[usize]) -> Vec<f32> {
        let mut largest = self.cosines[&(query, prompts[0])].clone();
        for prompt in &prompts[1..] {
            for (largest, cosine) in largest.iter_mut().zip(&self.cosines[&(query, *prompt)]) {
                *largest = largest.max(*cosine);
            }
        }
        let taps = self.features.taps();
        let patches = largest.len() / taps;
        (0..patches)
            .map(|patch| {
                let of_patch = largest.iter().skip(patch).step_by(patches);
                of_patch.map(|cosine| (0.5 * (1.0 - cosine)).clamp(0.0, 1.0)).sum::<f32>() / taps as f32
            })
            .collect()
    }

    /// Makes the pairs that are not remembered.
    fn match_all(&mut self, wanted: Vec<Pair>) -> Result<(), FeatureError> {
        let remembered: usize = self.cosines.len() * self.features.taps() * self.features.patches();
        if remembered * size_of::<f32>() > PAIR_BYTES {
            self.cosines.clear();
        }
        let known = |pair: &Pair| self.cosines.contains_key(pair);
        let wanted = wanted.into_iter().collect::<BTreeSet<Pair>>();
        let missing: BTreeSet<Pair> = wanted
            .into_iter()
            .filter(|pair| !known(pair))
            .map(|(query, prompt)| (query.min(prompt), query.max(prompt)))
            .collect();
        let images: BTreeSet<usize> = missing.iter().flat_map(|&(first, second)| [first, second]).collect();
        self.read(&images)?;
        let missing: Vec<Pair> = missing.into_iter().collect();
        for block in missing.chunks(BLOCK) {
            self.match_block(block);
        }
        Ok(())
    }

    /// Brings the normalised taps of `images` to memory.
    fn read(&mut self, images: &BTreeSet<usize>) -> Result<(), FeatureError> {
        let absent = |taps: &HashMap<usize, Vec<Tensor>>| -> Vec<usize> {
            images.iter().copied().filter(|image| !taps.contains_key(image)).collect()
        };
        let mut missing = absent(&self.taps);
        if (self.taps.len() + missing.len()) * self.features.tap_bytes() > TAP_BYTES {
            self.taps.clear();
            missing = absent(&self.taps);
        }
        for block in missing.chunks(BLOCK) {
            let taps: Vec<Tensor> = self.features.select(block)?.taps.iter().map(normalised).collect();
            for (row, image) in block.iter().enumerate() {
                self.taps.insert(*image, taps.iter().map(|tap| tap.get(row as i64)).collect());
            }
        }
        Ok(())
    }

    /// Both directions of each pair, as far as they lead to prompts. Cores share the pairs, not a product: products are
    /// small, and their values then depend on no number of threads.
    fn match_block(&mut self, block: &[Pair]) {
        let taps = |image: &usize| self.taps[image].iter().map(Tensor::shallow_clone).collect::<Vec<_>>();
        let images: Vec<_> = block.iter().map(|(first, second)| (taps(first), taps(second))).collect();
        let matches: Vec<Vec<f32>> = images
            .into_par_iter()
            .map_init(|| tch::set_num_threads(1), |(), (first, second)| both_ways(&first, &second))
            .collect();
        for (&(first, second), mut there) in block.iter().zip(matches) {
            let back = there.split_off(there.len() / 2);
            if self.prompt[first] {
                self.cosines.insert((second, first), back);
            }
            if self.prompt[second] {
                self.cosines.insert((first, second), there);
            }
        }
    }
}

/// Largest cosines of the patches of the first image against the second, all taps, then the other way round.
fn both_ways(first: &[Tensor], second: &[Tensor]) -> Vec<f32> {
    let (there, back): (Vec<Tensor>, Vec<Tensor>) = first
        .iter()
        .zip(second)
        .map(|(first, second)| {
            let cosines = first.matmul(&second.tr());
            (cosines.amax([1].as_slice(), false), cosines.amax([0].as_slice(), false))
        })
        .unzip();
    let both = Tensor::cat(&there.into_iter().chain(back).collect::<Vec<_>>(), 0);
    Vec::<f32>::try_from(both).expect("a float32 vector converts to floats")
}
