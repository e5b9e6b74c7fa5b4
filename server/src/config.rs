//! What the server runs with: the settings of file and flags, checked once and turned into one value.
//!
//! Second of three moves (args, config, app). After it nothing reads a file of settings, a flag or the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use inctrl_model::ImageLimits;
use inctrl_storage::StoreOptions;
use inctrl_telemetry::LogConfig;
use jiff::SignedDuration;

use crate::ids::{ModelIdError, ResourceId};

mod settings;

pub use inctrl_model::device::DeviceChoice;
pub(crate) use settings::precision_name;
pub use settings::{
    BatchingSettings, DrainSettings, LimitSettings, LogSettings, PrecisionChoice, RolloutSettings, Settings,
    SettingsError, TlsSettings,
};

/// Most shots of a prompt set that the model is meant for.
const MOST_SHOTS: usize = 16;

/// Longest that a query may be made to wait for company.
const LONGEST_BATCH_WAIT: Duration = Duration::from_mins(1);

/// Everything the server needs to know, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the data port listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where the admin endpoint listens; port 0 takes any free one.
    pub admin_listen: SocketAddr,
    /// Where to write the bound data address once the server is ready.
    pub address_file: Option<PathBuf>,
    /// The backbone's folder.
    pub backbone: PathBuf,
    /// The head's file; one that is only rolled out to has none.
    pub head: Option<PathBuf>,
    /// Name of the model that the head answers for.
    pub model_name: ResourceId,
    /// Where prompt sets are kept.
    pub state_dir: PathBuf,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Number format of the backbone.
    pub precision: PrecisionChoice,
    /// Threads of one tensor operation on a CPU, and of decoding; 0 means one a core.
    pub threads: usize,
    /// How queries are put together.
    pub batching: Batching,
    /// What is refused.
    pub limits: Limits,
    /// How it stops.
    pub drain: Drain,
    /// Logs.
    pub log: LogConfig,
    /// Certificates of the data port; plaintext without.
    pub tls: Option<Tls>,
    /// File of bearer tokens, one a line; everyone may call without.
    pub tokens_file: Option<PathBuf>,
    /// The listener that takes commands of which heads to answer with; there is none without.
    pub rollout: Option<RolloutConfig>,
}

/// The listener that takes commands of which heads to answer with.
#[derive(Debug, Clone)]
pub struct RolloutConfig {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where to write its bound address once the server is started.
    pub address_file: Option<PathBuf>,
    /// Who may command.
    pub access: RolloutAccess,
    /// PEM file of the key that manifests must be signed with; signatures are not asked for without.
    pub verification_key: Option<PathBuf>,
    /// Folder of a mounted Secret with credentials of the artifact store.
    pub store_secret: Option<PathBuf>,
    /// How to reach artifact stores.
    pub store: StoreOptions,
}

/// Who may command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutAccess {
    /// Whose certificate is of the authorities and has this name.
    Mutual {
        /// Certificates; with the authorities of clients.
        tls: Tls,
        /// DNS name in the client's certificate.
        client_name: String,
    },
    /// Everyone on this machine.
    Plaintext,
}

/// How queries are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Most images of a batch; 0 means what suits the device.
    pub max_size: usize,
    /// Longest time that an idle device waits for more images.
    pub max_wait: Duration,
}

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message.
    pub max_message_bytes: usize,
    /// Bytes and pixels of one image.
    pub image: ImageLimits,
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

/// How the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long it goes on serving after it has said that it is not ready.
    pub delay: Duration,
    /// How long work in flight may take after that.
    pub timeout: Duration,
}

/// Certificates of the data port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the server's certificate chain.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// PEM file of the authorities whose clients may connect; no client certificate is asked for without.
    pub client_ca: Option<PathBuf>,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting without a default is missing.
    #[error("{setting} is not set; give {flag}, or {setting:?} in the configuration file")]
    Missing {
        /// Its name in the file.
        setting: &'static str,
        /// The flag.
        flag: &'static str,
    },
    /// A number is outside its range.
    #[error("{setting} is {value}, it must be {range}")]
    OutOfRange {
        /// Its name in the file.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        range: String,
    },
    /// The model's name is none.
    #[error("model_name cannot be used")]
    ModelName(#[source] ModelIdError),
    /// Half of a certificate and its key.
    #[error("tls needs both certificate and key; give the missing one")]
    HalfTls,
    /// The rollout listener would let anyone in, or nobody.
    #[error(
        "rollout needs tls.certificate, tls.key and tls.client_ca (--rollout-tls-certificate and so on), or \
         rollout.plaintext (--rollout-plaintext) for commands from this machine"
    )]
    RolloutAccess,
    /// Commands in plain text must not come from other machines.
    #[error(
        "rollout.plaintext is for loopback addresses, rollout.listen is {listen}; give certificates, or listen on \
         127.0.0.1"
    )]
    PlaintextElsewhere {
        /// The address.
        listen: SocketAddr,
    },
}

