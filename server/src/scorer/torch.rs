//! The real scorer: a backbone, heads and prompt features in libtorch, all on one thread.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use inctrl_model::device::{self, Chosen, DeviceError};
use inctrl_model::{
    Backbone, BackboneError, Features, Head, HeadError, MixedQuery, Pixels, PromptFeatures, SelfTest,
    score_mixed,
};
use tch::Tensor;
use tokio::time::Instant;

use super::probe;
use super::texts::Texts;
use super::{
    HeadInfo, HeadKey, PromptKey, Query, QueryScores, Scored, Scorer, ScorerError, ScorerInfo, Work,
};
use crate::config::{DeviceChoice, PrecisionChoice, precision_name};

/// Images of a batch where none is set: on a CPU larger ones gain nothing, an accelerator is filled.
const CPU_BATCH: usize = 8;
const CUDA_BATCH: usize = 64;

/// What a scorer is made of.
#[derive(Debug, Clone)]
pub struct TorchSpec {
    /// The backbone's folder.
    pub backbone: PathBuf,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Number format of the backbone.
    pub precision: PrecisionChoice,
    /// Threads of one operation on a CPU; at least 1.
    pub threads: usize,
}

/// Why there is no scorer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorchError {
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The backbone cannot be opened.
    #[error("backbone {folder:?} cannot be used")]
    Backbone {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: Box<BackboneError>,
    },
}

/// Scores with libtorch.
pub struct TorchScorer {
    info: ScorerInfo,
    backbone: Backbone,
    texts: Texts,
    prompts: HashMap<PromptKey, PromptFeatures>,
    heads: HashMap<HeadKey, Head>,
}

impl TorchScorer {
    /// Opens the backbone; call it on the thread that will score, since the number of threads is that thread's.
    pub fn open(spec: &TorchSpec) -> Result<Self, TorchError> {
        let TorchSpec { backbone: folder, device, precision, threads } = spec;
        let Chosen { device, instead_of_cuda } = device.open()?;
        if let Some(reason) = instead_of_cuda {
            tracing::info!(%reason, "computing on the CPU");
        }
        tch::set_num_threads(i32::try_from(*threads).unwrap_or(i32::MAX));
        let open = |precision| {
            Backbone::open(folder, device, precision)
                .map_err(|source| TorchError::Backbone { folder: folder.clone(), source: Box::new(source) })
        };
        let batch_size = if device.is_cuda() { CUDA_BATCH } else { CPU_BATCH };
        let (backbone, precision) = match precision {
            PrecisionChoice::Fixed(precision) => (open(*precision)?, *precision),
            PrecisionChoice::Auto => probe::fastest(open, batch_size)?,
        };
        let name = device::name(device);
        let info = backbone.info().clone();
        tracing::info!(
            backbone = info.name,
            digest = info.digest,
            provenance = info.provenance,
            device = name,
            precision = precision_name(precision),
            threads,
            "backbone loaded"
        );
        let info = ScorerInfo { backbone: info, device: name, precision, batch_size };
        Ok(Self { info, backbone, texts: Texts::default(), prompts: HashMap::new(), heads: HashMap::new() })
    }

    fn head(&self, key: HeadKey) -> Result<&Head, ScorerError> {
        self.heads.get(&key).ok_or_else(|| ScorerError::Unknown { what: format!("head {}", key.0) })
    }

    /// Text features of an object class; none without a text tower.
    fn text(&mut self, object_class: &str) -> Result<Option<Tensor>, ScorerError> {
        while !self.encode_text(object_class)? {}
        Ok(self.texts.get(object_class))
    }

    fn features(&self, key: PromptKey) -> Result<&PromptFeatures, ScorerError> {
        self.prompts.get(&key).ok_or_else(|| ScorerError::Unknown { what: format!("prompt set {}", key.0) })
    }
}

impl Scorer for TorchScorer {
    fn info(&self) -> &ScorerInfo {
        &self.info
    }

    fn probe(&mut self) -> Result<(), ScorerError> {
        let pixels = probe::blank(self.info.backbone.preprocess.size, 1);
        let features =
            self.backbone.encode_images(&pixels).map_err(|error| failed(error, Work::Images(1)))?;
        if is_finite(&features.class) { Ok(()) } else { Err(ScorerError::NotFinite) }
    }

