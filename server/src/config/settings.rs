//! The configuration file as it is written: YAML, every key optional, unknown keys refused by name.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use inctrl_model::Precision;
use inctrl_model::device::DeviceChoice;
pub use inctrl_storage::SettingsError;
use inctrl_telemetry::LogFormat;
use jiff::SignedDuration;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Data port where none is set.
const DEFAULT_PORT: u16 = 50051;
/// Admin port where none is set.
const DEFAULT_ADMIN_PORT: u16 = 9464;
/// Rollout port where none is set.
const DEFAULT_ROLLOUT_PORT: u16 = 8443;
const MIB: usize = 1 << 20;

/// The configuration file. Flags of the same names override it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// See [`Config`](super::Config) for this and all others.
    pub listen: SocketAddr,
    /// Address of probes and metrics.
    pub admin_listen: SocketAddr,
    /// Where the bound address is written.
    pub address_file: Option<PathBuf>,
    /// The backbone's folder.
    pub backbone: Option<PathBuf>,
    /// The head's file.
    pub head: Option<PathBuf>,
    /// Name of the model.
    pub model_name: String,
    /// Where prompt sets are kept.
    pub state_dir: PathBuf,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: DeviceChoice,
    /// `auto`, `fp32`, `bf16` or `fp16`.
    pub precision: PrecisionChoice,
    /// 0 means one a core.
    pub threads: usize,
    /// How queries are put together.
    pub batching: BatchingSettings,
    /// What is refused.
    pub limits: LimitSettings,
    /// How it stops.
    pub drain: DrainSettings,
    /// Logs.
    pub log: LogSettings,
    /// Certificates of the data port.
    pub tls: Option<TlsSettings>,
    /// File of bearer tokens.
    pub tokens_file: Option<PathBuf>,
    /// The listener that takes commands of which heads to answer with.
    pub rollout: Option<RolloutSettings>,
}

/// `batching`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchingSettings {
    /// 0 means what suits the device.
    pub max_size: usize,
    /// Such as `2ms`.
    pub max_wait: SignedDuration,
}

/// `limits`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Bytes of one message.
    pub max_message_bytes: usize,
    /// Bytes of one encoded image.
    pub max_image_bytes: usize,
    /// Pixels of one decoded image.
    pub max_image_pixels: u64,
    /// Normal images of a prompt set.
    pub max_shots: usize,
    /// Images of one batch request.
    pub max_batch_images: usize,
    /// Images that wait to be computed.
    pub max_queued_images: usize,
    /// Bytes of all messages in work.
    pub max_inflight_bytes: usize,
    /// Bytes of cached prompt features.
    pub prompt_cache_bytes: u64,
}

/// `drain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrainSettings {
    /// Such as `5s`.
    pub delay: SignedDuration,
    /// Such as `20s`.
    pub timeout: SignedDuration,
}

/// `log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `auto`, `text` or `json`.
    pub format: LogFormat,
    /// Such as `info,inctrl_server=debug`.
    pub filter: String,
}

/// `tls`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file of the certificate chain.
    pub certificate: Option<PathBuf>,
    /// PEM file of the private key.
    pub key: Option<PathBuf>,
    /// PEM file of the authorities of clients.
    pub client_ca: Option<PathBuf>,
}

/// `rollout`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutSettings {
    /// Address of the listener.
    pub listen: SocketAddr,
    /// Where its bound address is written.
    pub address_file: Option<PathBuf>,
    /// Certificates; all three files.
    pub tls: Option<TlsSettings>,
    /// DNS name in the certificate of who may command.
    pub client_name: String,
    /// Commands of everyone on this machine, in place of certificates.
    pub plaintext: bool,
    /// PEM file of the key that manifests must be signed with.
    pub verification_key: Option<PathBuf>,
    /// Folder under which `pvc://claim/…` is found as `claim/…`.
    pub pvc_root: PathBuf,
    /// Folder of a mounted Secret with credentials of the artifact store.
    pub store_secret: Option<PathBuf>,
}

/// Number format of the backbone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum PrecisionChoice {
    /// The fastest that a probe at the start finds.
    #[default]
    Auto,
    /// That one.
    Fixed(Precision),
}

/// A word that names no number format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no precision; write auto, fp32, bf16 or fp16")]
pub struct WordError {
    word: String,
}

