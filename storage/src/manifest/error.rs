//! Why a manifest cannot be used.

use crate::Digest;
use crate::canonical::CanonicalError;
use crate::signature::SignatureError;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not JSON at all.
    #[error("manifest is not JSON")]
    NotJson {
        /// Where it stops being JSON.
        #[source]
        source: serde_json::Error,
    },
    /// JSON of another kind, or of a later version.
    #[error("manifest has schema {schema:?}, this program reads {:?}", super::SCHEMA)]
    OtherSchema {
        /// Its schema.
        schema: String,
    },
    /// A field is missing or of another type.
    #[error("manifest does not have the fields of its schema")]
    Malformed {
        /// Which field.
        #[source]
        source: serde_json::Error,
    },
    /// A name that means no file of the artifact's folder.
    #[error("manifest names part {name:?} at {path:?}, which is no plain path below its folder")]
    PartPath {
        /// The part.
        name: String,
        /// Its path.
        path: String,
    },
    /// Two parts of one name.
    #[error("manifest names part {name:?} twice")]
    PartTwice {
        /// The part.
        name: String,
    },
    /// A file that is spoken of but not listed.
    #[error("manifest lists no part {name:?}, its {what}")]
    MissingPart {
        /// What it should be.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The revision is not the head's digest.
    #[error("manifest is of revision {revision}, but its head has digest {head}")]
    OtherRevision {
        /// As written.
        revision: Digest,
        /// Of the head's part.
        head: Digest,
    },
    /// A figure that is none.
    #[error("manifest has {value} for {field:?}; a figure must be finite")]
    NotFinite {
        /// Which figure.
        field: String,
        /// Its value.
        value: f64,
    },
    /// A key is configured, but the manifest bears no signature.
    #[error("manifest is not signed, but a verification key is configured")]
    Unsigned,
    /// The signature does not hold.
    #[error("manifest signature does not hold")]
    Signature {
        /// Why.
        #[from]
        source: SignatureError,
    },
    /// It has no canonical form.
    #[error("manifest has no canonical form")]
    Canonical {
        /// Why.
        #[from]
        source: CanonicalError,
    },
}