    fn encode_text(&mut self, object_class: &str) -> Result<bool, ScorerError> {
        self.texts.advance(&self.backbone, object_class).map_err(|error| failed(error, Work::Text))
    }

    fn encode_prompts(
        &mut self,
        key: PromptKey,
        images: &[Pixels],
        object_class: &str,
    ) -> Result<usize, ScorerError> {
        let images: Vec<&Pixels> = images.iter().collect();
        let text = self.text(object_class)?;
        let features = PromptFeatures::encode_beside(&self.backbone, &images, text)
            .map_err(|error| failed(error, Work::Images(images.len())))?;
        let bytes = features.bytes();
        self.prompts.insert(key, features);
        Ok(bytes)
    }

    fn forget_prompts(&mut self, key: PromptKey) {
        self.prompts.remove(&key);
    }

    fn load_head(&mut self, key: HeadKey, bytes: &[u8]) -> Result<HeadInfo, ScorerError> {
        let refused = |error| ScorerError::Head(Arc::new(error));
        let head = Head::from_bytes(bytes, self.backbone.device()).map_err(refused)?;
        head.check_backbone(&self.info.backbone).map_err(refused)?;
        let info = HeadInfo { digest: head.digest().to_owned(), kind: head.metadata().kind };
        self.heads.insert(key, head);
        Ok(info)
    }

    fn self_test(&mut self, key: HeadKey, test: &[u8]) -> Result<Vec<f32>, ScorerError> {
        let refused = |error| ScorerError::SelfTest(Arc::new(error));
        let test = SelfTest::from_bytes(test).map_err(refused)?;
        test.scores(&self.backbone, self.head(key)?).map_err(refused)
    }

    fn forget_head(&mut self, key: HeadKey) {
        self.heads.remove(&key);
    }

    fn score(&mut self, queries: &[Query<'_>]) -> Result<Scored, ScorerError> {
        let mixed = |query: &Query<'_>| {
            let heads = [Some(query.head), query.shadow].into_iter().flatten();
            let heads = heads.map(|key| self.head(key)).collect::<Result<_, _>>()?;
            Ok(MixedQuery { prompts: self.features(query.prompts)?, heads })
        };
        let mixed: Vec<MixedQuery<'_>> = queries.iter().map(mixed).collect::<Result<_, ScorerError>>()?;
        let images: Vec<&Pixels> = queries.iter().map(|query| query.pixels).collect();
        let started = Instant::now();
        let features = self
            .backbone
            .stack(&images)
            .and_then(|pixels| self.backbone.encode_images(&pixels))
            .map_err(|error| failed(error, Work::Images(queries.len())))?;
        let backbone = self.elapsed(started);
        let answers = score_mixed(&features, &mixed).into_iter().enumerate().map(|(row, answers)| {
            let prompts = mixed[row].prompts;
            let mut told = answers
                .into_iter()
                .map(|answer| answer.map_err(|error| blame(error, &features, row, prompts)));
            let scores = told.next().expect("every query asks a head");
            QueryScores { scores, shadow: told.next() }
        });
        Ok(Scored { queries: answers.collect(), backbone })
    }
}

impl TorchScorer {
    /// Time since `started`, with the device's queue of work done.
    fn elapsed(&self, started: Instant) -> Duration {
        device::synchronise(self.backbone.device());
        started.elapsed()
    }
}

/// A score that is not finite is the head's failure only where what it was given is finite.
fn blame(error: Arc<HeadError>, features: &Features, row: usize, prompts: &PromptFeatures) -> ScorerError {
    let is_sound = || {
        let row = features.select(&[row as i64]);
        let text = prompts.text.iter();
        let given = row.taps.iter().chain([&row.class]);
        given.chain(&prompts.bank).chain([&prompts.class]).chain(text).all(is_finite)
    };
    match *error {
        HeadError::NonFiniteScore { .. } if !is_sound() => ScorerError::NotFinite,
        _ => ScorerError::Head(error),
    }
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.isfinite().all().int64_value(&[]) == 1
}

/// libtorch says that memory is short in words only.
fn failed(error: BackboneError, work: Work) -> ScorerError {
    let says_memory = error.source().is_some_and(|source| source.to_string().contains("out of memory"));
    if says_memory { ScorerError::OutOfMemory { work } } else { ScorerError::Backbone(Arc::new(error)) }
}
