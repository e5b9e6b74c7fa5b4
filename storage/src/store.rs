//! A store: everything below one URI, with the few calls that the rest of this crate is made of.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, WriteMultipart};
use tokio::io::AsyncReadExt;

use crate::digest::StreamingDigest;
use crate::{Digest, Scheme, StoreOptions, Uri};

mod error;
mod open;

pub use error::StoreError;
pub(crate) use open::is_known_setting;

/// Part of a multi-part upload: S3 wants at least 5 MiB a part and at most 10,000 parts, so objects may have 78 GiB.
const UPLOAD_PART_BYTES: usize = 8 * 1024 * 1024;

/// Parts of one upload in flight at once; with [`UPLOAD_PART_BYTES`] it bounds memory to 32 MiB.
const UPLOAD_PARTS_IN_FLIGHT: usize = 4;

/// Everything below one URI.
#[derive(Debug, Clone)]
pub struct Store {
    uri: Uri,
    root: Path,
    inner: Arc<dyn ObjectStore>,
    /// Where the URI's own path lies on this machine, for stores that are folders of it.
    local: Option<PathBuf>,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path below the store's URI; empty where the URI names the object itself.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// What the store calls this version of the object: its entity tag, else its time of change.
    pub version: String,
}

/// Whether a creation found the place free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// The object is now there, with the bytes given.
    Created,
    /// Something was there already; it is as it was.
    Exists,
}

impl Store {
    /// Opens what `uri` names. Asks nothing of the store yet.
    pub fn open(uri: &Uri, options: &StoreOptions) -> Result<Self, StoreError> {
        let (inner, root) = open::open(uri, options)?;
        let local = match uri.scheme() {
            Scheme::File => Some(FilePath::new("/").join(uri.path())),
            Scheme::Pvc => Some(options.pvc_root.join(uri.authority()).join(uri.path())),
            Scheme::S3 | Scheme::Gs | Scheme::Az | Scheme::Https | Scheme::Http => None,
        };
        Ok(Self { uri: uri.clone(), root, inner, local })
    }

    /// A store over any implementation, for those that have no URI scheme here. `uri` stands in messages and records.
    pub fn over(uri: Uri, inner: Arc<dyn ObjectStore>) -> Result<Self, StoreError> {
        let root = Path::parse(uri.path())
            .map_err(|source| StoreError::Configure { uri: uri.clone(), source: source.into() })?;
        Ok(Self { uri, root, inner, local: None })
    }

    /// The URI it was opened with.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The store below `path`.
    pub fn below(&self, path: &str) -> Result<Self, StoreError> {
        let local = self.local.as_ref();
        let local = local.map(|whole| if path.is_empty() { whole.clone() } else { whole.join(path) });
        Ok(Self {
            uri: self.uri_of(path)?,
            root: self.location(path)?,
            inner: Arc::clone(&self.inner),
            local,
        })
    }

    /// The file or folder of this machine that the URI names, where it names one: what is there need not be fetched.
    pub fn local_path(&self) -> Option<&FilePath> {
        self.local.as_deref()
    }

    /// All objects, sorted by path. The object that the URI itself names comes with an empty path; nothing there at
    /// all is an empty list. A store that cannot list, or stops in the middle, is an error.
    ///
    /// More than `limit` objects are [`StoreError::TooMany`].
    pub async fn list(&self, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let prefix = self.root.clone();
        let at = |source| StoreError::of(&self.uri, source);
        if self.uri.scheme().is_web() {
            return Ok(vec![self.entry("").await?]);
        }
        let mut found = self.inner.list(Some(&prefix));
        let mut entries = Vec::new();
        while let Some(meta) = found.next().await {
            entries.push(self.to_entry(meta.map_err(at)?));
            if entries.len() > limit {
                return Err(StoreError::TooMany { uri: self.uri.clone(), limit });
            }
        }
        if entries.is_empty() && !self.root.is_root() {
            match self.entry("").await {
                Ok(entry) => entries.push(entry),
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// Size and version of one object.
    pub async fn entry(&self, path: &str) -> Result<Entry, StoreError> {
        let uri = self.uri_of(path)?;
        let meta = self.inner.head(&self.location(path)?).await;
        meta.map(|meta| self.to_entry(meta)).map_err(|source| StoreError::of(&uri, source))
    }

    /// A small object, whole. One larger than `limit` bytes is [`StoreError::TooLarge`].
    pub async fn read(&self, path: &str, limit: u64) -> Result<Bytes, StoreError> {
        let mut whole = BytesMut::new();
        let mut pieces = self.pieces(path, limit).await?;
        while let Some(piece) = pieces.next().await? {
            whole.extend_from_slice(&piece);
        }
        pieces.finish()?;
        Ok(whole.freeze())
    }

    /// Digest and size of an object, in constant memory.
    pub async fn digest(&self, path: &str) -> Result<(Digest, u64), StoreError> {
        let mut pieces = self.pieces(path, u64::MAX).await?;
        while pieces.next().await?.is_some() {}
        pieces.finish()
    }

    /// An object piece by piece. One larger than `limit` bytes is [`StoreError::TooLarge`].
    pub(crate) async fn pieces(&self, path: &str, limit: u64) -> Result<Pieces, StoreError> {
        let uri = self.uri_of(path)?;
        let found = self.inner.get(&self.location(path)?).await;
        let found = found.map_err(|source| StoreError::of(&uri, source))?;
        let expected = found.meta.size;
        if expected > limit {
            return Err(StoreError::TooLarge { uri, limit });
        }
        Ok(Pieces { uri, limit, expected, stream: found.into_stream(), digest: StreamingDigest::default() })
    }

    /// Writes an object only where there is none.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<Creation, StoreError> {
        let uri = self.writable(path)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.inner.put_opts(&self.location(path)?, bytes.into(), options).await {
            Ok(_) => Ok(Creation::Created),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Creation::Exists)
            }
            Err(source) => Err(StoreError::of(&uri, source)),
        }
    }

