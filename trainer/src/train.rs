//! The fit: episodes to batches to steps, one epoch at a time.
//!
//! ```text
//! Episodes --batch--> residuals --learner--> focal loss --AdamW, constraints--> tensors
//!    after each epoch: held-out classes, curve, checkpoint
//! ```

use std::ops::ControlFlow;
use std::path::PathBuf;

use inctrl_model::{Device, Head, HeadError, HeadKind, HeadMetadata};
use tch::Tensor;

pub mod auxiliary;
pub mod batch;
pub mod checkpoint;
pub mod curve;
mod error;
pub mod identity;
pub mod learner;

pub use auxiliary::{AuxiliaryData, Class};
pub use curve::{CURVE_NAME, EpochRecord, LossCurve, ValidationRecord};
pub use error::TrainError;
pub use identity::Identity;

use batch::{Batches, Inputs};
use checkpoint::{Kept, State};
use learner::{Learner, Outcome};

use crate::config::Training;
use crate::episodes::{EpisodePlan, Episodes, Query};
use crate::metrics::auroc;
use crate::optimiser::AdamW;
use crate::progress::Progress;
use crate::threads::OneThread;

/// Steps of held-out queries after each epoch: with a batch of 32, 800 queries.
const VALIDATION_STEPS: usize = 25;

/// Held-out queries are drawn as this epoch, which no training reaches, and stay the same all through a run.
const VALIDATION_EPOCH: u64 = u64::MAX - 2;

/// A head that is being trained on the classes of one data set.
pub struct Fit<'a> {
    plan: &'a Training,
    data: &'a AuxiliaryData,
    metadata: HeadMetadata,
    batches: Batches<'a>,
    episodes: Episodes,
    /// Queries of held-out classes, by step; empty where none are held out.
    watched: Vec<Vec<Query>>,
    state: State,
    _threads: OneThread,
}

/// The state of a run before its first epoch.
pub fn fresh(plan: &Training, metadata: &HeadMetadata, seed: u64) -> State {
    State {
        learner: Learner::new(metadata, plan.sigmoids, seed),
        optimiser: AdamW::new(plan.learning_rate, plan.weight_decay),
        epochs: Vec::new(),
        kept: None,
    }
}

impl<'a> Fit<'a> {
    /// A fit that goes on from `state`. Contextual heads that have not begun are standardised first.
    ///
    /// Tensor operations of this process have one thread while it lives: a step's are so small that more would wait for
    /// each other longer than they compute.
    pub fn new(
        plan: &'a Training,
        seed: u64,
        data: &'a AuxiliaryData,
        metadata: HeadMetadata,
        batches: Batches<'a>,
        state: State,
    ) -> Result<Self, TrainError> {
        let threads = OneThread::begin();
        let (episodes, watched) = draws(plan, seed, data)?;
        let mut fit = Self { plan, data, metadata, batches, episodes, watched, state, _threads: threads };
        if fit.metadata.kind == HeadKind::Contextual && fit.state.epochs.is_empty() {
            fit.standardise()?;
        }
        Ok(fit)
    }

    /// Whether epochs are left.
    pub fn is_done(&self) -> bool {
        self.state.epochs.len() as u64 >= self.plan.epochs
    }

