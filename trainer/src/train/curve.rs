//! The loss curve: what every epoch said, for the report.

use inctrl_model::HeadKind;
use serde::{Deserialize, Serialize};

/// Name of the curve's file beside the head.
pub const CURVE_NAME: &str = "loss-curve.json";

/// How a head was trained, epoch by epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossCurve {
    /// Which head.
    pub head: HeadKind,
    /// Optimiser steps in an epoch.
    pub steps: usize,
    /// Classes that were held out; their loss stands under `validation`.
    pub held_out: Vec<String>,
    /// The epoch whose weights are the head, counted from 1.
    pub kept: u64,
    /// Epochs in order.
    pub epochs: Vec<EpochRecord>,
}

/// What one epoch said. Float32, which JSON carries exactly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean loss of its steps, each before the step was taken.
    pub loss: f32,
    /// On held-out classes after the epoch, where there are any.
    pub validation: Option<ValidationRecord>,
}

/// What held-out classes said after an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Mean loss.
    pub loss: f32,
    /// Image AUROC over all held-out queries, other-class anomalies included as in training.
    pub auroc: f32,
}
