//! What every store must do for artifacts and data sets to be safe in it: one suite for every scheme.
//!
//! Run it against a store that you mean to use, below a prefix of its own; it writes there, and removes what it wrote.
//! The whole of this crate is exercised as it is used, so a store that passes serves.

use std::path::Path;

use bytes::Bytes;
use futures::future::join_all;

use crate::store::Creation;
use crate::{Digest, Store, StoreError};

mod artifact;
mod data;

/// Writers that race for one object.
const RACERS: usize = 8;

/// An object that goes up in more than one part and comes down in many pieces.
const LARGE_BYTES: usize = 20 * 1024 * 1024;

/// What a store did that it must not do.
#[derive(Debug, thiserror::Error)]
#[error("check {check:?}: {violated}")]
pub struct Violation {
    /// The check.
    check: &'static str,
    /// The rule.
    violated: String,
    /// What the store said, where that was the violation.
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What a check gives.
type Checked = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Runs every check below the URI of `store`, which must be empty; local files go below `scratch`. Answers the names
/// of the checks.
pub async fn check(store: &Store, scratch: &Path) -> Result<Vec<&'static str>, Violation> {
    let mut passed = Vec::new();
    macro_rules! run {
        ($($module:ident::$check:ident),* $(,)?) => {$(
            let name = stringify!($check);
            let own = store.below(name).map_err(|error| violation(name, error.into()))?;
            let folder = scratch.join(name);
            let result: Checked = async {
                tokio::fs::create_dir_all(&folder).await?;
                $module::$check(&own, &folder).await?;
                remove_all(&own).await
            }
            .await;
            result.map_err(|error| violation(name, error))?;
            passed.push(name);
        )*};
    }
    run!(
        objects::an_object_reads_back_whole,
        objects::an_object_that_is_there_is_never_replaced,
        objects::of_racing_writers_one_wins,
        objects::a_listing_is_complete_and_sorted,
        objects::what_is_not_there_is_not_found,
        objects::a_large_file_goes_up_and_comes_down,
        artifact::an_artifact_is_published_once,
        artifact::leftovers_of_a_dead_run_are_left_alone,
        artifact::a_damaged_part_is_noticed,
        artifact::a_wrong_digest_leaves_nothing,
        data::a_fingerprint_changes_with_the_data_alone,
        data::a_folder_is_fetched_whole,
    );
    Ok(passed)
}

fn violation(check: &'static str, error: Box<dyn std::error::Error + Send + Sync>) -> Violation {
    match error.downcast::<Broken>() {
        Ok(broken) => Violation { check, violated: broken.0, source: None },
        Err(source) => Violation { check, violated: "a call failed".to_owned(), source: Some(source) },
    }
}

/// A rule that was broken.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

/// Fails with the rule unless it holds.
fn must(holds: bool, rule: impl Into<String>) -> Checked {
    if holds { Ok(()) } else { Err(Broken(rule.into()).into()) }
}

async fn remove_all(store: &Store) -> Checked {
    for entry in store.list(1000).await? {
        store.delete(&entry.path).await?;
    }
    must(store.list(1000).await?.is_empty(), "what was deleted must be gone")
}

/// Bytes that no two calls with different seeds share and that do not compress away.
fn noise(seed: u8, length: usize) -> Bytes {
    let mut state = u64::from(seed) + 1;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    bytes.take(length).collect()
}

mod objects {
    use super::{
        Bytes, Checked, Creation, Digest, LARGE_BYTES, Path, RACERS, Store, StoreError, join_all, must, noise,
    };

    pub(super) async fn an_object_reads_back_whole(store: &Store, _: &Path) -> Checked {
        for (name, length) in [("empty", 0), ("one", 1), ("some", 300_000)] {
            let bytes = noise(7, length);
            must(store.create(name, bytes.clone()).await? == Creation::Created, "a free place must be free")?;
            must(store.read(name, 1 << 20).await? == bytes, "an object must read back as written")?;
            let expected = (Digest::of(&bytes), length as u64);
            must(store.digest(name).await? == expected, "an object's digest must be that of its bytes")?;
            must(store.entry(name).await?.bytes == length as u64, "an entry must have the object's size")?;
        }
        let read = store.read("some", 1000).await;
        must(matches!(read, Err(StoreError::TooLarge { .. })), "a read must stop at its limit")
    }

