//! Bearer tokens: one a line in a file that is read once; only their digests are kept.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};

/// Why tokens cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// The file cannot be read.
    #[error("cannot read tokens file {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no token in it.
    #[error(
        "tokens file {path:?} has no token; write one a line, or leave tokens_file unset to let everyone call"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Who may call.
pub(super) struct Tokens(BTreeSet<[u8; 32]>);

impl Tokens {
    pub(super) fn read(path: &Path) -> Result<Self, TokensError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TokensError::Read { path: path.to_owned(), source })?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let digests: BTreeSet<[u8; 32]> = lines.map(digest).collect();
        if digests.is_empty() {
            return Err(TokensError::Empty { path: path.to_owned() });
        }
        Ok(Self(digests))
    }

    /// Whether the caller brings a known token. Digests are compared, so that time tells nothing of a token.
    pub(super) fn admit(&self, headers: &HeaderMap) -> bool {
        let brought = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = brought.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| {
            // Schemes are compared without regard to case (RFC 9110).
            scheme.eq_ignore_ascii_case("bearer")
        });
        token.is_some_and(|(_, token)| self.0.contains(&digest(token.trim())))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn tokens(text: &str) -> Result<Tokens, TokensError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Tokens::read(file.path())
    }

    #[test]
    fn each_line_is_a_token() {
        let tokens = tokens("# of line 3\nalpha\n\n beta \n").unwrap();
        let admits = |value: &'static str| {
            tokens.admit(&HeaderMap::from_iter([(AUTHORIZATION, http::HeaderValue::from_static(value))]))
        };
        assert!(admits("Bearer alpha") && admits("bearer beta"));
        assert!(!admits("Bearer gamma") && !admits("alpha") && !admits("Basic alpha") && !admits("Bearer "));
        assert!(!tokens.admit(&HeaderMap::new()));
    }

    #[test]
    fn a_file_without_tokens_is_refused() {
        let error = tokens("# none yet\n").unwrap_err();
        assert!(matches!(error, TokensError::Empty { .. }), "{error}");
    }
}
