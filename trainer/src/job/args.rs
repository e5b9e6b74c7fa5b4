//! What can be typed after `run`. A Job types the configuration alone; the rest is for trying one out by hand.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use inctrl_model::device::DeviceChoice;
use inctrl_storage::options::DEFAULT_PVC_ROOT;
use inctrl_telemetry::LogFormat;

/// Run one training job: fetch and verify what it needs, train, evaluate, publish.
///
/// Exit status: 0 published, 64 wrong usage, 65 data that cannot be trained on, 75 stopped or out of reach (try again),
/// 78 a configuration that cannot be followed.
#[derive(Debug, Clone, ClapArgs)]
pub struct Args {
    /// The job.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where last words go: JSON of the outcome, at most 4 kB.
    #[arg(long, value_name = "FILE", env = "INCTRL_TERMINATION_LOG", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
    /// Folder under which volume claims are mounted, each under its name.
    #[arg(long, value_name = "DIR", env = "INCTRL_PVC_ROOT", default_value = DEFAULT_PVC_ROOT)]
    pub pvc_root: PathBuf,
    /// Folder for what is fetched and made on the way; a folder of its own below the system's temporary one by default.
    #[arg(long, value_name = "DIR", env = "INCTRL_WORK_DIR")]
    pub work_dir: Option<PathBuf>,
    /// Where the backbone computes: auto, cpu or cuda:N.
    #[arg(long, env = "INCTRL_DEVICE", default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// Threads of one tensor operation; 0 means one a core.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// What is logged, such as `info,inctrl_trainer=debug`.
    #[arg(long, value_name = "FILTER", env = "INCTRL_LOG", default_value = "info")]
    pub log: String,
    /// How log lines look: text on a terminal, JSON elsewhere.
    #[arg(skip)]
    pub log_format: LogFormat,
}

impl Args {
    /// Folder for what is fetched and made on the way.
    pub fn work_folder(&self) -> PathBuf {
        self.work_dir.clone().unwrap_or_else(|| std::env::temp_dir().join("inctrl-job"))
    }
}
