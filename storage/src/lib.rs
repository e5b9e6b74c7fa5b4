//! Where things lie and how one knows that they are whole: URIs, stores, digests, artifact manifests, data-set
//! fingerprints; and how a configuration file is read.
//!
//! ```text
//! Uri --open(StoreOptions)--> Store --+-- publish:  parts, then manifest last, nothing overwritten
//!                                     +-- fetch:    temporary file, verify digest, rename
//!                                     +-- dataset:  listing --> Fingerprint
//! ```
//!
//! | scheme | what it names | credentials |
//! |---|---|---|
//! | `file:///dir/x` | a path of this machine | none |
//! | `pvc://claim/x` | a path of a mounted volume claim: `<pvc root>/claim/x` | none |
//! | `s3://bucket/x` | S3 and what speaks it | `AWS_…` settings |
//! | `gs://bucket/x` | Google Cloud Storage | `GOOGLE_…` settings |
//! | `az://container/x` | Azure Blob Storage | `AZURE_…` settings |
//! | `https://host/x` | one object of a web server, pinned by its digest; read only | none |
//!
//! Invariants: an object that exists is never overwritten by [`publish`]; a manifest is written last, so that what
//! has a manifest is whole; nothing is under its final name on disk before its digest was verified; a listing that
//! failed is an error and never an empty listing.

pub mod canonical;
pub mod conformance;
pub mod dataset;
pub mod digest;
pub mod fetch;
pub mod manifest;
pub mod options;
pub mod publish;
pub mod secret;
pub mod settings;
pub mod signature;
pub mod store;
pub mod uri;

pub use dataset::{DatasetError, Fingerprint, FingerprintMode, Listing};
pub use digest::{Digest, StreamingDigest};
pub use fetch::{FetchError, fetch_file, fetch_listing, fetch_part, fetch_tree};
pub use manifest::{Manifest, ManifestError, PartRecord, RunRecord};
pub use options::StoreOptions;
pub use publish::{Part, Publication, PublishError, publish, read_manifest, verify_parts};
pub use secret::{SecretError, settings_of_secret};
pub use settings::SettingsError;
pub use signature::{SignatureError, SigningKey, VerifyingKey};
pub use store::{Entry, Store, StoreError};
pub use uri::{Scheme, Uri, UriError};
