//! Store settings from a Secret whose author may name stores, but not this machine's files, metadata servers or
//! credentials: a fixed list of names, and nothing that the client would make up for what is missing.

use std::collections::BTreeMap;

use crate::store::is_known_setting;
use crate::uri::UriError;
use crate::{Scheme, Uri};

/// Why a Secret gives no access to a store. Values are never told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// A setting that could make us read our own files or ask others for our own credentials.
    #[error("{name} is not taken from a Secret; of such names these are: {}", allowed.join(", ").to_uppercase())]
    Setting {
        /// As the clouds' tools write it.
        name: String,
        /// What may be there.
        allowed: &'static [&'static str],
    },
    /// An endpoint that no data set's URI could name either.
    #[error("{name} {problem}")]
    Endpoint {
        /// Which setting.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A part of a host name that would make it another host.
    #[error("{name} may hold letters, digits and hyphens only")]
    Word {
        /// Which setting.
        name: String,
    },
    /// The client would use this machine's own credentials.
    #[error("it holds no credentials; give {wanted}")]
    Credentials {
        /// What would do.
        wanted: &'static str,
    },
}

/// What a Secret may say of one cloud.
struct Rules {
    prefix: &'static str,
    allowed: &'static [&'static str],
    /// Of these, the ones that name hosts.
    endpoints: &'static [&'static str],
    /// The ones that become part of a host's name.
    words: &'static [&'static str],
    /// Settings that together are credentials, or spare them; the last is the one that spares them.
    credentials: &'static [&'static [&'static str]],
    unsigned: &'static str,
    wanted: &'static str,
}

const AWS: Rules = Rules {
    prefix: "aws_",
    allowed: &[
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "aws_token",
        "aws_region",
        "aws_default_region",
        "aws_endpoint_url",
        "aws_endpoint",
        "aws_endpoint_url_s3",
        "aws_allow_http",
        "aws_virtual_hosted_style_request",
        "aws_request_payer",
        "aws_server_side_encryption",
        "aws_sse_kms_key_id",
        "aws_skip_signature",
    ],
    endpoints: &["aws_endpoint_url", "aws_endpoint", "aws_endpoint_url_s3"],
    words: &["aws_region", "aws_default_region"],
    credentials: &[&["aws_access_key_id", "aws_secret_access_key"]],
    unsigned: "aws_skip_signature",
    wanted: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket",
};

const GOOGLE: Rules = Rules {
    prefix: "google_",
    allowed: &[
        "google_service_account_key",
        "google_bearer_token",
        "google_base_url",
        "google_allow_http",
        "google_skip_signature",
    ],
    endpoints: &["google_base_url"],
    words: &[],
    credentials: &[&["google_service_account_key"], &["google_bearer_token"]],
    unsigned: "google_skip_signature",
    wanted: "GOOGLE_SERVICE_ACCOUNT_KEY (the key itself, not its path), or GOOGLE_SKIP_SIGNATURE=true for a public bucket",
};

const AZURE: Rules = Rules {
    prefix: "azure_",
    allowed: &[
        "azure_storage_account_name",
        "azure_storage_account_key",
        "azure_storage_access_key",
        "azure_storage_sas_key",
        "azure_storage_sas_token",
        "azure_storage_token",
        "azure_client_id",
        "azure_client_secret",
        "azure_tenant_id",
        "azure_storage_endpoint",
        "azure_endpoint",
        "azure_allow_http",
        "azure_skip_signature",
    ],
    endpoints: &["azure_storage_endpoint", "azure_endpoint"],
    words: &["azure_storage_account_name", "azure_tenant_id"],
    credentials: &[
        &["azure_storage_account_key"],
        &["azure_storage_access_key"],
        &["azure_storage_sas_key"],
        &["azure_storage_sas_token"],
        &["azure_storage_token"],
        &["azure_client_id", "azure_client_secret", "azure_tenant_id"],
    ],
    unsigned: "azure_skip_signature",
    wanted: "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_SKIP_SIGNATURE=true for a public container",
};

/// The settings that a Secret gives for the store of `uri`, by lower-case name. They stand alone: what a Secret lacks is
/// not filled up with this machine's credentials. Names that the store's client does not know are passed over.
pub fn settings_of_secret(
    uri: &Uri,
    secret: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, SecretError> {
    let rules = match uri.scheme() {
        Scheme::S3 => &AWS,
        Scheme::Gs => &GOOGLE,
        Scheme::Az => &AZURE,
        // These have no credentials.
        Scheme::File | Scheme::Pvc | Scheme::Https | Scheme::Http => return Ok(BTreeMap::new()),
    };
    let mut settings = BTreeMap::new();
    for (name, value) in secret {
        let key = name.to_ascii_lowercase();
        let has = |names: &[&str]| names.contains(&key.as_str());
        if has(rules.allowed) {
            if has(rules.endpoints) {
                check_endpoint(name, value)?;
            }
            if has(rules.words) && !is_word(value) {
                return Err(SecretError::Word { name: name.clone() });
            }
            if key == "google_service_account_key" {
                check_google_key(name, value)?;
            }
            settings.insert(key, value.clone());
        } else if key.starts_with(rules.prefix) && is_known_setting(uri.scheme(), &key) {
            return Err(SecretError::Setting { name: name.clone(), allowed: rules.allowed });
        }
    }
    let is_there = |name: &&str| settings.contains_key(*name);
    let signs = rules.credentials.iter().any(|together| together.iter().all(is_there));
    let unsigned = settings.get(rules.unsigned).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if signs || unsigned { Ok(settings) } else { Err(SecretError::Credentials { wanted: rules.wanted }) }
}

/// Holds an endpoint to what every URI is held to. What is wrong is told without the value.
fn check_endpoint(name: &str, text: &str) -> Result<(), SecretError> {
    let problem = match text.parse::<Uri>() {
        Ok(uri) if uri.scheme().is_web() => return Ok(()),
        Ok(_) | Err(UriError::Scheme { .. } | UriError::Authority { .. } | UriError::LocalPath { .. }) => {
            "is no endpoint; write https://host or http://host"
        }
        Err(UriError::Malformed { problem, .. }) => problem,
        Err(UriError::LinkLocal { .. }) => {
            "names a link-local address, where clouds keep machine credentials; give the store's host"
        }
    };
    Err(SecretError::Endpoint { name: name.to_owned(), problem })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A key of Google's may name an endpoint of its own. One that is no JSON is refused by the client.
fn check_google_key(name: &str, key: &str) -> Result<(), SecretError> {
    let key: serde_json::Value = serde_json::from_str(key).unwrap_or_default();
    let Some(endpoint) = key.get("gcs_base_url").and_then(serde_json::Value::as_str) else { return Ok(()) };
    check_endpoint(&format!("gcs_base_url of {name}"), endpoint)
}

#[cfg(test)]
mod tests;
