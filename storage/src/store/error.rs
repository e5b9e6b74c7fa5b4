//! What can be wrong with a store, in the classes that a caller acts on differently.

use std::path::PathBuf;

use crate::Uri;
use crate::uri::UriError;

/// Why a store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing there.
    #[error("nothing at {uri}; check the URI")]
    NotFound {
        /// What was asked for.
        uri: Uri,
        /// What the store said.
        #[source]
        source: BoxedError,
    },
    /// There or not, it is not for us.
    #[error("no access to {uri}; check the credentials and what they permit")]
    AccessDenied {
        /// What was asked for.
        uri: Uri,
        /// What the store said.
        #[source]
        source: BoxedError,
    },
    /// The store did not answer, or not as a store does, after all retries.
    #[error("cannot reach {uri}; it was tried again until the time limit")]
    Unreachable {
        /// What was asked for.
        uri: Uri,
        /// The last thing that happened.
        #[source]
        source: BoxedError,
    },
    /// The object ended before its size.
    #[error(
        "{uri} ended after {bytes} of {expected} bytes; it changed while it was read, or the connection was cut"
    )]
    CutShort {
        /// The object.
        uri: Uri,
        /// What came.
        bytes: u64,
        /// What was announced.
        expected: u64,
    },
    /// Larger than what is asked for can be.
    #[error("{uri} is larger than {limit} bytes, the most that is read here")]
    TooLarge {
        /// The object.
        uri: Uri,
        /// The limit.
        limit: u64,
    },
    /// More objects than a listing may have.
    #[error("more than {limit} objects below {uri}; name a smaller prefix")]
    TooMany {
        /// The prefix.
        uri: Uri,
        /// The limit.
        limit: usize,
    },
    /// A web server cannot be written to.
    #[error("{uri} is read only; write to file, pvc, s3, gs or az")]
    ReadOnly {
        /// What was to be written.
        uri: Uri,
    },
    /// A relative path that leaves the store.
    #[error("not a path below {uri}")]
    Path {
        /// The store.
        uri: Uri,
        /// What is wrong with it.
        #[source]
        source: UriError,
    },
    /// The settings for this store make no sense.
    #[error("cannot set up access to {uri}; check its settings")]
    Configure {
        /// What was to be opened.
        uri: Uri,
        /// What is wrong.
        #[source]
        source: BoxedError,
    },
    /// A local file to be sent could not be read.
    #[error("cannot read {path:?}")]
    ReadLocal {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// The cause beneath an error, whatever library it came from.
type BoxedError = Box<dyn std::error::Error + Send + Sync>;

impl StoreError {
    /// Sorts what a store said about `uri` into the classes above.
    pub(crate) fn of(uri: &Uri, source: object_store::Error) -> Self {
        use object_store::Error as Said;
        let uri = uri.clone();
        match io_kind(&source) {
            Some(std::io::ErrorKind::PermissionDenied) => {
                return Self::AccessDenied { uri, source: source.into() };
            }
            Some(std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Self::NotFound { uri, source: source.into() };
            }
            _ => {}
        }
        match source {
            Said::NotFound { .. } => Self::NotFound { uri, source: source.into() },
            Said::PermissionDenied { .. } | Said::Unauthenticated { .. } => {
                Self::AccessDenied { uri, source: source.into() }
            }
            Said::UnknownConfigurationKey { .. } | Said::InvalidPath { .. } => {
                Self::Configure { uri, source: source.into() }
            }
            // A refused listing comes without a class of its own.
            _ => match http_status(&source) {
                Some(404) => Self::NotFound { uri, source: source.into() },
                Some(401 | 403) => Self::AccessDenied { uri, source: source.into() },
                _ => Self::Unreachable { uri, source: source.into() },
            },
        }
    }

    /// The HTTP status that a store answered with, where one did.
    pub fn http_status(&self) -> Option<u16> {
        http_status(self)
    }

    /// Whether trying again later, with nothing changed, can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::CutShort { .. } => true,
            Self::NotFound { .. }
            | Self::AccessDenied { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::ReadOnly { .. }
            | Self::Path { .. }
            | Self::Configure { .. }
            | Self::ReadLocal { .. } => false,
        }
    }
}

/// The status that a store answered with. The client keeps the type of this error to itself; its text is part of what
/// the tests against a real server hold it to.
fn http_status(error: &(dyn std::error::Error + 'static)) -> Option<u16> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| {
        let text = error.to_string();
        let status = text.strip_prefix("Server returned non-2xx status code: ")?;
        status.split(' ').next()?.parse().ok()
    })
}

/// The kind of the first input/output error in the chain; local stores report them beneath their own.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<std::io::ErrorKind> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind)
}
