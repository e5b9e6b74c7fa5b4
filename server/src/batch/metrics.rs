//! What batching shows of itself.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::message::Dropped;
use crate::metrics::seconds;

/// Sizes of a batch: powers of two, up to the largest that a device is given.
const SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Handles of the batching metrics; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct BatchMetrics {
    queue_wait: Histogram,
    batch_size: Histogram,
    backbone: Histogram,
    head: Histogram,
    dropped: Family<DroppedLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DroppedLabels {
    reason: &'static str,
}

impl BatchMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            queue_wait: seconds(),
            batch_size: Histogram::new(SIZES),
            backbone: seconds(),
            head: seconds(),
            dropped: Family::default(),
        };
        let Self { queue_wait, batch_size, backbone, head, dropped } = metrics.clone();
        let help = "Time of a query from its place in the queue to the start of its batch";
        registry.register_with_unit("inctrl_queue_wait", help, Unit::Seconds, queue_wait);
        registry.register("inctrl_batch_size", "Images of a batch", batch_size);
        let help = "Time of the backbone for a batch";
        registry.register_with_unit("inctrl_backbone", help, Unit::Seconds, backbone);
        let help = "Time of residuals and heads for a batch";
        registry.register_with_unit("inctrl_head", help, Unit::Seconds, head);
        let help = "Queries dropped before they cost compute, because the caller left or its deadline passed";
        registry.register("inctrl_dropped_queries", help, dropped);
        metrics
    }

    pub(crate) fn dropped(&self, dropped: Dropped) {
        let reason = match dropped {
            Dropped::Cancelled => "cancelled",
            Dropped::Deadline => "deadline",
        };
        self.dropped.get_or_create(&DroppedLabels { reason }).inc();
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.queue_wait.observe(time.as_secs_f64());
    }

    pub(crate) fn computed(&self, images: usize, whole: Duration, backbone: Duration) {
        self.batch_size.observe(images as f64);
        self.backbone.observe(backbone.as_secs_f64());
        self.head.observe(whole.saturating_sub(backbone).as_secs_f64());
    }
}
