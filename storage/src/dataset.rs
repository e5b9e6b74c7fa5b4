//! Data sets as the store has them: a listing, and a fingerprint that changes when the data does.
//!
//! The operator asks whether the data changed; the trainer records what it read. Both ask here, so that they agree.
//! Whatever goes wrong is an error: a data set that cannot be listed has no fingerprint, rather than a new one.

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError};
use crate::{Digest, Entry, Store, StoreError, StreamingDigest, Uri};

/// Most objects of a data set: ImageNet-21k has 14 million, MVTec AD 5,354.
const MAX_OBJECTS: usize = 20_000_000;

/// Objects read at once for a [`FingerprintMode::Content`] fingerprint: enough to hide a store's latency.
const READS_IN_FLIGHT: usize = 16;

/// What of the objects a fingerprint sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum FingerprintMode {
    /// Paths, sizes and the store's own versions: one listing, nothing read. A copy has another fingerprint.
    #[default]
    Manifest,
    /// Paths and bytes: everything is read. A copy has the same fingerprint.
    Content,
}

/// What a data set is, in one digest.
///
/// With [`FingerprintMode::Content`] the digest is that of `sha256sum`'s output over all objects sorted by path:
/// `find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum` (what [`Listing::of`] passes
/// over aside). For a URI that names one object it is the digest of that object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fingerprint {
    /// The digest.
    pub fingerprint: Digest,
    /// What of the objects it covers.
    pub mode: FingerprintMode,
    /// Number of objects.
    pub objects: u64,
    /// Their size together.
    pub bytes: u64,
}

/// The objects of a data set, sorted by path; never empty.
#[derive(Debug, Clone)]
pub struct Listing {
    store: Store,
    entries: Vec<Entry>,
}

/// Why a data set has no listing or fingerprint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The store said no, or nothing.
    #[error("cannot list data set {uri}")]
    List {
        /// The data set.
        uri: Uri,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// Nothing below the URI.
    #[error("data set {uri} is empty; check the prefix, and that the volume is mounted")]
    Empty {
        /// The data set.
        uri: Uri,
    },
    /// An object could not be read whole.
    #[error("cannot read an object of data set {uri}")]
    Read {
        /// The data set.
        uri: Uri,
        /// Which, and why.
        #[source]
        source: StoreError,
    },
    /// The data is not what was pinned.
    #[error(
        "data set {uri} has content digest {actual}, but {pinned} is pinned; pin what it holds, or restore it"
    )]
    OtherContent {
        /// The data set.
        uri: Uri,
        /// As pinned.
        pinned: Digest,
        /// As found.
        actual: Digest,
    },
    /// The listing has no canonical form.
    #[error("cannot hash the listing of data set {uri}")]
    Hash {
        /// The data set.
        uri: Uri,
        /// Why.
        #[source]
        source: CanonicalError,
    },
}

impl Listing {
    /// Lists a data set. Names that begin with a dot, in any folder, and `lost+found` are no part of it: file
    /// managers and file systems put them there.
    pub async fn of(store: &Store) -> Result<Self, DatasetError> {
        let uri = store.uri();
        let list = |source| DatasetError::List { uri: uri.clone(), source };
        let mut found = store.list(MAX_OBJECTS).await.map_err(list)?;
        found.retain(|entry| {
            !entry.path.split('/').any(|segment| segment.starts_with('.') || segment == "lost+found")
        });
        let entries = without_folder_marks(&found);
        if entries.is_empty() {
            return Err(DatasetError::Empty { uri: uri.clone() });
        }
        Ok(Self { store: store.clone(), entries })
    }

    /// The objects, sorted by path.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The fingerprint of what was listed; with [`FingerprintMode::Content`] every object is read.
    pub async fn fingerprint(&self, mode: FingerprintMode) -> Result<Fingerprint, DatasetError> {
        let fingerprint = match mode {
            FingerprintMode::Manifest => self.manifest_digest()?,
            FingerprintMode::Content => self.content_digest().await?,
        };
        let bytes = self.entries.iter().map(|entry| entry.bytes).sum();
        Ok(Fingerprint { fingerprint, mode, objects: self.entries.len() as u64, bytes })
    }

    fn manifest_digest(&self) -> Result<Digest, DatasetError> {
        let mut digest = StreamingDigest::default();
        for Entry { path, bytes, version } in &self.entries {
            let line = canonical::to_vec(&(path, bytes, version))
                .map_err(|source| DatasetError::Hash { uri: self.store.uri().clone(), source })?;
            digest.update(line);
            digest.update(b"\n");
        }
        Ok(digest.finish().0)
    }

    async fn content_digest(&self) -> Result<Digest, DatasetError> {
        let read = |source| DatasetError::Read { uri: self.store.uri().clone(), source };
        if let [Entry { path, .. }] = self.entries.as_slice()
            && path.is_empty()
        {
            return self.store.digest(path).await.map(|(digest, _)| digest).map_err(read);
        }
        // Owned on purpose: futures of borrowing closures cannot be shown to move between threads.
        let reads = self.entries.iter().map(|entry| sum_line(self.store.clone(), entry.path.clone()));
        let mut lines = stream::iter(reads.collect::<Vec<_>>()).buffered(READS_IN_FLIGHT);
        let mut whole = StreamingDigest::default();
        while let Some(line) = lines.try_next().await? {
            whole.update(line);
        }
        Ok(whole.finish().0)
    }
}

/// One object's line of `sha256sum`'s output.
async fn sum_line(store: Store, path: String) -> Result<String, DatasetError> {
    let read = |source| DatasetError::Read { uri: store.uri().clone(), source };
    let (digest, _) = store.digest(&path).await.map_err(read)?;
    Ok(format!("{}  {path}\n", digest.hex()))
}

/// Some tools put an empty object where other stores have a folder; it is no data.
fn without_folder_marks(entries: &[Entry]) -> Vec<Entry> {
    let has_below = |path: &str| {
        let folder = format!("{path}/");
        let next = entries.partition_point(|entry| entry.path < folder);
        entries.get(next).is_some_and(|entry| entry.path.starts_with(&folder))
    };
    let is_mark = |entry: &Entry| entry.bytes == 0 && !entry.path.is_empty() && has_below(&entry.path);
    entries.iter().filter(|entry| !is_mark(entry)).cloned().collect()
}

/// The fingerprint of the data set in `store`: what is pinned where something is pinned, else what is found there.
///
/// A pinned data set is taken at its word (it must be there and not empty); [`verify_pinned`] reads it.
pub async fn resolve(
    store: &Store,
    pinned: Option<Digest>,
    mode: FingerprintMode,
) -> Result<Fingerprint, DatasetError> {
    let listing = Listing::of(store).await?;
    match pinned {
        None => listing.fingerprint(mode).await,
        Some(fingerprint) => {
            let found = listing.fingerprint(FingerprintMode::Manifest).await?;
            Ok(Fingerprint { fingerprint, mode: FingerprintMode::Content, ..found })
        }
    }
}

/// Reads all of a data set and fails unless its content is what was pinned.
pub async fn verify_pinned(store: &Store, pinned: Digest) -> Result<Fingerprint, DatasetError> {
    let found = Listing::of(store).await?.fingerprint(FingerprintMode::Content).await?;
    if found.fingerprint == pinned {
        Ok(found)
    } else {
        Err(DatasetError::OtherContent { uri: store.uri().clone(), pinned, actual: found.fingerprint })
    }
}
