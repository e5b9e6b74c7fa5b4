//! Checks of data sets: a fingerprint that changes with the data, folders that arrive whole.

use std::path::Path;

use bytes::Bytes;

use super::{Checked, must};
use crate::dataset::{DatasetError, FingerprintMode, Listing, resolve, verify_pinned};
use crate::{Digest, FetchError, Store, fetch_tree};

/// The objects of the data set of these checks, and their content digest by
/// `find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum`.
const OBJECTS: [(&str, &str); 3] =
    [("bottle/train/good/000.png", "one"), ("bottle/test/broken/a b.png", "two"), ("meta.json", "{}")];
const CONTENT: &str = "sha256:10c017024d8b017903ee97a5d640f7ac86ac706356e29bd870a32572275ff31c";

pub(super) async fn a_fingerprint_changes_with_the_data_alone(store: &Store, _: &Path) -> Checked {
    let empty = Listing::of(store).await;
    must(matches!(empty, Err(DatasetError::Empty { .. })), "no data must be an error")?;
    fill(store).await?;
    let print = async |mode| Ok::<_, DatasetError>(resolve(store, None, mode).await?.fingerprint);
    let before = print(FingerprintMode::Manifest).await?;
    let content = resolve(store, None, FingerprintMode::Content).await?;
    must(before == print(FingerprintMode::Manifest).await?, "unchanged data must keep its fingerprint")?;
    must(content.fingerprint.to_string() == CONTENT, "a content fingerprint must be that of sha256sum")?;
    must((content.objects, content.bytes) == (3, 8), "a fingerprint must count objects and bytes")?;
    store.create(".DS_Store", Bytes::from_static(b"x")).await?;
    must(before == print(FingerprintMode::Manifest).await?, "hidden files must not count")?;
    store.create("bottle/train/good/001.png", Bytes::from_static(b"one")).await?;
    let after = print(FingerprintMode::Manifest).await?;
    must(before != after, "another object must change the fingerprint")?;
    must(content.fingerprint != print(FingerprintMode::Content).await?, "also the content fingerprint")?;
    store.delete("bottle/train/good/001.png").await?;
    must(content.fingerprint == print(FingerprintMode::Content).await?, "the same content must come back")?;
    store.delete("meta.json").await?;
    store.create("meta.json", Bytes::from_static(b"[]")).await?;
    must(before != print(FingerprintMode::Manifest).await?, "another version must change the fingerprint")?;
    let pinned = resolve(store, Some(content.fingerprint), FingerprintMode::Manifest).await?;
    must(pinned.fingerprint == content.fingerprint, "a pinned data set has the pinned fingerprint")?;
    let verified = verify_pinned(store, content.fingerprint).await;
    must(matches!(verified, Err(DatasetError::OtherContent { .. })), "but reading it must show the truth")
}

pub(super) async fn a_folder_is_fetched_whole(store: &Store, scratch: &Path) -> Checked {
    fill(store).await?;
    let to = scratch.join("data");
    let wrong = fetch_tree(store, Digest::of("else"), &to).await;
    must(matches!(wrong, Err(FetchError::OtherDigest { .. })), "another digest must be refused")?;
    must(std::fs::read_dir(scratch)?.count() == 0, "a refused folder must leave nothing")?;
    let expected: Digest = CONTENT.parse()?;
    let fetched = fetch_tree(store, expected, &to).await?;
    must(fetched.objects == 3, "every object must be fetched")?;
    for (path, content) in OBJECTS {
        must(tokio::fs::read(to.join(path)).await? == content.as_bytes(), "objects must arrive as they are")?;
    }
    store.delete("meta.json").await?;
    must(
        fetch_tree(store, expected, &to).await? == fetched,
        "a folder that is there must be taken as it is",
    )?;
    tokio::fs::write(to.join("meta.json"), "[]").await?;
    let occupied = fetch_tree(store, expected, &to).await;
    must(matches!(occupied, Err(FetchError::Occupied { .. })), "another folder must not be replaced")?;
    let single = store.below("bottle/train/good/000.png")?;
    fetch_tree(&single, Digest::of("one"), &scratch.join("single.png")).await?;
    must(tokio::fs::read(scratch.join("single.png")).await? == b"one", "an object must be fetched as a file")
}

async fn fill(store: &Store) -> Checked {
    for (path, content) in OBJECTS {
        store.create(path, Bytes::from_static(content.as_bytes())).await?;
    }
    Ok(())
}
