//! How to reach stores: credentials and endpoints, where volume claims are mounted, how long to try.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the operator's Jobs and the chart mount volume claims.
pub const DEFAULT_PVC_ROOT: &str = "/mnt/inctrl/pvc";

/// Largest file of a mounted Secret that can be a setting: keys and tokens are far smaller.
const MAX_SETTING_BYTES: u64 = 64 * 1024;

/// How to reach stores.
///
/// `settings` are named as the clouds' own tools name their environment variables (`AWS_ACCESS_KEY_ID`,
/// `AWS_ENDPOINT_URL`, `GOOGLE_SERVICE_ACCOUNT_KEY`, `AZURE_STORAGE_ACCOUNT_NAME`, …), in any case; those that a
/// store does not know are passed over, so that a whole environment or Secret can be given.
#[derive(Clone)]
pub struct StoreOptions {
    /// Credentials, endpoints, regions.
    pub settings: BTreeMap<String, String>,
    /// Folder under which `pvc://claim/…` is found as `claim/…`.
    pub pvc_root: PathBuf,
    /// How long one call may try again before it is an error.
    pub retry_timeout: Duration,
}

impl StoreOptions {
    /// Options without credentials, for `file://`, `pvc://` and public objects.
    pub fn anonymous() -> Self {
        Self {
            settings: BTreeMap::new(),
            pvc_root: DEFAULT_PVC_ROOT.into(),
            retry_timeout: Duration::from_mins(1),
        }
    }

    /// Adds settings; later ones win. Give it the environment once, where a program reads its configuration.
    #[must_use]
    pub fn with_settings(mut self, settings: impl IntoIterator<Item = (String, String)>) -> Self {
        self.settings.extend(settings.into_iter().map(|(key, value)| (key.to_ascii_lowercase(), value)));
        self
    }

    /// Adds the files of a mounted Secret: file name is the setting, content (without a last line break) its value.
    ///
    /// Fails when the folder or one of its files cannot be read as text.
    pub fn with_secret_folder(self, folder: &Path) -> std::io::Result<Self> {
        let mut settings = BTreeMap::new();
        for file in std::fs::read_dir(folder)? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            // A mounted Secret keeps its versions in folders named `..…` and links the keys to them.
            let metadata = std::fs::metadata(file.path())?;
            if !metadata.is_file() || name.starts_with('.') || metadata.len() > MAX_SETTING_BYTES {
                continue;
            }
            let value = std::fs::read_to_string(file.path())?;
            settings.insert(name, value.trim_end_matches(['\r', '\n']).to_owned());
        }
        Ok(self.with_settings(settings))
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { settings, pvc_root, retry_timeout } = self;
        // Values are secrets: names only.
        f.debug_struct("StoreOptions")
            .field("settings", &settings.keys())
            .field("pvc_root", pvc_root)
            .field("retry_timeout", retry_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_secret_becomes_settings_and_stays_out_of_debug_output() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("..2026_11_24")).unwrap();
        std::fs::write(folder.path().join("..2026_11_24/AWS_SECRET_ACCESS_KEY"), "very-secret\n").unwrap();
        std::os::unix::fs::symlink(
            "..2026_11_24/AWS_SECRET_ACCESS_KEY",
            folder.path().join("AWS_SECRET_ACCESS_KEY"),
        )
        .unwrap();
        let options = StoreOptions::anonymous().with_secret_folder(folder.path()).unwrap();
        assert_eq!(options.settings["aws_secret_access_key"], "very-secret");
        assert_eq!(options.settings.len(), 1);
        assert!(!format!("{options:?}").contains("very-secret"));
    }

    #[test]
    fn a_later_setting_wins_whatever_its_case() {
        let options = StoreOptions::anonymous()
            .with_settings([("AWS_REGION".to_owned(), "old".to_owned())])
            .with_settings([("aws_region".to_owned(), "new".to_owned())]);
        assert_eq!(options.settings["aws_region"], "new");
    }
}
