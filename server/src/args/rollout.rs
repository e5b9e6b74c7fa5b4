//! Flags of roll-outs.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{over, set};
use crate::config::{Settings, TlsSettings};

/// Flags of roll-outs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Roll-outs")]
pub struct Rollout {
    /// Take roll-outs on this address; port 0 takes any free one [default where a rollout flag is given:
    /// 127.0.0.1:8443].
    #[arg(long, value_name = "ADDRESS")]
    pub rollout_listen: Option<SocketAddr>,
    /// Write its bound address to this file once the server is started.
    #[arg(long, value_name = "FILE")]
    pub rollout_address_file: Option<PathBuf>,
    /// PEM file of the rollout listener's certificate chain.
    #[arg(long, value_name = "FILE", requires_all = ["rollout_tls_key", "rollout_tls_client_ca"])]
    pub rollout_tls_certificate: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, value_name = "FILE", requires = "rollout_tls_certificate")]
    pub rollout_tls_key: Option<PathBuf>,
    /// PEM file of the authorities of those who may command.
    #[arg(long, value_name = "FILE", requires = "rollout_tls_certificate")]
    pub rollout_tls_client_ca: Option<PathBuf>,
    /// DNS name in the certificate of who may command [default: inctrl-operator].
    #[arg(long, value_name = "NAME")]
    pub rollout_client_name: Option<String>,
    /// Take roll-outs of everyone on this machine, in plain text; on a loopback address only.
    #[arg(long, conflicts_with = "rollout_tls_certificate")]
    pub rollout_plaintext: bool,
    /// PEM file of the Ed25519 key that manifests must be signed with.
    #[arg(long, value_name = "FILE")]
    pub rollout_verification_key: Option<PathBuf>,
    /// Folder under which `pvc://CLAIM/…` is found as `CLAIM/…` [default: /mnt/inctrl/pvc].
    #[arg(long, value_name = "DIR")]
    pub rollout_pvc_root: Option<PathBuf>,
    /// Folder of a mounted Secret with credentials of the artifact store; they win over the environment.
    #[arg(long, value_name = "DIR")]
    pub rollout_store_secret: Option<PathBuf>,
}

impl Rollout {
    pub(super) fn apply(self, settings: &mut Settings) {
        let Self {
            rollout_listen,
            rollout_address_file,
            rollout_tls_certificate,
            rollout_tls_key,
            rollout_tls_client_ca,
            rollout_client_name,
            rollout_plaintext,
            rollout_verification_key,
            rollout_pvc_root,
            rollout_store_secret,
        } = self;
        let flags = TlsSettings {
            certificate: rollout_tls_certificate,
            key: rollout_tls_key,
            client_ca: rollout_tls_client_ca,
        };
        // Whether the listener may be had so is checked with all other settings: no flag is ignored.
        let asked = rollout_plaintext
            || rollout_listen.is_some()
            || rollout_address_file.is_some()
            || flags != TlsSettings::default()
            || rollout_client_name.is_some()
            || rollout_verification_key.is_some()
            || rollout_pvc_root.is_some()
            || rollout_store_secret.is_some();
        if !asked && settings.rollout.is_none() {
            return;
        }
        let mut rollout = settings.rollout.take().unwrap_or_default();
        set(&mut rollout.listen, rollout_listen);
        set(&mut rollout.client_name, rollout_client_name);
        set(&mut rollout.pvc_root, rollout_pvc_root);
        rollout.address_file = rollout_address_file.or(rollout.address_file);
        rollout.verification_key = rollout_verification_key.or(rollout.verification_key);
        rollout.store_secret = rollout_store_secret.or(rollout.store_secret);
        rollout.tls = over(rollout.tls.take(), flags);
        rollout.plaintext |= rollout_plaintext;
        settings.rollout = Some(rollout);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::{Command, CommandLine};
    use crate::config::{Config, Settings};

    fn settings(flags: &[&str]) -> Settings {
        let typed = ["inctrl-server", "serve"].iter().chain(flags);
        let Command::Serve(serve) = CommandLine::try_parse_from(typed).unwrap().command;
        serve.settings().unwrap()
    }

    #[test]
    fn roll_outs_are_taken_only_when_asked_for() {
        assert_eq!(settings(&[]).rollout, None);
        let half = Settings { backbone: Some("b".into()), ..settings(&["--rollout-client-name", "op"]) };
        let refused = Config::new(half).unwrap_err().to_string();
        assert!(refused.contains("--rollout-plaintext"), "a flag alone must not be ignored: {refused}");
        let rollout = settings(&["--rollout-plaintext"]).rollout.unwrap();
        assert!(rollout.plaintext && rollout.listen.to_string() == "127.0.0.1:8443");
        let files =
            ["--rollout-tls-certificate", "a", "--rollout-tls-key", "b", "--rollout-tls-client-ca", "c"];
        let tls = settings(&files).rollout.unwrap().tls.unwrap();
        assert_eq!(tls.client_ca, Some("c".into()));
    }
}
