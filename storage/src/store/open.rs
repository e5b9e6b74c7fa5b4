//! From a URI to a client of its store; the only place that knows the five client libraries.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use super::StoreError;
use crate::uri::Scheme;
use crate::{StoreOptions, Uri};

/// A connection is there within this time, or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Silence that ends a call: no byte for this long. Whole calls have [`CALL_TIMEOUT`], since objects may be large.
const SILENCE_TIMEOUT: Duration = Duration::from_mins(1);

/// Longest single call: 1 GiB in ten minutes is 1.8 MB/s, slower than any store that training could use.
const CALL_TIMEOUT: Duration = Duration::from_mins(10);

/// Tries of one call beyond the first, within [`StoreOptions::retry_timeout`].
const MAX_RETRIES: usize = 6;

/// A client and the path of the URI in it.
pub(super) fn open(uri: &Uri, options: &StoreOptions) -> Result<(Arc<dyn ObjectStore>, Path), StoreError> {
    let configure =
        |source: object_store::Error| StoreError::Configure { uri: uri.clone(), source: source.into() };
    let path = |text: &str| Path::parse(text).map_err(|source| configure(source.into()));
    let client = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(SILENCE_TIMEOUT)
        .with_timeout(CALL_TIMEOUT);
    let retry = RetryConfig {
        max_retries: MAX_RETRIES,
        retry_timeout: options.retry_timeout,
        ..RetryConfig::default()
    };
    let opened: (Arc<dyn ObjectStore>, Path) = match uri.scheme() {
        Scheme::File => (Arc::new(local()), path(uri.path())?),
        Scheme::Pvc => {
            let folder = options.pvc_root.join(uri.authority()).join(uri.path());
            let folder = std::path::absolute(&folder).unwrap_or(folder);
            let root = Path::from_absolute_path(folder).map_err(|source| configure(source.into()))?;
            (Arc::new(local()), root)
        }
        Scheme::S3 => {
            let builder = AmazonS3Builder::new().with_client_options(client).with_retry(retry);
            let builder = known::<AmazonS3ConfigKey>(options, "aws_")
                .fold(builder, |builder, (key, value)| builder.with_config(key, value))
                .with_bucket_name(uri.authority())
                .with_conditional_put(S3ConditionalPut::ETagMatch);
            (Arc::new(builder.build().map_err(configure)?), path(uri.path())?)
        }
        Scheme::Gs => {
            let builder = GoogleCloudStorageBuilder::new().with_client_options(client).with_retry(retry);
            let builder = known::<GoogleConfigKey>(options, "google_")
                .fold(builder, |builder, (key, value)| builder.with_config(key, value))
                .with_bucket_name(uri.authority());
            (Arc::new(builder.build().map_err(configure)?), path(uri.path())?)
        }
        Scheme::Az => {
            let builder = MicrosoftAzureBuilder::new().with_client_options(client).with_retry(retry);
            let builder = known::<AzureConfigKey>(options, "azure_")
                .fold(builder, |builder, (key, value)| builder.with_config(key, value))
                .with_container_name(uri.authority());
            (Arc::new(builder.build().map_err(configure)?), path(uri.path())?)
        }
        Scheme::Https | Scheme::Http => {
            let client = client.with_allow_http(uri.scheme() == Scheme::Http);
            let base = format!("{}://{}", uri.scheme(), uri.authority());
            let builder = HttpBuilder::new().with_url(base).with_client_options(client).with_retry(retry);
            let root = Path::from_url_path(uri.path()).map_err(|source| configure(source.into()))?;
            (Arc::new(builder.build().map_err(configure)?), root)
        }
    };
    Ok(opened)
}

/// Whether the client of a scheme's store acts on a setting of this lower-case name.
pub(crate) fn is_known_setting(scheme: Scheme, key: &str) -> bool {
    match scheme {
        Scheme::S3 => key.parse::<AmazonS3ConfigKey>().is_ok(),
        Scheme::Gs => key.parse::<GoogleConfigKey>().is_ok(),
        Scheme::Az => key.parse::<AzureConfigKey>().is_ok(),
        Scheme::File | Scheme::Pvc | Scheme::Https | Scheme::Http => false,
    }
}

/// Files are durable once written: contents and folders are synced.
fn local() -> LocalFileSystem {
    LocalFileSystem::new().with_fsync(true)
}

/// The settings of one cloud, under its client's own names for them. Clients know short names too (`endpoint`,
/// `timeout`), which in an environment mean something else: only names with the cloud's prefix count.
fn known<'a, K: FromStr>(
    options: &'a StoreOptions,
    prefix: &'a str,
) -> impl Iterator<Item = (K, &'a String)> + use<'a, K> {
    let of_cloud = options.settings.iter().filter(move |(key, _)| key.starts_with(prefix));
    of_cloud.filter_map(|(key, value)| Some((key.parse().ok()?, value)))
}
