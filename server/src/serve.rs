//! `inctrl-server serve` as a process: signals, the address for whoever waits, libtorch behind the seam.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use inctrl_telemetry::{Shutdown, log};

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
    for (path, address) in
        [(rollout_address_file, running.rollout_address()), (address_file, Some(running.address()))]
    {
        if let Some((path, address)) = path.zip(address) {
            write_address(&path, address).map_err(|source| AppError::AddressFile { path, source })?;
        }
    }
    running.until_stopped(shutdown).await
}

/// Whoever waits for the file finds it whole.
fn write_address(path: &Path, address: SocketAddr) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{address}")?;
    file.persist(path)?;
    Ok(())
}