impl Config {
    /// Checks settings.
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        let Settings {
            listen,
            admin_listen,
            address_file,
            backbone,
            head,
            model_name,
            state_dir,
            device,
            precision,
            threads,
            batching,
            limits,
            drain,
            log,
            tls,
            tokens_file,
            rollout,
        } = settings;
        let missing = |setting, flag| move || ConfigError::Missing { setting, flag };
        let config = Self {
            listen,
            admin_listen,
            address_file,
            backbone: backbone.ok_or_else(missing("backbone", "--backbone DIR"))?,
            head: match head {
                None if rollout.is_none() => {
                    return Err(missing("head", "--head FILE (or --rollout-listen ADDRESS for roll-outs)")());
                }
                head => head,
            },
            model_name: ResourceId::parse_model(&model_name).map_err(ConfigError::ModelName)?,
            state_dir,
            device,
            precision,
            threads: within("threads", threads, 0, 1024)?,
            batching: Batching {
                max_size: within("batching.max_size", batching.max_size, 0, 1024)?,
                max_wait: max_wait(batching.max_wait)?,
            },
            limits: check_limits(&limits)?,
            drain: Drain {
                delay: duration("drain.delay", drain.delay)?,
                timeout: duration("drain.timeout", drain.timeout)?,
            },
            log: LogConfig { format: log.format, filter: log.filter },
            tls: tls.map(check_tls).transpose()?,
            tokens_file,
            rollout: rollout.map(check_rollout).transpose()?,
        };
        Ok(config)
    }

    /// Threads for computing and for decoding: as set, or one a core.
    pub fn cores(&self) -> usize {
        if self.threads > 0 {
            return self.threads;
        }
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

fn check_limits(limits: &LimitSettings) -> Result<Limits, ConfigError> {
    let LimitSettings {
        max_message_bytes,
        max_image_bytes,
        max_image_pixels,
        max_shots,
        max_batch_images,
        max_queued_images,
        max_inflight_bytes,
        prompt_cache_bytes,
    } = *limits;
    // A gRPC message's length is a 32-bit number.
    let max_message_bytes =
        within("limits.max_message_bytes", max_message_bytes, 1 << 10, u32::MAX as usize)?;
    let max_batch_images = within("limits.max_batch_images", max_batch_images, 1, 4096)?;
    Ok(Limits {
        max_message_bytes,
        image: ImageLimits {
            max_bytes: within("limits.max_image_bytes", max_image_bytes, 1, max_message_bytes)?,
            max_pixels: max_image_pixels,
        },
        max_shots: within("limits.max_shots", max_shots, 1, MOST_SHOTS)?,
        max_batch_images,
        // A request that could never be queued would be refused for ever.
        max_queued_images: within("limits.max_queued_images", max_queued_images, max_batch_images, 1 << 20)?,
        max_inflight_bytes: within(
            "limits.max_inflight_bytes",
            max_inflight_bytes,
            max_message_bytes,
            usize::MAX >> 4,
        )?,
        prompt_cache_bytes,
    })
}

fn check_tls(tls: TlsSettings) -> Result<Tls, ConfigError> {
    let TlsSettings { certificate, key, client_ca } = tls;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Tls { certificate, key, client_ca }),
        _ => Err(ConfigError::HalfTls),
    }
}

fn check_rollout(rollout: RolloutSettings) -> Result<RolloutConfig, ConfigError> {
    let RolloutSettings {
        listen,
        address_file,
        tls,
        client_name,
        plaintext,
        verification_key,
        pvc_root,
        store_secret,
    } = rollout;
    let access = match (tls.map(check_tls).transpose()?, plaintext) {
        (Some(tls), false) if tls.client_ca.is_some() => RolloutAccess::Mutual { tls, client_name },
        (None, true) if listen.ip().is_loopback() => RolloutAccess::Plaintext,
        (None, true) => return Err(ConfigError::PlaintextElsewhere { listen }),
        _ => return Err(ConfigError::RolloutAccess),
    };
    let store = StoreOptions { pvc_root, ..StoreOptions::anonymous() };
    Ok(RolloutConfig { listen, address_file, access, verification_key, store_secret, store })
}

fn within(setting: &'static str, value: usize, least: usize, most: usize) -> Result<usize, ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let range = format!("between {least} and {most}");
    Err(ConfigError::OutOfRange { setting, value: value.to_string(), range })
}

/// No query may wait for company until its caller has left.
fn max_wait(value: SignedDuration) -> Result<Duration, ConfigError> {
    let setting = "batching.max_wait";
    let max_wait = duration(setting, value)?;
    if max_wait <= LONGEST_BATCH_WAIT {
        return Ok(max_wait);
    }
    let range = format!("at most {}s", LONGEST_BATCH_WAIT.as_secs());
    Err(ConfigError::OutOfRange { setting, value: format!("{}s", value.as_secs_f64()), range })
}

