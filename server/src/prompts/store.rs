//! Prompt sets on disk: what `create` has answered survives whatever comes after.
//!
//! One file a prompt set, written beside its name, synced, renamed, the folder synced. The index in memory is read
//! from the headers at the start; images are read when their features are needed.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tempfile::NamedTempFile;

use super::content;
use super::file::Header;
use crate::failure::{Failure, Resource};
use crate::ids::ResourceId;
use crate::request::PromptImages;

mod error;
mod found;

pub(crate) use error::StoreError;
use found::{header_or_set_aside, id_of, is_unfinished, read_header};

/// Folder of the prompt sets within the state folder.
const FOLDER: &str = "prompt-sets";
/// Held locked by the server that uses a state folder.
const LOCK: &str = "lock";
const EXTENSION: &str = "promptset";
/// What a damaged prompt set's extension becomes.
const DAMAGED: &str = "promptset.damaged";
/// Begins the names of files that are being written.
const UNFINISHED: &str = ".tmp";

/// What is known of a stored prompt set without reading its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PromptSetInfo {
    pub(crate) id: ResourceId,
    pub(crate) object_class: String,
    pub(crate) shots: usize,
    pub(crate) digest: String,
    pub(crate) created: Timestamp,
}

/// Prompt sets of one state folder.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    index: Mutex<BTreeMap<ResourceId, Arc<PromptSetInfo>>>,
    /// Locked until this is dropped.
    _lock: File,
}

impl PromptSetInfo {
    fn new(id: ResourceId, header: &Header) -> Self {
        let (object_class, digest) = (header.object_class.clone(), header.content_digest.clone());
        Self { id, object_class, shots: header.shots(), digest, created: header.create_time }
    }

    pub(crate) fn name(&self) -> String {
        name(&self.id)
    }

    /// Differs whenever content or creation differ.
    pub(crate) fn etag(&self) -> String {
        let digest = self.digest.trim_start_matches("sha256:");
        format!("{}-{:x}", digest.get(..16).unwrap_or(digest), self.created.as_microsecond())
    }
}

/// Name of a prompt set in the API.
pub(crate) fn name(id: &ResourceId) -> String {
    format!("promptSets/{id}")
}

pub(crate) fn not_found(id: &ResourceId) -> Failure {
    let hint = "create it, or ask ListPromptSets for those there are";
    Failure::NotFound { resource: Resource::PromptSet, name: name(id), hint }
}

