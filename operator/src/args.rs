//! The command line. First of three moves (args, config, app).

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use inctrl_telemetry::LogFormat;
use jiff::SignedDuration;

/// The operator of InCTRLModel resources.
#[derive(Debug, Parser)]
#[command(name = "inctrl-operator", version)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator, against the cluster that KUBECONFIG or the pod's own account names.
    Run(Box<Run>),
    /// Print the definition of InCTRLModel as YAML.
    Crd(Crd),
}

/// Flags of `crd`.
#[derive(Debug, Args)]
pub struct Crd {
    /// Annotate it so that Helm leaves it on the cluster when the release is removed.
    #[arg(long)]
    pub keep: bool,
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Look after the models of this namespace only. All namespaces where absent.
    #[arg(long, value_name = "NAMESPACE", env = "INCTRL_WATCH_NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Label selector of the pods to watch: scoring servers and training pods must be among them. All where absent.
    #[arg(long, value_name = "SELECTOR")]
    pub pod_selector: Option<String>,
    /// Image of training Jobs whose spec names none.
    #[arg(long, value_name = "IMAGE", env = "INCTRL_TRAINER_IMAGE")]
    pub trainer_image: String,
    /// Service account of training pods. The namespace's default where absent.
    #[arg(long, value_name = "NAME")]
    pub trainer_service_account: Option<String>,
    /// Allow file:// URIs, which name paths of whatever node a pod lands on.
    #[arg(long)]
    pub allow_file_uris: bool,
    /// Folder under which volume claims are mounted into the operator, each under its name.
    #[arg(long, value_name = "DIR", default_value = inctrl_storage::options::DEFAULT_PVC_ROOT)]
    pub pvc_root: PathBuf,
    /// Address of probes and metrics; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9464")]
    pub admin_listen: SocketAddr,
    /// Write the bound admin address to this file.
    #[arg(long, value_name = "FILE")]
    pub address_file: Option<PathBuf>,
    /// The line to scoring servers.
    #[command(flatten)]
    pub servers: Servers,
    /// Leader election.
    #[command(flatten)]
    pub lease: Lease,
    /// Pace.
    #[command(flatten)]
    pub pace: Pace,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT", default_value = "auto", help_heading = "Logs")]
    pub log_format: Format,
    /// What to log, such as `info,inctrl_operator=debug`.
    #[arg(
        long,
        value_name = "DIRECTIVES",
        env = "INCTRL_LOG",
        default_value = "info",
        help_heading = "Logs"
    )]
    pub log_filter: String,
}

/// Flags of the line to scoring servers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Scoring servers")]
pub struct Servers {
    /// PEM file of the authorities of the servers' certificates.
    #[arg(long, value_name = "FILE", requires_all = ["server_tls_certificate", "server_tls_key"])]
    pub server_tls_ca: Option<PathBuf>,
    /// PEM file of the operator's certificate chain.
    #[arg(long, value_name = "FILE", requires = "server_tls_ca")]
    pub server_tls_certificate: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, value_name = "FILE", requires = "server_tls_ca")]
    pub server_tls_key: Option<PathBuf>,
    /// Name that the servers' certificates are for.
    #[arg(long, value_name = "NAME", default_value = "inctrl-server")]
    pub server_tls_name: String,
    /// Speak to servers of this machine (`127.0.0.0/8`, `::1`) without TLS; to no other.
    #[arg(long, conflicts_with = "server_tls_ca")]
    pub plaintext_loopback: bool,
}

/// Flags of leader election.
#[derive(Debug, Args)]
#[command(next_help_heading = "Leader election")]
pub struct Lease {
    /// Namespace of the Lease.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = "default")]
    pub lease_namespace: String,
    /// Name of the Lease.
    #[arg(long, value_name = "NAME", default_value = "inctrl-operator")]
    pub lease_name: String,
    /// Name of this process in Lease, events and logs; something unique is added to it.
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "inctrl-operator")]
    pub identity: String,
    /// How long a leader that does not renew keeps the Lease.
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub lease_duration: SignedDuration,
    /// How long a leader acts without having renewed; shorter than that.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub lease_deadline: SignedDuration,
    /// How often to try.
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub lease_retry: SignedDuration,
}

/// Flags of the pace.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pace")]
pub struct Pace {
    /// Models that are worked on at a time.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub concurrency: usize,
    /// Calls to the API server in a second, watches aside.
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    pub api_qps: f64,
    /// Calls to the API server at once after a pause.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub api_burst: u32,
    /// Longest wait for the answer to one call.
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub api_timeout: SignedDuration,
    /// How often every model is looked at though nothing happened, give or take a fifth.
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub resync: SignedDuration,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON document a line.
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Auto => Self::Auto,
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}