fn duration(setting: &'static str, value: SignedDuration) -> Result<Duration, ConfigError> {
    value.try_into().map_err(|_| ConfigError::OutOfRange {
        setting,
        value: format!("{}s", value.as_secs_f64()),
        range: "0s or longer".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Settings {
        Settings { backbone: Some("clip".into()), head: Some("head".into()), ..Settings::default() }
    }

    #[test]
    fn the_defaults_need_a_backbone_and_a_head() {
        let error = Config::new(Settings::default()).unwrap_err();
        assert!(error.to_string().contains("--backbone DIR"), "{error}");
        let error = Config::new(Settings { head: None, ..complete() }).unwrap_err();
        assert!(error.to_string().contains("--head FILE"), "{error}");
        let rollout = Some(RolloutSettings { plaintext: true, ..RolloutSettings::default() });
        let config = Config::new(Settings { head: None, rollout, ..complete() }).unwrap();
        assert_eq!(config.head, None, "a head may come by roll-out");
        let config = Config::new(complete()).unwrap();
        assert_eq!(config.limits.max_shots, 16);
        assert_eq!(config.drain.delay, Duration::from_secs(5));
    }

    #[test]
    fn numbers_outside_their_range_are_named_with_it() {
        let mut settings = complete();
        settings.limits.max_shots = 17;
        let error = Config::new(settings).unwrap_err();
        assert_eq!(error.to_string(), "limits.max_shots is 17, it must be between 1 and 16");

        let mut settings = complete();
        settings.limits.max_queued_images = 3;
        let error = Config::new(settings).unwrap_err();
        assert!(error.to_string().starts_with("limits.max_queued_images is 3"), "{error}");

        let mut settings = complete();
        settings.batching.max_wait = SignedDuration::from_secs(61);
        let error = Config::new(settings).unwrap_err();
        assert_eq!(error.to_string(), "batching.max_wait is 61s, it must be at most 60s");

        let mut settings = complete();
        settings.drain.delay = SignedDuration::from_secs(-1);
        let error = Config::new(settings).unwrap_err();
        assert_eq!(error.to_string(), "drain.delay is -1s, it must be 0s or longer");
    }

    #[test]
    fn the_model_may_have_every_name_that_a_request_may_ask_for() {
        let named = |name: &str| Config::new(Settings { model_name: name.to_owned(), ..complete() });
        assert_eq!(named("2line.visa").unwrap().model_name.as_str(), "2line.visa");
        assert!(matches!(named("Visa"), Err(ConfigError::ModelName(_))));
    }

    #[test]
    fn half_of_a_certificate_is_refused() {
        let tls = TlsSettings { certificate: Some("cert.pem".into()), key: None, client_ca: None };
        let error = Config::new(Settings { tls: Some(tls), ..complete() }).unwrap_err();
        assert!(matches!(error, ConfigError::HalfTls));
    }

    #[test]
    fn commands_come_by_mutual_tls_or_when_asked_for_in_plain_text_from_this_machine() {
        let rollout = |change: fn(&mut RolloutSettings)| {
            let mut settings = RolloutSettings::default();
            change(&mut settings);
            Config::new(Settings { rollout: Some(settings), ..complete() })
                .map(|config| config.rollout.unwrap())
        };
        assert!(matches!(rollout(|_| {}), Err(ConfigError::RolloutAccess)));
        let plain = rollout(|settings| settings.plaintext = true).unwrap();
        assert_eq!(plain.access, RolloutAccess::Plaintext);
        let elsewhere = rollout(|settings| {
            settings.plaintext = true;
            settings.listen = SocketAddr::from(([0, 0, 0, 0], 9443));
        });
        assert!(elsewhere.unwrap_err().to_string().contains("0.0.0.0:9443"));
        let tls = || TlsSettings {
            certificate: Some("a".into()),
            key: Some("b".into()),
            client_ca: Some("c".into()),
        };
        let one_sided = |settings: &mut RolloutSettings| {
            settings.tls =
                Some(TlsSettings { certificate: Some("a".into()), key: Some("b".into()), client_ca: None });
        };
        assert!(
            matches!(rollout(one_sided), Err(ConfigError::RolloutAccess)),
            "clients must be asked who they are"
        );
        let settings = RolloutSettings { tls: Some(tls()), ..RolloutSettings::default() };
        let config = Config::new(Settings { rollout: Some(settings.clone()), ..complete() }).unwrap();
        let access = config.rollout.unwrap().access;
        assert!(
            matches!(access, RolloutAccess::Mutual { client_name, .. } if client_name == "inctrl-operator")
        );
        let both = Settings { rollout: Some(RolloutSettings { plaintext: true, ..settings }), ..complete() };
        assert!(matches!(Config::new(both), Err(ConfigError::RolloutAccess)));
    }
}