    /// Uploads a file in parts, in bounded memory. Replaces an object of this path: use a path that names the
    /// content. An upload that fails leaves nothing under the path.
    pub async fn upload(&self, path: &str, file: &FilePath) -> Result<(Digest, u64), StoreError> {
        let uri = self.writable(path)?;
        let local = |source| StoreError::ReadLocal { path: file.to_owned(), source };
        let at = |source| StoreError::of(&uri, source);
        let mut reader = tokio::fs::File::open(file).await.map_err(local)?;
        let upload = self.inner.put_multipart(&self.location(path)?).await.map_err(at)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, UPLOAD_PART_BYTES);
        let mut digest = StreamingDigest::default();
        let sent: Result<(), StoreError> = async {
            loop {
                let mut piece = BytesMut::with_capacity(UPLOAD_PART_BYTES);
                while piece.len() < UPLOAD_PART_BYTES && reader.read_buf(&mut piece).await.map_err(local)? > 0
                {
                }
                if piece.is_empty() {
                    return Ok(());
                }
                digest.update(&piece);
                upload.wait_for_capacity(UPLOAD_PARTS_IN_FLIGHT).await.map_err(at)?;
                upload.put(piece.freeze());
            }
        }
        .await;
        if let Err(error) = sent {
            // What was sent is invisible until completion; the store's own clean-up takes what this leaves.
            drop(upload.abort().await);
            return Err(error);
        }
        upload.finish().await.map_err(at)?;
        Ok(digest.finish())
    }

    /// Removes an object; one that is not there is no error.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        let uri = self.writable(path)?;
        match self.inner.delete(&self.location(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(StoreError::of(&uri, source)),
        }
    }

    fn uri_of(&self, path: &str) -> Result<Uri, StoreError> {
        self.uri.join(path).map_err(|source| StoreError::Path { uri: self.uri.clone(), source })
    }

    fn writable(&self, path: &str) -> Result<Uri, StoreError> {
        let uri = self.uri_of(path)?;
        if uri.scheme().is_web() { Err(StoreError::ReadOnly { uri }) } else { Ok(uri) }
    }

    fn location(&self, path: &str) -> Result<Path, StoreError> {
        let joined =
            [self.root.as_ref(), path].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        Path::parse(joined.join("/"))
            .map_err(|source| StoreError::Configure { uri: self.uri.clone(), source: source.into() })
    }

    fn to_entry(&self, meta: ObjectMeta) -> Entry {
        let ObjectMeta { location, last_modified, size, e_tag, version: _ } = meta;
        let whole = location.as_ref();
        let path = whole.strip_prefix(self.root.as_ref()).unwrap_or(whole).trim_start_matches('/').to_owned();
        let version = e_tag.unwrap_or_else(|| last_modified.to_rfc3339());
        Entry { path, bytes: size, version }
    }
}

/// An object on its way in, counted and hashed.
pub(crate) struct Pieces {
    uri: Uri,
    limit: u64,
    expected: u64,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    digest: StreamingDigest,
}

impl Pieces {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let piece = self.stream.try_next().await.map_err(|source| StoreError::of(&self.uri, source))?;
        if let Some(piece) = &piece {
            self.digest.update(piece);
            if self.digest.bytes() > self.limit {
                return Err(StoreError::TooLarge { uri: self.uri.clone(), limit: self.limit });
            }
        }
        Ok(piece)
    }

    /// Digest and size, once there is no more.
    pub(crate) fn finish(self) -> Result<(Digest, u64), StoreError> {
        let Self { uri, limit: _, expected, stream: _, digest } = self;
        let bytes = digest.bytes();
        if bytes != expected {
            return Err(StoreError::CutShort { uri, bytes, expected });
        }
        Ok(digest.finish())
    }
}
