//! From flags to a channel: addresses, certificates and the token are checked before anything is sent.
//!
//! The channel connects when it is first used, and again whenever it has lost its connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::args::ConnectionArgs;

/// Longest time for TCP and TLS together; a machine that answers at all answers in less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A silent connection is asked for a sign of life so often, and given up when none comes: a server that vanished
/// without closing is noticed within the sum.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Flow-control windows: several images of usual size in flight on one connection.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// A checked way to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) url: String,
    pub(crate) channel: Channel,
    pub(crate) token: Option<MetadataValue<Ascii>>,
    pub(crate) timeout: Duration,
    pub(crate) retry_for: Duration,
    /// The token would travel readable over a network.
    pub(crate) is_token_exposed: bool,
}

/// Why the flags name no way to a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The URL cannot be used.
    #[error("server {url:?} is no URL such as http://host:50051 or https://host: {reason}")]
    Url {
        /// What was typed.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS flags with a plaintext URL.
    #[error("{flag} was given, but {url} is not encrypted; write https://")]
    PlaintextWithTls {
        /// The flag.
        flag: &'static str,
        /// The URL.
        url: String,
    },
    /// A file cannot be read.
    #[error("{flag} {path:?} cannot be read")]
    Read {
        /// The flag that named it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The token has characters that cannot travel.
    #[error("the first line of {path:?} is no token: it must be visible ASCII characters")]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The certificates cannot be used.
    #[error("certificates for {url} cannot be used")]
    Tls {
        /// The URL.
        url: String,
        /// Why.
        source: tonic::transport::Error,
    },
}

impl Connection {
    /// Checks flags and reads the files that they name; must be called within a runtime.
    pub(crate) fn new(args: ConnectionArgs) -> Result<Self, ConnectionError> {
        let ConnectionArgs {
            server,
            tls_ca,
            tls_certificate,
            tls_key,
            tls_server_name,
            token_file,
            timeout,
            retry_for,
        } = args;
        let url = with_scheme(&server);
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|error| ConnectionError::Url { url: server.clone(), reason: error.to_string() })?
            .connect_timeout(CONNECT_TIMEOUT.min(timeout / 2))
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let host = endpoint.uri().host().unwrap_or_default().to_owned();
        let is_encrypted = match endpoint.uri().scheme_str() {
            Some("https") => true,
            Some("http") => false,
            other => {
                let reason = format!("its scheme is {:?}, not http or https", other.unwrap_or_default());
                return Err(ConnectionError::Url { url: server, reason });
            }
        };
        let endpoint = if is_encrypted {
            let tls = TlsFiles { ca: tls_ca, certificate: tls_certificate, key: tls_key };
            let config = tls.read(tls_server_name)?;
            endpoint.tls_config(config).map_err(|source| ConnectionError::Tls { url: url.clone(), source })?
        } else {
            let given = [
                ("--tls-ca", tls_ca.is_some()),
                ("--tls-certificate", tls_certificate.is_some()),
                ("--tls-server-name", tls_server_name.is_some()),
            ];
            if let Some((flag, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
                return Err(ConnectionError::PlaintextWithTls { flag, url });
            }
            endpoint
        };
        let token = token_file.as_deref().map(read_token).transpose()?;
        let is_token_exposed = token.is_some() && !is_encrypted && !is_loopback(&host);
        let channel = endpoint.connect_lazy();
        Ok(Self { url, channel, token, timeout, retry_for, is_token_exposed })
    }
}

struct TlsFiles {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl TlsFiles {
    fn read(self, server_name: Option<String>) -> Result<ClientTlsConfig, ConnectionError> {
        let Self { ca, certificate, key } = self;
        let mut config = match ca {
            Some(path) => {
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("--tls-ca", &path)?))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let (Some(certificate), Some(key)) = (certificate, key) {
            let certificate = read("--tls-certificate", &certificate)?;
            config = config.identity(Identity::from_pem(certificate, read("--tls-key", &key)?));
        }
        if let Some(name) = server_name {
            config = config.domain_name(name);
        }
        Ok(config)
    }
}

fn with_scheme(typed: &str) -> String {
    if typed.contains("://") { typed.to_owned() } else { format!("http://{typed}") }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, ConnectionError> {
    std::fs::read(path).map_err(|source| ConnectionError::Read { flag, path: path.to_owned(), source })
}

fn read_token(path: &Path) -> Result<MetadataValue<Ascii>, ConnectionError> {
    let no_token = || ConnectionError::Token { path: path.to_owned() };
    let bytes = read("--token-file", path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| no_token())?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        return Err(no_token());
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| no_token())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::Parser as _;

    use super::*;
    use crate::args::CommandLine;

    /// Must be called within a runtime.
    fn connect(typed: &[&str]) -> Result<Connection, String> {
        let typed = ["inctrl", "info"].iter().chain(typed);
        Connection::new(CommandLine::try_parse_from(typed).unwrap().connection).map_err(|e| e.to_string())
    }

    fn file(content: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    #[tokio::test]
    async fn a_host_and_port_are_enough() {
        assert_eq!(connect(&["--server", "scoring:50051"]).unwrap().url, "http://scoring:50051");
    }

    #[tokio::test]
    async fn other_schemes_are_refused() {
        let refused = connect(&["--server", "ftp://scoring"]).unwrap_err();
        assert!(refused.contains("\"ftp\""), "{refused}");
        assert!(connect(&["--server", "http://a b"]).unwrap_err().contains("no URL"));
    }

    #[tokio::test]
    async fn tls_flags_need_an_encrypted_url() {
        let ca = file("");
        let refused = connect(&["--tls-ca", ca.path().to_str().unwrap()]).unwrap_err();
        assert!(refused.contains("--tls-ca") && refused.contains("https://"), "{refused}");
    }

    #[tokio::test]
    async fn the_first_line_of_the_token_file_travels() {
        let token = file("s3cret \nanother\n");
        let path = token.path().to_str().unwrap();
        let near = connect(&["--token-file", path]).unwrap();
        assert_eq!(near.token.unwrap().to_str().unwrap(), "Bearer s3cret");
        assert!(!near.is_token_exposed, "the loopback device is no network");
        let far = connect(&["--token-file", path, "--server", "http://scoring:1"]).unwrap();
        assert!(far.is_token_exposed);
    }

    #[tokio::test]
    async fn an_empty_token_file_is_refused() {
        let token = file("\n");
        let refused = connect(&["--token-file", token.path().to_str().unwrap()]).unwrap_err();
        assert!(refused.contains("no token"), "{refused}");
    }
}
