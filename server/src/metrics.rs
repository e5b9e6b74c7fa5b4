//! What the server shows of itself that belongs to no single mechanism: RPCs, answers, health.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Buckets of times: those of OpenTelemetry's RPC durations, with 1 and 2.5 ms below for accelerators.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Width of the buckets of scores; 20 of them reach from 0 to 1.
const SCORE_STEP: f64 = 0.05;

/// A histogram of times in seconds.
pub(crate) fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// Handles; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ServerMetrics {
    started: Family<RpcLabels, Counter>,
    handled: Family<HandledLabels, Counter>,
    handling: Family<RpcLabels, Histogram, fn() -> Histogram>,
    shed: Family<ReasonLabels, Counter>,
    scores: Family<ModelLabels, Histogram, fn() -> Histogram>,
    decode: Histogram,
    inflight: Gauge,
}

/// Which method was called; unknown ones share one name, so that callers cannot make labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "labels carry the names that dashboards of gRPC know")]
pub(crate) struct RpcLabels {
    pub(crate) grpc_type: &'static str,
    pub(crate) grpc_service: &'static str,
    pub(crate) grpc_method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "labels carry the names that dashboards of gRPC know")]
struct HandledLabels {
    grpc_type: &'static str,
    grpc_service: &'static str,
    grpc_method: &'static str,
    grpc_code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

impl ServerMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            started: Family::default(),
            handled: Family::default(),
            handling: Family::new_with_constructor(seconds),
            shed: Family::default(),
            scores: Family::new_with_constructor(scores),
            decode: seconds(),
            inflight: Gauge::default(),
        };
        let Self { started, handled, handling, shed, scores, decode, inflight } = metrics.clone();
        registry.register("grpc_server_started", "Calls begun", started);
        registry.register("grpc_server_handled", "Calls ended, by code", handled);
        let help = "Time from the head of a call to its answer";
        registry.register_with_unit("grpc_server_handling", help, Unit::Seconds, handling);
        registry.register("inctrl_shed", "Calls refused because of load, by reason", shed);
        registry.register("inctrl_score", "Scores answered", scores);
        let help = "Time to decode and pre-process an image";
        registry.register_with_unit("inctrl_decode", help, Unit::Seconds, decode);
        registry.register("inctrl_inflight_requests", "Calls in work", inflight);
        metrics
    }

    pub(crate) fn started(&self, rpc: RpcLabels) {
        self.started.get_or_create(&rpc).inc();
        self.inflight.inc();
    }

    pub(crate) fn handled(&self, rpc: RpcLabels, code: &'static str, time: Duration) {
        let RpcLabels { grpc_type, grpc_service, grpc_method } = rpc;
        let labels = HandledLabels { grpc_type, grpc_service, grpc_method, grpc_code: code };
        self.handled.get_or_create(&labels).inc();
        self.handling.get_or_create(&rpc).observe(time.as_secs_f64());
        self.inflight.dec();
    }

    pub(crate) fn shed(&self, reason: &'static str) {
        self.shed.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(crate) fn decoded(&self, time: Duration) {
        self.decode.observe(time.as_secs_f64());
    }

    pub(crate) fn scored(&self, model: &str, score: f32) {
        let labels = ModelLabels { model: model.to_owned() };
        self.scores.get_or_create(&labels).observe(f64::from(score));
    }
}

fn scores() -> Histogram {
    Histogram::new((1..=20).map(|step| f64::from(step) * SCORE_STEP))
}

/// A level that is read when it is asked for.
pub(crate) struct Level {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) unit: Option<Unit>,
    pub(crate) read: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Shows levels at each scrape, so that nothing has to keep them up to date.
struct Levels(Vec<Level>);

pub(crate) fn register_levels(registry: &mut Registry, levels: Vec<Level>) {
    registry.register_collector(Box::new(Levels(levels)));
}

impl Collector for Levels {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Level { name, help, unit, read } in &self.0 {
            let gauge = ConstGauge::new(read());
            gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|level| level.name)).finish()
    }
}
