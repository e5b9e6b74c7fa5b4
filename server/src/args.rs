//! The command line. First of three moves: flags over the configuration file's settings.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use inctrl_telemetry::LogFormat;
use jiff::SignedDuration;

use crate::config::{DeviceChoice, PrecisionChoice, Settings, SettingsError, TlsSettings};

mod rollout;

pub use rollout::Rollout;

/// The InCTRL scoring server.
#[derive(Debug, Parser)]
#[command(name = "inctrl-server", version)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve heads over gRPC.
    Serve(Box<Serve>),
}

/// Flags of `serve`; each overrides the setting of the same name in the configuration file, and of a flag given twice
/// the last counts.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct Serve {
    /// Configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Backbone folder.
    #[arg(long, value_name = "DIR")]
    pub backbone: Option<PathBuf>,
    /// Head file (safetensors); not needed where heads come by roll-out.
    #[arg(long, value_name = "FILE")]
    pub head: Option<PathBuf>,
    /// Name of the model that the head answers for [default: default].
    #[arg(long, value_name = "ID")]
    pub model_name: Option<String>,
    /// Folder that keeps prompt sets and the last rollout state [default: inctrl-state].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address of the gRPC port; port 0 takes any free one [default: 127.0.0.1:50051].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address of probes and metrics; port 0 takes any free one [default: 127.0.0.1:9464].
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
    /// Write the bound gRPC address to this file once the server is ready.
    #[arg(long, value_name = "FILE")]
    pub address_file: Option<PathBuf>,
    /// auto, cpu or cuda:N [default: auto].
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// auto, fp32, bf16 or fp16 [default: auto].
    #[arg(long, value_name = "PRECISION")]
    pub precision: Option<PrecisionChoice>,
    /// Threads for computing and for decoding; 0 means one a core [default: 0].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Batching, limits and the drain.
    #[command(flatten)]
    pub tuning: Tuning,
    /// Logs, certificates and tokens.
    #[command(flatten)]
    pub outside: Outside,
    /// Roll-outs.
    #[command(flatten)]
    pub rollout: Rollout,
}

/// Flags of batching, limits and the drain.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Batching, limits, drain")]
pub struct Tuning {
    /// Most images of a batch; 0 means what suits the device [default: 0].
    #[arg(long, value_name = "N")]
    pub max_batch_size: Option<usize>,
    /// Longest time that an idle device waits for more images, such as 2ms [default: 0s].
    #[arg(long, value_name = "DURATION")]
    pub max_batch_wait: Option<SignedDuration>,
    /// Most bytes of one message [default: 32 MiB].
    #[arg(long, value_name = "BYTES")]
    pub max_message_bytes: Option<usize>,
    /// Most bytes of one encoded image [default: 16 MiB].
    #[arg(long, value_name = "BYTES")]
    pub max_image_bytes: Option<usize>,
    /// Most pixels of one decoded image [default: 67108864].
    #[arg(long, value_name = "PIXELS")]
    pub max_image_pixels: Option<u64>,
    /// Most normal images of a prompt set [default: 16].
    #[arg(long, value_name = "N")]
    pub max_shots: Option<usize>,
    /// Most images of one batch request [default: 64].
    #[arg(long, value_name = "N")]
    pub max_batch_images: Option<usize>,
    /// Most bytes of all messages in work [default: 512 MiB].
    #[arg(long, value_name = "BYTES")]
    pub max_inflight_bytes: Option<usize>,
    /// Most bytes of cached features of prompt sets [default: 1 GiB].
    #[arg(long, value_name = "BYTES")]
    pub prompt_cache_bytes: Option<u64>,
    /// Most images that wait to be computed [default: 256].
    #[arg(long, value_name = "N")]
    pub max_queued_images: Option<usize>,
    /// How long to go on serving after SIGTERM, while saying not ready [default: 5s].
    #[arg(long, value_name = "DURATION")]
    pub drain_delay: Option<SignedDuration>,
    /// How long work in flight may take after that [default: 20s].
    #[arg(long, value_name = "DURATION")]
    pub drain_timeout: Option<SignedDuration>,
}

