//! The checkpoint of a run that was told to stop: kept beside where its artifact will be, for the pod that comes next.

use std::path::{Path, PathBuf};

use inctrl_storage::{Store, StoreError, fetch_file};

use super::JobError;
use crate::train::checkpoint::CHECKPOINT_NAME;

/// A run's checkpoint in the store of its artifact. A convenience: an artifact never refers to it.
pub(super) struct Remote<'a> {
    store: &'a Store,
    file: PathBuf,
}

impl<'a> Remote<'a> {
    /// Of the run that writes its artifact to `store` and its own checkpoint to the folder `out`.
    pub(super) fn new(store: &'a Store, out: &Path) -> Self {
        Self { store, file: out.join(CHECKPOINT_NAME) }
    }

    /// Brings the checkpoint of an earlier pod here, where there is one.
    pub(super) async fn fetch(&self) -> Result<(), JobError> {
        if self.file.exists() {
            return Ok(());
        }
        match self.store.entry(CHECKPOINT_NAME).await {
            Ok(_) => {}
            Err(StoreError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        fetch_file(self.store, CHECKPOINT_NAME, None, &self.file).await?;
        tracing::info!(checkpoint = %self.store.uri(), "an earlier pod's checkpoint is here");
        Ok(())
    }

    /// Leaves the checkpoint for the next pod, where an epoch is done.
    pub(super) async fn keep(&self) -> Result<(), JobError> {
        if !self.file.exists() {
            return Ok(());
        }
        self.store.upload(CHECKPOINT_NAME, &self.file).await?;
        Ok(())
    }

    /// Takes it away, once there is an artifact. One that stays takes room and does no harm.
    pub(super) async fn discard(&self) {
        if let Err(error) = self.store.delete(CHECKPOINT_NAME).await {
            tracing::warn!(%error, "a checkpoint that is needed no more was left");
        }
    }
}