impl Store {
    /// Opens or makes a state folder, and takes it for this process. Leftovers of writes that were cut off are
    /// removed, a prompt set that is damaged is set aside; files of others stay.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be used, or a prompt set of it not be read though nothing shows that it is damaged:
    /// without it the server would answer that there is none.
    pub(crate) fn open(state: &Path) -> Result<Self, StoreError> {
        let failed = |step| move |source| StoreError::Folder { path: state.to_owned(), step, source };
        let folder = state.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(failed("making it"))?;
        let lock = File::create(state.join(LOCK)).map_err(failed("writing to it"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::InUse { path: state.to_owned() },
            TryLockError::Error(source) => {
                StoreError::Folder { path: state.to_owned(), step: "locking it", source }
            }
        })?;
        // Whether new files can be written is told now, not by the first create.
        NamedTempFile::new_in(&folder).map_err(failed("writing to it"))?;
        let mut index = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).map_err(failed("listing it"))? {
            let path = entry.map_err(failed("listing it"))?.path();
            match id_of(&path) {
                Some(id) => {
                    if let Some(header) = header_or_set_aside(&path)? {
                        index.insert(id.clone(), Arc::new(PromptSetInfo::new(id, &header)));
                    }
                }
                None if is_unfinished(&path) => {
                    let _ = std::fs::remove_file(path);
                }
                None => tracing::debug!(path = %path.display(), "a file of somebody else"),
            }
        }
        tracing::info!(prompt_sets = index.len(), folder = %folder.display(), "state folder opened");
        Ok(Self { folder, index: Mutex::new(index), _lock: lock })
    }

    /// Keeps a prompt set; it is on disk when this returns. The same id with the same content answers with what is
    /// kept already.
    pub(crate) fn create(
        &self,
        id: &ResourceId,
        content: &PromptImages,
        digest: &str,
    ) -> Result<Arc<PromptSetInfo>, Failure> {
        let failed = |source| StoreError::Write { name: name(id), source };
        if let Some(kept) = same_or_conflict(&self.index(), id, digest)? {
            return Ok(kept);
        }
        let header = Header::new(content, digest.to_owned(), Timestamp::now());
        let written = self.write_beside(&header, content).map_err(failed)?;
        let info = Arc::new(PromptSetInfo::new(id.clone(), &header));
        // Only renaming is done under the lock; another caller may have been faster.
        let mut index = self.index();
        if let Some(kept) = same_or_conflict(&index, id, digest)? {
            return Ok(kept);
        }
        written.persist(self.path(id)).map_err(|error| failed(error.error))?;
        index.insert(id.clone(), Arc::clone(&info));
        drop(index);
        if let Err(error) = sync_folder(&self.folder) {
            self.take_back(&info);
            return Err(failed(error).into());
        }
        Ok(info)
    }

    /// Removes what was created a moment ago and may not last, unless another has come in its place.
    fn take_back(&self, created: &Arc<PromptSetInfo>) {
        let mut index = self.index();
        if index.get(&created.id).is_some_and(|kept| Arc::ptr_eq(kept, created)) {
            match std::fs::remove_file(self.path(&created.id)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::error!(name = created.name(), %error, "a prompt set that may not last stays");
                }
                _ => drop(index.remove(&created.id)),
            }
        }
    }

    /// What is kept under the id with that content; fails where it is another.
    pub(crate) fn kept(&self, id: &ResourceId, digest: &str) -> Result<Option<Arc<PromptSetInfo>>, Failure> {
        same_or_conflict(&self.index(), id, digest)
    }

    pub(crate) fn get(&self, id: &ResourceId) -> Result<Arc<PromptSetInfo>, Failure> {
        self.index().get(id).cloned().ok_or_else(|| not_found(id))
    }

    /// Up to `most` prompt sets in order of their ids, after `after`; and whether more follow.
    pub(crate) fn list(&self, after: Option<&ResourceId>, most: usize) -> (Vec<Arc<PromptSetInfo>>, bool) {
        let index = self.index();
        let mut rest = index.iter().filter(|&(id, _)| after.is_none_or(|after| after < id));
        let page = rest.by_ref().take(most).map(|(_, info)| Arc::clone(info)).collect();
        (page, rest.next().is_some())
    }

    /// Removes a prompt set; where an etag is given it must be the current one.
    pub(crate) fn delete(&self, id: &ResourceId, etag: Option<&str>) -> Result<(), Failure> {
        let failed = |source| StoreError::Delete { name: name(id), source };
        let mut index = self.index();
        let info = index.get(id).ok_or_else(|| not_found(id))?;
        if let Some(given) = etag
            && given != info.etag()
        {
            return Err(Failure::StaleEtag { name: name(id), current: info.etag(), given: given.to_owned() });
        }
        match std::fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error).into()),
            _ => index.remove(id),
        };
        drop(index);
        sync_folder(&self.folder).map_err(failed)?;
        Ok(())
    }

    /// Reads the images of a prompt set and checks them against its digest.
    pub(crate) fn read(&self, info: &PromptSetInfo) -> Result<PromptImages, StoreError> {
        let damaged = |source| StoreError::Damaged { name: info.name(), source };
        let (header, mut file) = read_header(&self.path(&info.id)).map_err(|error| damaged(error.into()))?;
        let content = header.read_content(&mut file).map_err(damaged)?;
        let found = content::digest(&content);
        if found != info.digest {
            let said = format!("its content has the digest {found}, not {}", info.digest);
            return Err(damaged(io::Error::new(io::ErrorKind::InvalidData, said)));
        }
        Ok(content)
    }

    /// Writes a synced file without a name; dropping it removes it.
    fn write_beside(&self, header: &Header, content: &PromptImages) -> io::Result<NamedTempFile> {
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.folder)?;
        let mut writer = BufWriter::new(file.as_file_mut());
        header.write(content, &mut writer)?;
        writer.flush()?;
        drop(writer);
        file.as_file().sync_all()?;
        Ok(file)
    }

    pub(super) fn path(&self, id: &ResourceId) -> PathBuf {
        self.folder.join(format!("{id}.{EXTENSION}"))
    }

    fn index(&self) -> MutexGuard<'_, BTreeMap<ResourceId, Arc<PromptSetInfo>>> {
        // Every change of the index is one call: it is whole whatever panicked.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept under the id, where it is the same.
