//! URIs: which store, and what in it. Checked once here; no other module looks at their text.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Component, Path};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest URI, as in the `InCTRLModel` schema.
const MAX_CHARS: usize = 2048;

/// What a URI begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// A path of this machine.
    File,
    /// A path of a mounted volume claim.
    Pvc,
    /// S3 and what speaks it.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
    /// A web server, encrypted.
    Https,
    /// A web server, not encrypted; what is fetched is protected by its digest alone.
    Http,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::File, Self::Pvc, Self::S3, Self::Gs, Self::Az, Self::Https, Self::Http];

    /// As it stands before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Pvc => "pvc",
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    /// Whether the store is a web server: one object, read only, cannot be listed.
    pub fn is_web(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A checked URI: `scheme://authority/path`; cheap to clone, small enough to stand in every error.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uri(Arc<Parts>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Parts {
    scheme: Scheme,
    authority: String,
    path: String,
}

/// Why a text is not a URI that we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// No or another scheme.
    #[error("{text:?} does not begin with one of {}", known_schemes())]
    Scheme {
        /// What was given.
        text: String,
    },
    /// No bucket, container, claim or host.
    #[error("{text:?} names no {what} after ://")]
    Authority {
        /// What was given.
        text: String,
        /// What should stand there.
        what: &'static str,
    },
    /// Characters or segments that would name something else than what is read.
    #[error("{text:?} {problem}")]
    Malformed {
        /// What was given.
        text: String,
        /// What is wrong, and what to write instead.
        problem: &'static str,
    },
    /// A host that hands out the machine's own credentials.
    #[error("{text:?} names a link-local address, where clouds keep machine credentials; give a public host")]
    LinkLocal {
        /// What was given.
        text: String,
    },
    /// A path of this machine that is not absolute.
    #[error("path {path:?} cannot be a URI; give an absolute path of readable characters, without `..`")]
    LocalPath {
        /// What was given.
        path: std::path::PathBuf,
    },
}

fn known_schemes() -> String {
    Scheme::ALL.map(|scheme| format!("{scheme}://")).join(", ")
}

impl Uri {
    /// The URI of an absolute path of this machine.
    pub fn from_path(path: &Path) -> Result<Self, UriError> {
        let malformed = || UriError::LocalPath { path: path.to_owned() };
        let plain = path.is_absolute() && path.components().all(|part| part != Component::ParentDir);
        let text = path.to_str().filter(|_| plain).ok_or_else(malformed)?;
        let text = text.trim_matches('/').to_owned();
        if text.chars().any(char::is_control) {
            return Err(malformed());
        }
        Ok(Self::of(Scheme::File, "", &text))
    }

    fn of(scheme: Scheme, authority: &str, path: &str) -> Self {
        Self(Arc::new(Parts { scheme, authority: authority.to_owned(), path: path.to_owned() }))
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }

    /// Bucket, container, claim or host with port; empty for `file`.
    pub fn authority(&self) -> &str {
        &self.0.authority
    }

    /// What follows the authority, without a slash at either end; may be empty.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The URI of something below this one. `below` is a relative path of plain segments.
    pub fn join(&self, below: &str) -> Result<Self, UriError> {
        let path = [self.path(), below].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let path = path.join("/");
        check_path(&path).map_err(|problem| UriError::Malformed { text: below.to_owned(), problem })?;
        Ok(Self::of(self.scheme(), self.authority(), &path))
    }
}

/// Segments must be what they seem: `..` would leave the prefix, an empty one names another object in S3.
fn check_path(path: &str) -> Result<(), &'static str> {
    if path.chars().any(char::is_control) {
        return Err("holds control characters");
    }
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    if path.is_empty() || path.split('/').all(plain) {
        Ok(())
    } else {
        Err("holds an empty, `.` or `..` segment; write the plain path")
    }
}

/// A literal address of the link-local range, or the name that clouds give their metadata server. A number that is no
/// address as people write it is one to a client all the same (`2852039166`, `0xa9fea9fe`), and taken for the worst.
fn is_link_local(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if name == "metadata" || name == "metadata.google.internal" {
        return true;
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && !name.starts_with('[') && name.parse::<Ipv4Addr>().is_err() {
        return true;
    }
    match name.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_unicast_link_local() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_link_local())
        }
        Err(_) => false,
    }
}

