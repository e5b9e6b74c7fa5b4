//! `inctrl-server serve` as a process: signals, the address for whoever waits, libtorch behind the seam.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use inctrl_telemetry::{Shutdown, log};
use tempfile::NamedTempFile;

use crate::app::{App, AppError};
use crate::args::{Command, CommandLine};
use crate::config::Config;
use crate::scorer::{Scorer, TorchError, TorchScorer, TorchSpec};

/// What tasks may take to end once the server has stopped.
const TASKS_END: Duration = Duration::from_secs(1);

/// Does what the command line asks; returns when it is done.
pub fn run(command_line: CommandLine) -> Result<(), anyhow::Error> {
    inctrl_model::openmp::spin_briefly();
    inctrl_model::allocator::keep_freed_memory();
    let Command::Serve(serve) = command_line.command;
    let mut config = Config::new(serve.settings()?)?;
    if let Some(rollout) = &mut config.rollout {
        // Credentials of artifact stores, named as the clouds' own tools name them.
        let text =
            |(key, value): (OsString, OsString)| Some((key.into_string().ok()?, value.into_string().ok()?));
        rollout.store = rollout.store.clone().with_settings(std::env::vars_os().filter_map(text));
    }
    log::init(&config.log)?;
    tracing::info!(?config, version = env!("CARGO_PKG_VERSION"), "starting");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve_until_signal(config));
    runtime.shutdown_timeout(TASKS_END);
    Ok(served?)
}

async fn serve_until_signal(config: Config) -> Result<(), AppError> {
    let shutdown = Shutdown::on_signals().map_err(AppError::Signals)?;
    let address_file = config.address_file.clone();
    let rollout_address_file = config.rollout.as_ref().and_then(|rollout| rollout.address_file.clone());
    let spec = TorchSpec {
        backbone: config.backbone.clone(),
        device: config.device,
        precision: config.precision,
        threads: config.cores(),
    };
    // Loading the backbone takes its time: what will not be written is said before.
    for path in [&rollout_address_file, &address_file].into_iter().flatten() {
        draft(path).map_err(|source| AppError::AddressFile { path: path.clone(), source })?;
    }
    let app = App::bind(config)?;
    tracing::info!(address = %app.address(), admin = %app.admin_address(), "listening, not ready yet");
    let make = move || Ok::<Box<dyn Scorer>, TorchError>(Box::new(TorchScorer::open(&spec)?));
    let running = tokio::select! {
        started = app.start(make) => started?,
        () = shutdown.begun() => return Ok(()),
    };
    let rollout = running.rollout_address().map(tracing::field::display);
    tracing::info!(address = %running.address(), admin = %running.admin_address(), rollout, "started");
    // For people and scripts; a closed standard output is no reason to stop.
    let _ = writeln!(io::stdout(), "listening on {}", running.address());
    let told = [(rollout_address_file, running.rollout_address()), (address_file, Some(running.address()))]
        .into_iter()
        .filter_map(|(path, address)| path.zip(address))
        .try_for_each(|(path, address)| {
            write_address(&path, address).map_err(|source| AppError::AddressFile { path, source })
        });
    if told.is_err() {
        // Ready and serving by now: calls in work are finished.
        shutdown.begin();
    }
    let stopped = running.until_stopped(shutdown).await;
    told.and(stopped)
}

/// A file beside the one at `path`, which others may read.
fn draft(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)
}

/// Whoever waits for the file finds it whole.
fn write_address(path: &Path, address: SocketAddr) -> io::Result<()> {
    let mut file = draft(path)?;
    writeln!(file, "{address}")?;
    file.persist(path)?;
    Ok(())
}