fn same_or_conflict(
    index: &BTreeMap<ResourceId, Arc<PromptSetInfo>>,
    id: &ResourceId,
    digest: &str,
) -> Result<Option<Arc<PromptSetInfo>>, Failure> {
    match index.get(id) {
        None => Ok(None),
        Some(kept) if kept.digest == digest => Ok(Some(Arc::clone(kept))),
        Some(kept) => Err(Failure::AlreadyExists { name: name(id), digest: kept.digest.clone() }),
    }
}

/// Makes renames and removals last.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::request::ImageInput;

    fn id(text: &str) -> ResourceId {
        ResourceId::parse(text).unwrap()
    }

    fn content(image: &'static [u8]) -> PromptImages {
        PromptImages {
            object_class: "nut".to_owned(),
            images: vec![ImageInput::Encoded(Bytes::from_static(image))],
        }
    }

    fn create(store: &Store, name: &str, image: &'static [u8]) -> Result<Arc<PromptSetInfo>, Failure> {
        let content = content(image);
        store.create(&id(name), &content, &content::digest(&content))
    }

    #[test]
    fn what_was_created_is_there_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        let created = create(&store, "nut", b"one").unwrap();
        assert_eq!(
            create(&store, "nut", b"one").unwrap(),
            created,
            "the same content is the same prompt set"
        );
        drop(store);
        // A write that was cut off.
        std::fs::write(state.path().join(FOLDER).join(".tmpAbCdEf"), "half").unwrap();
        let store = Store::open(state.path()).unwrap();
        assert_eq!(store.get(&id("nut")).unwrap(), created);
        assert_eq!(store.read(&created).unwrap().images, content(b"one").images);
        let names: Vec<_> =
            std::fs::read_dir(state.path().join(FOLDER)).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names, ["nut.promptset"], "nothing half-written may stay");
    }

    #[test]
    fn other_content_under_the_same_id_is_refused_and_a_new_etag_follows_a_new_creation() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        let first = create(&store, "nut", b"one").unwrap();
        assert!(matches!(create(&store, "nut", b"two"), Err(Failure::AlreadyExists { .. })));
        let stale = store.delete(&id("nut"), Some("other"));
        assert!(matches!(stale, Err(Failure::StaleEtag { .. })), "{stale:?}");
        store.delete(&id("nut"), Some(&first.etag())).unwrap();
        assert!(matches!(store.get(&id("nut")), Err(Failure::NotFound { .. })));
        let second = create(&store, "nut", b"two").unwrap();
        assert_ne!(first.etag(), second.etag());
    }

    #[test]
    fn pages_follow_each_other_without_gaps() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        for name in ["c", "a", "e", "b", "d"] {
            create(&store, name, b"one").unwrap();
        }
        let ids = |page: &[Arc<PromptSetInfo>]| page.iter().map(|it| it.id.to_string()).collect::<String>();
        let (first, more) = store.list(None, 2);
        assert_eq!((ids(&first).as_str(), more), ("ab", true));
        let (last, more) = store.list(Some(&id("b")), 3);
        assert_eq!((ids(&last).as_str(), more), ("cde", false));
    }

    #[test]
    fn damage_on_disk_is_noticed_and_told() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        let created = create(&store, "nut", b"one").unwrap();
        let path = store.path(&id("nut"));
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = store.read(&created).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        drop(store);
        std::fs::write(&path, &bytes[..10]).unwrap();
        let store = Store::open(state.path()).unwrap();
        assert!(store.get(&id("nut")).is_err(), "half of a header is no prompt set");
        create(&store, "nut", b"one").unwrap();
        let aside = std::fs::read(state.path().join(FOLDER).join("nut.promptset.damaged")).unwrap();
        assert_eq!(aside, &bytes[..10], "it must be there to be looked at");
    }

    #[test]
    fn a_prompt_set_that_cannot_be_read_stops_the_start_and_stays() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        create(&store, "nut", b"one").unwrap();
        let path = store.path(&id("nut"));
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        let version = br#"{"version":"#;
        let place = whole.windows(version.len()).position(|bytes| bytes == version).unwrap() + version.len();
        let mut newer = whole.clone();
        newer[place] += 1;
        std::fs::write(&path, &newer).unwrap();
        let error = Store::open(state.path()).unwrap_err();
        assert!(matches!(error, StoreError::OtherVersion { version: 2, .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), newer);
        // Opening a folder as a file passes, reading it fails: nothing shows that the prompt set is damaged.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = Store::open(state.path()).unwrap_err();
        assert!(matches!(error, StoreError::Read { .. }) && error.to_string().contains("nut"), "{error}");
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, whole).unwrap();
        Store::open(state.path()).unwrap().get(&id("nut")).unwrap();
    }

    #[test]
    fn what_was_set_aside_before_is_kept() {
        let state = tempfile::tempdir().unwrap();
        for damage in ["first", "second", "third"] {
            let store = Store::open(state.path()).unwrap();
            create(&store, "nut", b"one").unwrap();
            std::fs::write(store.path(&id("nut")), damage).unwrap();
            drop(store);
            drop(Store::open(state.path()).unwrap());
        }
        let kept = |name: &str| std::fs::read_to_string(state.path().join(FOLDER).join(name)).unwrap();
        assert_eq!(kept("nut.promptset.damaged"), "first");
        assert_eq!(kept("nut.promptset.damaged.2"), "second");
        assert_eq!(kept("nut.promptset.damaged.3"), "third");
    }

    #[test]
    fn what_may_not_last_is_taken_back_unless_another_has_come_in_its_place() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        let first = create(&store, "nut", b"one").unwrap();
        store.delete(&id("nut"), None).unwrap();
        let second = create(&store, "nut", b"two").unwrap();
        store.take_back(&first);
        assert_eq!(store.get(&id("nut")).unwrap(), second);
        store.take_back(&second);
        assert!(matches!(store.get(&id("nut")), Err(Failure::NotFound { .. })));
        assert!(!store.path(&id("nut")).exists());
    }

    #[test]
    fn files_of_others_stay_where_they_are() {
        let state = tempfile::tempdir().unwrap();
        drop(Store::open(state.path()).unwrap());
        let names = ["notes.txt", "Nut.promptset", "nut.promptset.damaged"];
        for name in names {
            std::fs::write(state.path().join(FOLDER).join(name), "of somebody else").unwrap();
        }
        let store = Store::open(state.path()).unwrap();
        assert_eq!(store.list(None, 9).0, []);
        for name in names {
            assert!(state.path().join(FOLDER).join(name).exists(), "{name} must stay");
        }
    }

    #[test]
    fn a_state_folder_serves_one_server_at_a_time() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        assert!(matches!(Store::open(state.path()), Err(StoreError::InUse { .. })));
        drop(store);
        Store::open(state.path()).unwrap();
    }

    #[test]
    fn a_state_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Store::open(&file.path().join("state")).unwrap_err().to_string();
        assert!(error.contains("--state-dir") && error.contains(file.path().to_str().unwrap()), "{error}");
    }
}
