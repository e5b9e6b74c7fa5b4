//! Fetching: into a temporary file beside the target, digest verified, then renamed. Under its final name a file is
//! whole or not there.

use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::AsyncWriteExt;

use crate::dataset::{DatasetError, FingerprintMode, Listing};
use crate::manifest::{Manifest, ManifestError};
use crate::uri::UriError;
use crate::{Digest, Entry, Fingerprint, Store, StoreError, StoreOptions, Uri};

/// Objects of one folder fetched at once: hides the latency of small files without crowding out others.
const FETCHES_IN_FLIGHT: usize = 8;

/// Why something was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The store did not give it.
    #[error("cannot fetch {uri}")]
    Store {
        /// What was asked for.
        uri: Uri,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// What came is not what was asked for.
    #[error(
        "{uri} has digest {actual}, not {expected}; give the digest of what is there, or restore what was meant"
    )]
    OtherDigest {
        /// What was asked for.
        uri: Uri,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The local side did not take it.
    #[error("cannot write {path:?}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The local path cannot be named.
    #[error("cannot fetch to {path:?}")]
    Target {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: UriError,
    },
    /// Something else is under the final name.
    #[error("{path:?} is there and is not {uri}; move it away or choose another folder")]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// What should be in it.
        uri: Uri,
    },
    /// What is there, at the store or on this machine, cannot be listed or read.
    #[error("cannot fetch {uri} or compare it with what is here")]
    List {
        /// What was asked for.
        uri: Uri,
        /// Why.
        #[source]
        source: DatasetError,
    },
    /// The manifest names no such file.
    #[error("cannot fetch a part of {uri}")]
    Part {
        /// The artifact.
        uri: Uri,
        /// Which part.
        #[source]
        source: ManifestError,
    },
}

/// Fetches the object at `path` of `store` to the file `to`; folders in between are made. A file that is there already
/// and has the expected digest is taken as it is.
pub async fn fetch_file(
    store: &Store,
    path: &str,
    expected: Option<Digest>,
    to: &Path,
) -> Result<Digest, FetchError> {
    let uri = store.below(path).map_err(|source| FetchError::Store { uri: store.uri().clone(), source })?;
    let uri = uri.uri().clone();
    if let Some(expected) = expected
        && local(to)?.digest("").await.is_ok_and(|(found, _)| found == expected)
    {
        return Ok(expected);
    }
    let write = |source| FetchError::Write { path: to.to_owned(), source };
    let folder = folder_of(to);
    std::fs::create_dir_all(folder).map_err(write)?;
    let temporary = tempfile::Builder::new().prefix(".fetch-").tempfile_in(folder).map_err(write)?;
    let mut file = tokio::fs::File::from_std(temporary.reopen().map_err(write)?);
    let at = |source| FetchError::Store { uri: uri.clone(), source };
    let mut pieces = store.pieces(path, u64::MAX).await.map_err(at)?;
    while let Some(piece) = pieces.next().await.map_err(at)? {
        file.write_all(&piece).await.map_err(write)?;
    }
    let (actual, _) = pieces.finish().map_err(at)?;
    if let Some(expected) = expected
        && actual != expected
    {
        return Err(FetchError::OtherDigest { uri, expected, actual });
    }
    file.flush().await.map_err(write)?;
    file.sync_all().await.map_err(write)?;
    temporary.persist(to).map_err(|error| write(error.error))?;
    sync_folder(folder).await.map_err(write)?;
    Ok(actual)
}

/// Fetches the part called `name` of a published artifact to the file `to`.
pub async fn fetch_part(
    store: &Store,
    manifest: &Manifest,
    name: &str,
    to: &Path,
) -> Result<Digest, FetchError> {
    let part = manifest.part(name).map_err(|source| FetchError::Part { uri: store.uri().clone(), source })?;
    fetch_file(store, &part.path, Some(part.digest), to).await
}

/// Fetches the object or folder that the URI of `store` names to the file or folder `to`, which appears whole or not
/// at all.
///
/// Its content digest (see [`Fingerprint`]) must be the expected one. What is at `to` already and has it is taken as
/// it is; a folder that has another is an error, never replaced.
pub async fn fetch_tree(store: &Store, expected: Digest, to: &Path) -> Result<Fingerprint, FetchError> {
    let uri = store.uri();
    let list = |source| FetchError::List { uri: uri.clone(), source };
    let here = local(to)?;
    if to.exists() {
        let found = content(&here).await.map_err(list)?;
        if found.fingerprint == expected {
            return Ok(found);
        }
        if to.is_dir() {
            return Err(FetchError::Occupied { path: to.to_owned(), uri: uri.clone() });
        }
    }
    let listing = Listing::of(store).await.map_err(list)?;
    if let [Entry { path, .. }] = listing.entries()
        && path.is_empty()
    {
        fetch_file(store, path, Some(expected), to).await?;
        return content(&here).await.map_err(list);
    }
    let write = |source| FetchError::Write { path: to.to_owned(), source };
    let parent = folder_of(to);
    std::fs::create_dir_all(parent).map_err(write)?;
    let scratch = tempfile::Builder::new().prefix("fetch-").tempdir_in(parent).map_err(write)?;
    let whole = scratch.path().join("whole");
    fetch_listing(store, &listing, &whole).await?;
    let found = content(&local(&whole)?).await.map_err(list)?;
    if found.fingerprint != expected {
        let (expected, actual) = (expected, found.fingerprint);
        return Err(FetchError::OtherDigest { uri: uri.clone(), expected, actual });
    }
    std::fs::rename(&whole, to).map_err(write)?;
    sync_folder(parent).await.map_err(write)?;
    Ok(found)
}

/// Fetches the objects of a listing of `store` below the folder `to`, several at once. Each arrives whole or not at all;
/// whether they are what they should be is for the caller's fingerprint to say.
pub async fn fetch_listing(store: &Store, listing: &Listing, to: &Path) -> Result<(), FetchError> {
    stream::iter(listing.entries())
        .map(async |Entry { path, .. }: &Entry| fetch_file(store, path, None, &to.join(path)).await)
        .buffer_unordered(FETCHES_IN_FLIGHT)
        .try_for_each(async |_| Ok(()))
        .await
}

/// A path of this machine as a store.
fn local(path: &Path) -> Result<Store, FetchError> {
    let absolute =
        std::path::absolute(path).map_err(|source| FetchError::Write { path: path.to_owned(), source })?;
    let uri = Uri::from_path(&absolute).map_err(|source| FetchError::Target { path: absolute, source })?;
    Store::open(&uri, &StoreOptions::anonymous()).map_err(|source| FetchError::Store { uri, source })
}

async fn content(store: &Store) -> Result<Fingerprint, DatasetError> {
    Listing::of(store).await?.fingerprint(FingerprintMode::Content).await
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A rename is durable once its folder is.
async fn sync_folder(folder: &Path) -> std::io::Result<()> {
    tokio::fs::File::open(folder).await?.sync_all().await
}
