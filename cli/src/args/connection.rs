//! Flags that say how the server is reached; every command takes them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;

/// Longest duration that is taken: nobody waits for an answer longer, and one that is longer by far has no gRPC form.
const LONGEST: Duration = Duration::from_hours(24);

/// How to reach the server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// Server to talk to; https:// for TLS, http:// where no scheme is given.
    #[arg(
        long,
        value_name = "URL",
        env = "INCTRL_SERVER",
        default_value = "http://127.0.0.1:50051",
        global = true
    )]
    pub server: String,
    /// PEM file of the authorities to trust [default: those of this machine].
    #[arg(long, value_name = "FILE", env = "INCTRL_TLS_CA", global = true)]
    pub tls_ca: Option<PathBuf>,
    /// PEM file of this client's certificate chain, for servers that ask for one.
    #[arg(long, value_name = "FILE", requires = "tls_key", global = true)]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, value_name = "FILE", requires = "tls_certificate", global = true)]
    pub tls_key: Option<PathBuf>,
    /// Name that the server's certificate must bear, where it is not the URL's host.
    #[arg(long, value_name = "NAME", global = true)]
    pub tls_server_name: Option<String>,
    /// File whose first line is the bearer token.
    #[arg(long, value_name = "FILE", env = "INCTRL_TOKEN_FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// Longest time for one answer, such as 30s or 2m.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration, global = true)]
    pub timeout: Duration,
    /// How long to try again while the server is away or overloaded; 0s means not at all.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration, global = true)]
    pub retry_for: Duration,
}

fn duration(typed: &str) -> Result<Duration, String> {
    let parsed: SignedDuration =
        typed.parse().map_err(|error| format!("{error}; write it with its unit, such as 30s or 2m"))?;
    let parsed = Duration::try_from(parsed).map_err(|_| "it must not be negative".to_owned())?;
    if LONGEST < parsed { Err("it must be at most 24h".to_owned()) } else { Ok(parsed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_no_sign_and_end_within_a_day() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert!(duration("30").unwrap_err().contains("unit"));
        assert!(duration("-1s").unwrap_err().contains("negative"));
        assert_eq!(duration("24h"), Ok(LONGEST));
        for longer in ["86400.001s", "100000000h"] {
            assert!(duration(longer).unwrap_err().contains("at most 24h"), "{longer}");
        }
    }
}
