//! What the operator runs with, checked once. Second of three moves; after it nothing reads a flag or the environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use inctrl_telemetry::LogConfig;
use jiff::SignedDuration;

use crate::args::{Lease, Pace, Run, Servers};
use crate::controller::build::job::JobDefaults;
use crate::controller::stores::Stores;
use crate::controller::validate::Allowed;
use crate::lease::LeaseConfig;
use crate::servers::{Dialer, TlsFiles};

/// Environment variables that stores understand.
const STORE_PREFIXES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// Everything the operator needs to know, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The one namespace to look after; all where absent.
    pub watch_namespace: Option<String>,
    /// Label selector of the pods to watch.
    pub pod_selector: Option<String>,
    /// What is decided for all Jobs.
    pub defaults: JobDefaults,
    /// What resources may ask for.
    pub allowed: Allowed,
    /// How stores are reached.
    pub stores: Stores,
    /// How servers are dialled.
    pub dialer: Dialer,
    /// Where the admin endpoint listens.
    pub admin_listen: SocketAddr,
    /// Where to write the bound admin address.
    pub address_file: Option<PathBuf>,
    /// Leader election.
    pub lease: LeaseConfig,
    /// Models that are worked on at a time.
    pub concurrency: usize,
    /// Calls to the API server in a second, and at once.
    pub api_rate: (f64, u32),
    /// Longest wait for one call.
    pub api_timeout: Duration,
    /// How often every model is looked at.
    pub resync: Duration,
    /// Logs.
    pub log: LogConfig,
}

/// Why the flags make no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A time that is none.
    #[error("{flag} must be longer than nothing")]
    Duration {
        /// Which.
        flag: &'static str,
    },
    /// A leader that acts when another has begun.
    #[error("--lease-retry must be shorter than --lease-deadline, and that shorter than --lease-duration")]
    Lease,
    /// Nobody would work.
    #[error("--concurrency must be at least 1")]
    Concurrency,
    /// Servers would be spoken to in the clear.
    #[error(
        "give --server-tls-ca, --server-tls-certificate and --server-tls-key, or --plaintext-loopback for servers of this machine"
    )]
    Tls,
}

fn duration(flag: &'static str, given: SignedDuration) -> Result<Duration, ConfigError> {
    let duration = Duration::try_from(given).ok().filter(|duration| !duration.is_zero());
    duration.ok_or(ConfigError::Duration { flag })
}

impl Config {
    /// Checks flags.
    pub fn new(run: Run) -> Result<Self, ConfigError> {
        let Run {
            watch_namespace,
            pod_selector,
            trainer_image,
            trainer_service_account,
            allow_file_uris,
            pvc_root,
            admin_listen,
            address_file,
            servers,
            lease,
            pace,
            log_format,
            log_filter,
        } = run;
        let Pace { concurrency, api_qps, api_burst, api_timeout, resync } = pace;
        if concurrency == 0 {
            return Err(ConfigError::Concurrency);
        }
        Ok(Self {
            watch_namespace: watch_namespace.filter(|namespace| !namespace.is_empty()),
            pod_selector,
            defaults: JobDefaults { image: trainer_image, service_account: trainer_service_account },
            allowed: Allowed { file_uris: allow_file_uris },
            stores: Stores { settings: store_settings(std::env::vars()), pvc_root },
            dialer: dialer(servers)?,
            admin_listen,
            address_file,
            lease: lease_config(lease)?,
            concurrency,
            api_rate: (api_qps, api_burst),
            api_timeout: duration("--api-timeout", api_timeout)?,
            resync: duration("--resync", resync)?,
            log: LogConfig { format: log_format.into(), filter: log_filter },
        })
    }
}

fn store_settings(environment: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    environment.filter(|(name, _)| STORE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))).collect()
}

fn dialer(servers: Servers) -> Result<Dialer, ConfigError> {
    let Servers {
        server_tls_ca,
        server_tls_certificate,
        server_tls_key,
        server_tls_name,
        plaintext_loopback,
    } = servers;
    match (server_tls_ca, server_tls_certificate, server_tls_key) {
        (Some(authorities), Some(certificate), Some(key)) => {
            Ok(Dialer { tls: Some(TlsFiles { authorities, certificate, key, server_name: server_tls_name }) })
        }
        _ if plaintext_loopback => Ok(Dialer { tls: None }),
        _ => Err(ConfigError::Tls),
    }
}

fn lease_config(lease: Lease) -> Result<LeaseConfig, ConfigError> {
    let Lease { lease_namespace, lease_name, identity, lease_duration, lease_deadline, lease_retry } = lease;
    let config = LeaseConfig {
        namespace: lease_namespace,
        name: lease_name,
        // A process that is started anew is another contender.
        identity: format!("{identity}-{:08x}", rand::random::<u32>()),
        duration: duration("--lease-duration", lease_duration)?,
        deadline: duration("--lease-deadline", lease_deadline)?,
        retry: duration("--lease-retry", lease_retry)?,
    };
    if config.retry < config.deadline && config.deadline < config.duration {
        Ok(config)
    } else {
        Err(ConfigError::Lease)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Command, CommandLine};

    fn config(flags: &[&str]) -> Result<Config, ConfigError> {
        let all = ["inctrl-operator", "run", "--trainer-image", "trainer:1"].iter().chain(flags);
        match CommandLine::parse_from(all).command {
            Command::Run(run) => Config::new(*run),
            Command::Crd(_) => unreachable!("run was given"),
        }
    }

    #[test]
    fn servers_are_spoken_to_in_the_clear_only_when_asked() {
        assert!(matches!(config(&[]), Err(ConfigError::Tls)));
        assert!(config(&["--plaintext-loopback"]).unwrap().dialer.tls.is_none());
        let files = ["--server-tls-ca", "a", "--server-tls-certificate", "b", "--server-tls-key", "c"];
        assert_eq!(config(&files).unwrap().dialer.tls.unwrap().server_name, "inctrl-server");
    }

    #[test]
    fn a_leader_must_stop_before_another_can_begin() {
        let error = config(&["--plaintext-loopback", "--lease-deadline", "15s"]).unwrap_err().to_string();
        assert!(error.contains("--lease-deadline"), "{error}");
    }

    #[test]
    fn two_processes_of_one_name_are_two_contenders() {
        let identity = || config(&["--plaintext-loopback", "--identity", "op"]).unwrap().lease.identity;
        assert_ne!(identity(), identity());
    }

    #[test]
    fn only_what_stores_understand_is_taken_from_the_environment() {
        let environment =
            [("AWS_REGION", "x"), ("HOME", "/root")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(store_settings(environment.into_iter()).keys().collect::<Vec<_>>(), ["AWS_REGION"]);
    }
}