    /// Where the fit stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// One epoch of steps, then the held-out classes. None where `go_on`, which is asked before each step, said no: the
    /// state is then within an epoch, and of no use any more.
    pub fn epoch(
        &mut self,
        progress: &mut Progress,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<EpochRecord>, TrainError> {
        let done = self.state.epochs.len() as u64;
        let steps = self.episodes.epoch(done);
        let mut sum = 0.0;
        for (step, queries) in steps.iter().enumerate() {
            if go_on().is_break() {
                return Ok(None);
            }
            let (outcome, loss) = self.outcome(queries, true, (done + 1, step + 1))?;
            outcome.loss.backward();
            self.state.optimiser.step(self.state.learner.tensors_mut());
            self.state.learner.constrain();
            sum += loss;
            progress.advance(1);
        }
        let validation = self.validate(done + 1)?;
        let record = EpochRecord { epoch: done + 1, loss: (sum / steps.len() as f64) as f32, validation };
        if let Some(ValidationRecord { loss, auroc: _ }) = validation
            && self.state.kept.as_ref().is_none_or(|kept| loss < kept.loss)
        {
            let tensors = self.state.learner.snapshot();
            self.state.kept = Some(Kept { epoch: record.epoch, loss, tensors });
        }
        self.state.epochs.push(record);
        Ok(Some(record))
    }

    /// The head of the best epoch where classes were held out, else of the last, and how it came about.
    pub fn finish(self) -> Result<(Head, LossCurve), HeadError> {
        let State { learner, optimiser: _, epochs, kept } = self.state;
        let (kept, tensors) = match kept {
            Some(Kept { epoch, loss: _, tensors }) => (epoch, tensors),
            None => (epochs.len() as u64, learner.snapshot()),
        };
        let held_out = self.data.held_out.iter().map(|class| class.images.name.clone()).collect();
        let curve = LossCurve { head: self.metadata.kind, steps: self.plan.steps, held_out, kept, epochs };
        Ok((Head::from_tensors(&self.metadata, tensors, Device::Cpu)?, curve))
    }

    /// Loss and scores of a step's queries; fails when the loss is no number. `at` is epoch and step, from 1.
    fn outcome(
        &mut self,
        queries: &[Query],
        train: bool,
        at: (u64, usize),
    ) -> Result<(Outcome, f64), TrainError> {
        let batch = self.batches.batch(queries)?;
        let outcome = self.state.learner.outcome(&batch, train);
        let loss = f64::try_from(&outcome.loss).unwrap_or(f64::NAN);
        if loss.is_finite() {
            return Ok((outcome, loss));
        }
        let scores = Vec::<f32>::try_from(outcome.scores.detach()).unwrap_or_default();
        let first = scores.iter().position(|score| !score.is_finite());
        let query = &queries[batch.first_non_finite().or(first).unwrap_or(0)];
        let path = |&image: &usize| -> PathBuf { self.data.paths[image].clone() };
        Err(TrainError::NonFiniteLoss {
            epoch: at.0,
            step: at.1,
            loss,
            query: path(&query.image),
            prompts: query.prompts.iter().map(path).collect(),
            class: self
                .data
                .classes()
                .nth(query.class)
                .map(|class| class.images.name.clone())
                .unwrap_or_default(),
        })
    }

    /// Loss and AUROC of the held-out queries.
    fn validate(&mut self, epoch: u64) -> Result<Option<ValidationRecord>, TrainError> {
        if self.watched.is_empty() {
            return Ok(None);
        }
        let (mut sum, mut scores, mut labels) = (0.0, Vec::new(), Vec::new());
        let watched = std::mem::take(&mut self.watched);
        for (step, queries) in watched.iter().enumerate() {
            let (outcome, loss) = tch::no_grad(|| self.outcome(queries, false, (epoch, step + 1)))?;
            sum += loss;
            scores.extend(Vec::<f32>::try_from(outcome.scores).expect("scores are a vector of floats"));
            labels.extend(queries.iter().map(|query| query.anomalous));
        }
        let loss = (sum / watched.len() as f64) as f32;
        self.watched = watched;
        let auroc =
            auroc(&scores, &labels).expect("half of a step's queries are normal, and losses are finite");
        Ok(Some(ValidationRecord { loss, auroc: auroc as f32 }))
    }

    /// Sees the first epoch's log-ratios once, so that every statistic has the same scale.
    fn standardise(&mut self) -> Result<(), TrainError> {
        let steps = self.episodes.epoch(0);
        let mut progress = Progress::new("matching patches", steps.len());
        let mut ratios: Vec<Tensor> = Vec::new();
        for queries in steps {
            if let Inputs::Contextual(of_step) = self.batches.batch(&queries)?.inputs {
                ratios.push(of_step);
            }
            progress.advance(1);
        }
        self.state.learner.standardise(&Tensor::cat(&ratios, 0));
        Ok(())
    }
}

/// Episodes of the classes to train on, and the fixed queries of those held out.
fn draws(
    plan: &Training,
    seed: u64,
    data: &AuxiliaryData,
) -> Result<(Episodes, Vec<Vec<Query>>), TrainError> {
    let of = |classes: &[Class]| classes.iter().map(|class| class.images.clone()).collect::<Vec<_>>();
    let episode_plan = EpisodePlan {
        batch: plan.batch,
        steps: plan.steps,
        shots: plan.shots.clone(),
        other_class: plan.other_class,
        query_among_prompts: plan.query_among_prompts,
    };
    let episodes = Episodes::new(of(&data.training), episode_plan.clone(), seed)?;
    if data.held_out.is_empty() {
        return Ok((episodes, Vec::new()));
    }
    let other_class = if data.held_out.len() > 1 { plan.other_class } else { 0.0 };
    let watched = EpisodePlan { steps: VALIDATION_STEPS, other_class, ..episode_plan };
    let mut watched = Episodes::new(of(&data.held_out), watched, seed)?.epoch(VALIDATION_EPOCH);
    // Held-out classes come after those trained on.
    watched.iter_mut().flatten().for_each(|query| query.class += data.training.len());
    Ok((episodes, watched))
}