/// Flags of logs, certificates and tokens.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Logs, certificates, tokens")]
pub struct Outside {
    /// How log lines look [default: auto].
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<Format>,
    /// What to log, such as `info,inctrl_server=debug` [default: info].
    #[arg(long, value_name = "DIRECTIVES", env = "INCTRL_LOG")]
    pub log_filter: Option<String>,
    /// PEM file of the data port's certificate chain.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// PEM file of the authorities whose clients may connect.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_client_ca: Option<PathBuf>,
    /// File of bearer tokens that may call, one a line.
    #[arg(long, value_name = "FILE")]
    pub tokens_file: Option<PathBuf>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
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

impl Serve {
    /// The configuration file's settings, overridden by the flags given.
    pub fn settings(self) -> Result<Settings, SettingsError> {
        let Self {
            config,
            backbone,
            head,
            model_name,
            state_dir,
            listen,
            admin_listen,
            address_file,
            device,
            precision,
            threads,
            tuning,
            outside,
            rollout,
        } = self;
        let mut settings = match config {
            Some(path) => Settings::read(&path)?,
            None => Settings::default(),
        };
        settings.backbone = backbone.or(settings.backbone);
        settings.head = head.or(settings.head);
        settings.address_file = address_file.or(settings.address_file);
        set(&mut settings.model_name, model_name);
        set(&mut settings.state_dir, state_dir);
        set(&mut settings.listen, listen);
        set(&mut settings.admin_listen, admin_listen);
        set(&mut settings.device, device);
        set(&mut settings.precision, precision);
        set(&mut settings.threads, threads);
        tuning.apply(&mut settings);
        outside.apply(&mut settings);
        rollout.apply(&mut settings);
        Ok(settings)
    }
}

impl Tuning {
    fn apply(self, settings: &mut Settings) {
        let Self {
            max_batch_size,
            max_batch_wait,
            max_message_bytes,
            max_image_bytes,
            max_image_pixels,
            max_shots,
            max_batch_images,
            max_inflight_bytes,
            prompt_cache_bytes,
            max_queued_images,
            drain_delay,
            drain_timeout,
        } = self;
        set(&mut settings.batching.max_size, max_batch_size);
        set(&mut settings.batching.max_wait, max_batch_wait);
        set(&mut settings.limits.max_message_bytes, max_message_bytes);
        set(&mut settings.limits.max_image_bytes, max_image_bytes);
        set(&mut settings.limits.max_image_pixels, max_image_pixels);
        set(&mut settings.limits.max_shots, max_shots);
        set(&mut settings.limits.max_batch_images, max_batch_images);
        set(&mut settings.limits.max_inflight_bytes, max_inflight_bytes);
        set(&mut settings.limits.prompt_cache_bytes, prompt_cache_bytes);
        set(&mut settings.limits.max_queued_images, max_queued_images);
        set(&mut settings.drain.delay, drain_delay);
        set(&mut settings.drain.timeout, drain_timeout);
    }
}

impl Outside {
    fn apply(self, settings: &mut Settings) {
        let Self { log_format, log_filter, tls_certificate, tls_key, tls_client_ca, tokens_file } = self;
        set(&mut settings.log.format, log_format.map(LogFormat::from));
        set(&mut settings.log.filter, log_filter);
        settings.tokens_file = tokens_file.or(settings.tokens_file.take());
        let flags = TlsSettings { certificate: tls_certificate, key: tls_key, client_ca: tls_client_ca };
        settings.tls = over(settings.tls.take(), flags);
    }
}

/// Certificates of the file, overridden by the flags given.
fn over(file: Option<TlsSettings>, flags: TlsSettings) -> Option<TlsSettings> {
    if flags == TlsSettings::default() {
        return file;
    }
    let file = file.unwrap_or_default();
    Some(TlsSettings {
        certificate: flags.certificate.or(file.certificate),
        key: flags.key.or(file.key),
        client_ca: flags.client_ca.or(file.client_ca),
    })
}

fn set<T>(setting: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *setting = value;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn flags_override_the_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "model_name: from-file\nthreads: 3\nbatching: {{max_size: 5}}").unwrap();
        let path = file.path().to_str().unwrap();
        let typed =
            ["serve", "--config", path, "--threads", "9", "--threads", "1", "--max-batch-wait", "2ms"];
        let typed = ["inctrl-server"].into_iter().chain(typed);
        let Command::Serve(serve) = CommandLine::try_parse_from(typed).unwrap().command;
        let settings = serve.settings().unwrap();
        assert_eq!(settings.model_name, "from-file");
        assert_eq!(settings.threads, 1);
        assert_eq!(settings.batching.max_size, 5);
        assert_eq!(settings.batching.max_wait, SignedDuration::from_millis(2));
    }

    #[test]
    fn every_limit_has_a_flag() {
        let limits = serde_json::to_value(Settings::default()).unwrap()["limits"].clone();
        let flags = limits.as_object().unwrap().keys().map(|key| format!("--{}=7", key.replace('_', "-")));
        let typed = ["inctrl-server", "serve"].map(str::to_owned).into_iter().chain(flags);
        let Command::Serve(serve) = CommandLine::try_parse_from(typed).unwrap().command;
        let set = serde_json::to_value(serve.settings().unwrap()).unwrap()["limits"].clone();
        for (key, value) in set.as_object().unwrap() {
            assert_eq!(value, 7, "limits.{key}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        CommandLine::command().debug_assert();
    }
}
