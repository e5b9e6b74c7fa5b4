//! `inctrl-trainer run`: one training run, as the operator's Job runs it.
//!
//! ```text
//! job.yaml --spec--> JobSpec --inputs--> backbone, data, gate data on this machine
//!   --features, fit (as `train`)--> head --gate--> candidate beside the active head --publish--> artifact
//! ```
//!
//! What the operator learns is the exit code, the termination message and the artifact; nothing else passes between the
//! two. A run that is told to stop leaves its checkpoint beside where the artifact will be, so that the next pod goes on
//! from there; one whose artifact is there already has nothing to do.

use std::ops::ControlFlow;
use std::path::PathBuf;

use inctrl_model::{Backbone, Precision};
use inctrl_storage::dataset::FingerprintMode;
use inctrl_storage::{Manifest, SigningKey, Store};
use inctrl_telemetry::LogConfig;

use crate::exit::Exit;
use crate::features::{FeatureCache, View};
use crate::run::{self, Ending, Moment};

mod args;
mod checkpoint;
mod error;
mod gate;
mod inputs;
mod latency;
mod message;
mod publish;
mod self_test;
mod spec;
mod stop;

pub use args::Args;
pub use error::JobError;
pub use message::{Message, Outcome};
pub use spec::JobSpec;

use inputs::Inputs;
use message::Reporter;
use stop::Stop;

/// Runs a job to its end, whatever that is, and leaves its last words.
pub fn run(args: &Args) -> Exit {
    let mut reporter = Reporter::new(&args.termination_log);
    let done = Stop::on_signals().and_then(|stop| execute(args, &stop, &mut reporter));
    match done {
        Ok((store, manifest)) => {
            tracing::info!(revision = %manifest.revision, artifact = %store.uri(), "artifact is there");
            reporter.published(store.uri(), &manifest);
            Exit::Done
        }
        Err(error) => {
            reporter.failed(&error);
            crate::tell(&error, error.exit())
        }
    }
}

/// The run itself; answers the artifact and where it is.
fn execute(args: &Args, stop: &Stop, reporter: &mut Reporter) -> Result<(Store, Manifest), JobError> {
    inctrl_telemetry::log::init(&LogConfig { format: args.log_format, filter: args.log.clone() })?;
    if args.threads > 0 {
        tch::set_num_threads(i32::try_from(args.threads).unwrap_or(i32::MAX));
    }
    let spec = JobSpec::read(&args.config)?;
    let key = spec.output.signing_key_file.as_deref().map(publish::signing_key).transpose()?;
    let output = inputs::open(&spec.output.uri, spec.output.secret_folder.as_deref(), args)?;
    if let Some(manifest) = published(&spec, &output, key.as_ref(), stop)? {
        return Ok((output, manifest));
    }

    let mut inputs = Inputs::fetch(&spec, args, stop)?;
    if let Some(uri) = &inputs.lost_active {
        tracing::warn!(artifact = %uri, "the active head's artifact is gone; the new head is judged without it");
        reporter.note(format!(
            "there is no artifact of the active head at {uri}: the new head was judged without it; restore it, or servers \
             that are started anew cannot load it"
        ));
    }
    reporter.advanced(10);
    let config = spec.train_config(args, &inputs)?;
    gate::check(&spec, &inputs)?;
    let backbone = open_backbone(&inputs, args)?;
    inputs.keep_comparable(backbone.info())?;
    extract(&config, &backbone, &inputs, stop)?;
    drop(backbone);
    reporter.advanced(40);

    let checkpoint = checkpoint::Remote::new(&output, &config.out);
    stop.run(checkpoint.fetch())?;
    let epochs = config.training.epochs;
    let mut watch = |moment: Moment<'_>| {
        if let Moment::Epoch(record) = moment {
            reporter.advanced(40 + 40 * record.epoch / epochs.max(1));
        }
        if stop.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    match run::run(&config, false, &mut watch)? {
        Ending::Trained(_) | Ending::AlreadyThere(_) => {}
        Ending::Stopped => {
            stop.finish(checkpoint.keep())?;
            return Err(JobError::Stopped);
        }
    }
    reporter.advanced(80);

    let evaluated = gate::evaluate(&spec, &config, &inputs, stop)?;
    let test = self_test::make(&config, &inputs)?;
    inputs.check_unchanged(&spec, stop)?;
    reporter.advanced(95);
    let artifact = publish::Artifact { spec: &spec, inputs: &inputs, config: &config, evaluated, test };
    let manifest = stop.run(artifact.publish(&output, key.as_ref()))?;
    stop.finish(checkpoint.discard());
    Ok((output, manifest))
}

/// The artifact of an earlier pod of this very run, checked to its last byte.
fn published(
    spec: &JobSpec,
    output: &Store,
    key: Option<&SigningKey>,
    stop: &Stop,
) -> Result<Option<Manifest>, JobError> {
    let trusted = key.map(SigningKey::verifying_key);
    let manifest = stop.run(async { Ok(inctrl_storage::read_manifest(output, trusted.as_ref()).await?) })?;
    let Some(manifest) = manifest else { return Ok(None) };
    let is_ours = manifest.record.run_key.as_deref() == Some(spec.run_key.as_str())
        && manifest.record.spec_hash == Some(spec.spec_hash);
    if !is_ours {
        return Err(JobError::OtherRun { uri: output.uri().clone() });
    }
    stop.run(async { Ok(inctrl_storage::verify_parts(output, &manifest).await?) })?;
    Ok(Some(manifest))
}

fn open_backbone(inputs: &Inputs, args: &Args) -> Result<Backbone, JobError> {
    let device = crate::device::open(args.device)?;
    let folder = inputs.backbone.clone();
    Backbone::open(&folder, device, Precision::Fp32).map_err(|source| JobError::Backbone { folder, source })
}

/// Features of every image, so that nothing that follows takes long to stop: between two batches a run can.
fn extract(
    config: &crate::config::TrainConfig,
    backbone: &Backbone,
    inputs: &Inputs,
    stop: &Stop,
) -> Result<(), JobError> {
    let stop = stop.clone();
    let cache = FeatureCache::open(&config.cache, backbone)?.writing_with(move |path, bytes, durability| {
        if stop.is_asked() {
            return Err(std::io::Error::from(std::io::ErrorKind::Interrupted));
        }
        crate::files::write_whole(path, bytes, durability)
    });
    let extract = |paths: &[PathBuf], view| match cache.extract(paths, view) {
        Err(error) if is_interrupted(&error) => Err(JobError::Stopped),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    };
    let [auxiliary, gate] = [&inputs.data, &inputs.gate].map(|data| crate::data::open(&data.spec));
    let (auxiliary, gate) = (auxiliary?, gate?);
    extract(&auxiliary.paths(), View::Plain)?;
    if run::needs_mirrored(config) {
        let normals = auxiliary.samples.iter().filter(|sample| !sample.is_anomalous());
        extract(&normals.map(|sample| sample.path.clone()).collect::<Vec<_>>(), View::Mirrored)?;
    }
    extract(&gate.paths(), View::Plain)
}

/// Whether writing to the cache was stopped by the signal.
fn is_interrupted(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::Interrupted)
}

/// What of a data set its fingerprint sees, as `job.yaml` names it.
fn mode(mode: spec::FingerprintKind) -> FingerprintMode {
    match mode {
        spec::FingerprintKind::Manifest => FingerprintMode::Manifest,
        spec::FingerprintKind::Content => FingerprintMode::Content,
    }
}