impl Settings {
    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        inctrl_storage::settings::read(path, &Self::complete())
    }

    /// The same from memory; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        inctrl_storage::settings::parse(text, path, &Self::complete())
    }

    /// Settings with every key there is.
    fn complete() -> Self {
        let tls = || Some(TlsSettings::default());
        let rollout = RolloutSettings { tls: tls(), ..RolloutSettings::default() };
        Self { tls: tls(), rollout: Some(rollout), ..Self::default() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            listen: local(DEFAULT_PORT),
            admin_listen: local(DEFAULT_ADMIN_PORT),
            address_file: None,
            backbone: None,
            head: None,
            model_name: "default".to_owned(),
            state_dir: PathBuf::from("inctrl-state"),
            device: DeviceChoice::Auto,
            precision: PrecisionChoice::Auto,
            threads: 0,
            batching: BatchingSettings::default(),
            limits: LimitSettings::default(),
            drain: DrainSettings::default(),
            log: LogSettings::default(),
            tls: None,
            tokens_file: None,
            rollout: None,
        }
    }
}

impl Default for RolloutSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_ROLLOUT_PORT)),
            address_file: None,
            tls: None,
            client_name: "inctrl-operator".to_owned(),
            plaintext: false,
            verification_key: None,
            pvc_root: PathBuf::from(inctrl_storage::options::DEFAULT_PVC_ROOT),
            store_secret: None,
        }
    }
}

impl Default for BatchingSettings {
    fn default() -> Self {
        Self { max_size: 0, max_wait: SignedDuration::ZERO }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            max_message_bytes: 32 * MIB,
            max_image_bytes: 16 * MIB,
            max_image_pixels: 64 * MIB as u64,
            max_shots: 16,
            max_batch_images: 64,
            // Four of the largest requests.
            max_queued_images: 256,
            max_inflight_bytes: 512 * MIB,
            prompt_cache_bytes: 1024 * MIB as u64,
        }
    }
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { delay: SignedDuration::from_secs(5), timeout: SignedDuration::from_secs(20) }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

impl FromStr for PrecisionChoice {
    type Err = WordError;

    fn from_str(word: &str) -> Result<Self, WordError> {
        match word {
            "auto" => Ok(Self::Auto),
            "fp32" => Ok(Self::Fixed(Precision::Fp32)),
            "bf16" => Ok(Self::Fixed(Precision::Bf16)),
            "fp16" => Ok(Self::Fixed(Precision::Fp16)),
            _ => Err(WordError { word: word.to_owned() }),
        }
    }
}

/// Reads the word in place, so that errors tell line and column.
impl<'de> Deserialize<'de> for PrecisionChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = PrecisionChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("auto, fp32, bf16 or fp16")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<PrecisionChoice, E> {
                word.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Word)
    }
}

impl From<PrecisionChoice> for String {
    fn from(choice: PrecisionChoice) -> Self {
        match choice {
            PrecisionChoice::Auto => "auto".to_owned(),
            PrecisionChoice::Fixed(precision) => precision_name(precision).to_owned(),
        }
    }
}

/// The word for a precision.
pub(crate) fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Fp32 => "fp32",
        Precision::Bf16 => "bf16",
        Precision::Fp16 => "fp16",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, SettingsError> {
        Settings::parse(text, Path::new("server.yaml"))
    }

    #[test]
    fn a_file_sets_what_it_names_and_leaves_the_rest() {
        let text = "listen: 0.0.0.0:0\ndevice: cuda:1\nprecision: bf16\ndrain: {delay: 250ms}\n";
        let settings = parse(text).unwrap();
        assert_eq!(settings.listen.port(), 0);
        assert_eq!(settings.device, DeviceChoice::Cuda(1));
        assert_eq!(settings.precision, PrecisionChoice::Fixed(Precision::Bf16));
        assert_eq!(settings.drain.delay, SignedDuration::from_millis(250));
        assert_eq!(settings.drain.timeout, DrainSettings::default().timeout);
        assert_eq!(parse("").unwrap(), Settings::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        let error = parse("limits: {max_shot: 4}\nbackbnoe: x\ntls: {certifcate: c}").unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains(r#"unknown key "limits.max_shot" (did you mean "limits.max_shots"?)"#),
            "{said}"
        );
        assert!(said.contains(r#"unknown key "backbnoe" (did you mean "backbone"?)"#), "{said}");
        assert!(said.contains(r#"unknown key "tls.certifcate" (did you mean "tls.certificate"?)"#), "{said}");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_located() {
        let error = parse("threads: 2\ndevice: gpu\n").unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(r#""gpu" is no device; write auto, cpu or cuda:N"#), "{source}");
        assert!(source.contains("line 2"), "{source}");
    }
}
