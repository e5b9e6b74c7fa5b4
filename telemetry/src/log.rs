//! Logs: text on a terminal, one JSON document a line elsewhere; always on standard error.

use std::io::{IsTerminal, stderr};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON document a line.
    Json,
}

/// What to log, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// Directives of `tracing_subscriber::EnvFilter`, such as `info,inctrl_server=debug`.
    pub filter: String,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A directive could not be read.
    #[error("log filter {filter:?} cannot be read; write directives such as \"info,inctrl_server=debug\"")]
    Filter {
        /// The filter given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// This process has a subscriber already.
    #[error("logging was set up before in this process")]
    AlreadyInitialised,
}

impl LogFormat {
    /// Whether lines are JSON, given where they go.
    fn is_json(self, terminal: bool) -> bool {
        match self {
            Self::Auto => !terminal,
            Self::Text => false,
            Self::Json => true,
        }
    }
}

/// Sends the logs of the process to standard error.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let LogConfig { format, filter } = config;
    let parsed =
        EnvFilter::try_new(filter).map_err(|source| LogError::Filter { filter: filter.clone(), source })?;
    let terminal = stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(stderr).with_ansi(terminal);
    let installed = if format.is_json(terminal) {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        lines.try_init()
    };
    installed.map_err(|_| LogError::AlreadyInitialised)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_writes_text_only_on_a_terminal() {
        assert!(!LogFormat::Auto.is_json(true));
        assert!(LogFormat::Auto.is_json(false));
        assert!(LogFormat::Json.is_json(true));
        assert!(!LogFormat::Text.is_json(false));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let config = LogConfig { format: LogFormat::Text, filter: "info,=,".to_owned() };
        let error = init(&config).unwrap_err();
        assert!(error.to_string().contains("\"info,=,\""), "{error} must name the filter");
    }
}