    pub(super) async fn an_object_that_is_there_is_never_replaced(store: &Store, _: &Path) -> Checked {
        store.create("x", Bytes::from_static(b"first")).await?;
        let second = store.create("x", Bytes::from_static(b"second")).await?;
        must(second == Creation::Exists, "creating over an object must be refused")?;
        must(store.read("x", 100).await? == "first", "a refused creation must leave the object as it was")?;
        store.delete("x").await?;
        store.delete("x").await?;
        let again = store.create("x", Bytes::from_static(b"third")).await?;
        must(again == Creation::Created, "a deleted object's place must be free")
    }

    pub(super) async fn of_racing_writers_one_wins(store: &Store, _: &Path) -> Checked {
        let writers = (0..RACERS).map(|n| store.create("contested", noise(n as u8, 50_000)));
        let outcomes = join_all(writers).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let winners: Vec<_> = (0..RACERS).filter(|&n| outcomes[n] == Creation::Created).collect();
        must(winners.len() == 1, format!("one of {RACERS} writers must win, not {}", winners.len()))?;
        let left = store.read("contested", 1 << 20).await?;
        must(left == noise(winners[0] as u8, 50_000), "the winner's bytes must be what is there")
    }

    pub(super) async fn a_listing_is_complete_and_sorted(store: &Store, _: &Path) -> Checked {
        let mut names =
            vec!["b/with space.png", "b/ä.png", "a-b", "a/b", "a", "b/a+b=c&d.png", "b/x%20y.png"];
        // A file system cannot have a file and a folder of one name.
        names.retain(|name| *name != "a");
        for name in &names {
            store.create(name, Bytes::copy_from_slice(name.as_bytes())).await?;
        }
        names.sort_unstable();
        let listed = store.list(100).await?;
        let paths: Vec<_> = listed.iter().map(|entry| entry.path.as_str()).collect();
        must(paths == names, format!("a listing must be complete and sorted: {paths:?}"))?;
        let sizes = listed.iter().all(|entry| entry.bytes == entry.path.len() as u64);
        must(sizes, "a listing must have the sizes")?;
        for name in &names {
            must(
                store.read(name, 100).await? == name.as_bytes(),
                "what is listed must be readable by its path",
            )?;
        }
        must(store.list(2).await.is_err(), "a listing must stop at its limit")?;
        let sub = store.below("b")?.list(100).await?;
        must(
            sub.len() == 4 && sub.iter().all(|entry| !entry.path.starts_with("b/")),
            "paths must be relative",
        )?;
        let single = store.below("a-b")?.list(100).await?;
        must(single.len() == 1 && single[0].path.is_empty(), "a URI that names an object must list it")
    }

    pub(super) async fn what_is_not_there_is_not_found(store: &Store, _: &Path) -> Checked {
        let not_found = |error| matches!(error, StoreError::NotFound { .. });
        must(store.read("none", 10).await.is_err_and(not_found), "reading nothing must be NotFound")?;
        must(store.entry("none").await.is_err_and(not_found), "asking for nothing must be NotFound")?;
        must(store.digest("a/none").await.is_err_and(not_found), "hashing nothing must be NotFound")?;
        must(store.list(10).await?.is_empty(), "an empty prefix must list as empty")
    }

    pub(super) async fn a_large_file_goes_up_and_comes_down(store: &Store, scratch: &Path) -> Checked {
        let bytes = noise(3, LARGE_BYTES);
        let file = scratch.join("large");
        tokio::fs::write(&file, &bytes).await?;
        let expected = (Digest::of(&bytes), LARGE_BYTES as u64);
        must(store.upload("large", &file).await? == expected, "an upload must tell what it sent")?;
        must(store.digest("large").await? == expected, "an uploaded file must be what was sent")?;
        let copy = scratch.join("copy");
        crate::fetch_file(store, "large", Some(expected.0), &copy).await?;
        must(tokio::fs::read(&copy).await? == bytes, "a fetched file must be what is in the store")
    }
}