/// Host of `host`, `host:port`, `[v6]:port`.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let malformed = |problem| UriError::Malformed { text: text.to_owned(), problem };
        if text.chars().count() > MAX_CHARS {
            return Err(malformed("is longer than 2048 characters"));
        }
        if text.chars().any(char::is_whitespace) {
            return Err(malformed("holds white space; a URI has none"));
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| UriError::Scheme { text: text.to_owned() })?;
        let scheme = Scheme::ALL
            .into_iter()
            .find(|known| known.as_str() == scheme)
            .ok_or_else(|| UriError::Scheme { text: text.to_owned() })?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let what = match scheme {
            Scheme::File => "path: write file:///absolute/path",
            Scheme::Pvc => "volume claim",
            Scheme::S3 | Scheme::Gs => "bucket",
            Scheme::Az => "container",
            Scheme::Https | Scheme::Http => "host",
        };
        if authority.is_empty() != (scheme == Scheme::File) || (scheme == Scheme::File && path.is_empty()) {
            return Err(UriError::Authority { text: text.to_owned(), what });
        }
        if authority.contains('@') {
            return Err(malformed("holds credentials, which would end up in logs; give them in a Secret"));
        }
        if matches!(authority, "." | "..") || authority.contains(['\\', '%', '?', '#']) {
            return Err(malformed("has characters before the path that no bucket, claim or host name holds"));
        }
        if scheme.is_web() && path.contains(['?', '#']) {
            return Err(malformed("has a query; give the plain URL of one object"));
        }
        if scheme.is_web() && !authority.is_ascii() {
            return Err(malformed("has a host of other than ASCII characters; write its xn-- form"));
        }
        if scheme.is_web() && is_link_local(host_of(authority)) {
            return Err(UriError::LinkLocal { text: text.to_owned() });
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        check_path(path).map_err(malformed)?;
        Ok(Self::of(scheme, authority, path))
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { scheme, authority, path } = &*self.0;
        if path.is_empty() && *scheme != Scheme::File {
            return write!(f, "{scheme}://{authority}");
        }
        write!(f, "{scheme}://{authority}/{path}")
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Uri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[rstest::rstest]
    #[case("file:///data/mvtec", Scheme::File, "", "data/mvtec")]
    #[case("pvc://clip/vit-b-16/model.safetensors", Scheme::Pvc, "clip", "vit-b-16/model.safetensors")]
    #[case("s3://bucket", Scheme::S3, "bucket", "")]
    #[case("s3://bucket/a/b/", Scheme::S3, "bucket", "a/b")]
    #[case("gs://bucket/ü%20x", Scheme::Gs, "bucket", "ü%20x")]
    #[case("az://container/a?b#c", Scheme::Az, "container", "a?b#c")]
    #[case("https://models.example:8443/head.tar", Scheme::Https, "models.example:8443", "head.tar")]
    #[case("http://[2001:db8::1]:80/x", Scheme::Http, "[2001:db8::1]:80", "x")]
    fn a_uri_is_scheme_authority_and_path(
        #[case] text: &str,
        #[case] scheme: Scheme,
        #[case] authority: &str,
        #[case] path: &str,
    ) {
        let uri: Uri = text.parse().unwrap();
        assert_eq!((uri.scheme(), uri.authority(), uri.path()), (scheme, authority, path));
        assert_eq!(uri.to_string(), text.strip_suffix('/').unwrap_or(text));
        assert_eq!(uri.to_string().parse(), Ok(uri));
    }

    #[rstest::rstest]
    #[case("ftp://x/y", "does not begin with one of file://")]
    #[case("/data/mvtec", "does not begin with one of")]
    #[case("s3:///key", "names no bucket")]
    #[case("pvc://", "names no volume claim")]
    #[case("file://data/x", "write file:///absolute/path")]
    #[case("file:///", "write file:///absolute/path")]
    #[case("s3://bucket/a//b", "empty, `.` or `..` segment")]
    #[case("file:///data/../etc/shadow", "empty, `.` or `..` segment")]
    #[case("pvc://../x", "no bucket, claim or host name")]
    #[case("s3://bucket/a b", "white space")]
    #[case("https://user:word@host/x", "give them in a Secret")]
    #[case("https://host/x?token=1", "has a query")]
    #[case("http://169.254.169.254/latest/meta-data", "link-local")]
    #[case("http://[::ffff:169.254.169.254]/x", "link-local")]
    #[case("https://[fe80::1]:443/x", "link-local")]
    #[case("http://2852039166/x", "link-local")]
    #[case("http://0xa9.0xfe.0xa9fe:80/x", "link-local")]
    #[case("http://１６９.254.169.254/x", "ASCII")]
    #[case("http://metadata.google.internal./x", "link-local")]
    fn what_cannot_be_used_says_why(#[case] text: &str, #[case] expected: &str) {
        let error = text.parse::<Uri>().unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(text), "{error}");
    }

    #[test]
    fn a_uri_longer_than_the_schema_allows_is_refused() {
        let error = format!("s3://bucket/{}", "a".repeat(MAX_CHARS)).parse::<Uri>().unwrap_err();
        assert!(error.to_string().contains("longer than 2048"), "{error}");
    }

    #[test]
    fn a_local_path_becomes_a_uri_only_when_it_is_absolute_and_plain() {
        assert_eq!(Uri::from_path(Path::new("/tmp/with space/")).unwrap().path(), "tmp/with space");
        for path in ["relative", "/a/../b", "/a\n"] {
            assert!(Uri::from_path(Path::new(path)).is_err(), "{path:?} must be refused");
        }
    }

    #[test]
    fn joining_stays_below() {
        let uri: Uri = "s3://bucket/models".parse().unwrap();
        assert_eq!(uri.join("uid/run").unwrap().to_string(), "s3://bucket/models/uid/run");
        assert_eq!(uri.join("").unwrap(), uri);
        for below in ["../other", "a/../../b", "/abs", "a//b"] {
            assert!(uri.join(below).is_err(), "{below:?} must be refused");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_writes_itself_back(text in "(s3|file|http|pvc)?(://)?\\PC{0,24}") {
            if let Ok(uri) = text.parse::<Uri>() {
                prop_assert_eq!(uri.to_string().parse(), Ok(uri));
            }
        }
    }
}
