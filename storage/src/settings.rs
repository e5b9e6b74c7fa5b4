//! Configuration files of the programs: YAML, every key optional, unknown keys refused by name.
//!
//! A program's settings are one plain type; what its values mean is checked where they become its configuration.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

mod unknown;

pub use unknown::UnknownKey;

use unknown::unknown_keys;

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It cannot be read.
    #[error("cannot read configuration file {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no YAML, or a value has the wrong type.
    #[error("configuration file {path:?} cannot be understood")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_yaml::Error,
    },
    /// It has keys that mean nothing here.
    #[error("configuration file {path:?} has {}", join(keys))]
    UnknownKeys {
        /// The file.
        path: PathBuf,
        /// All of them.
        keys: Vec<UnknownKey>,
    },
}

fn join(keys: &[UnknownKey]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Reads a configuration file. `complete` holds every key there is: optional parts are there, lists hold one item.
pub fn read<T>(path: &Path, complete: &T) -> Result<T, SettingsError>
where
    T: Serialize + DeserializeOwned + Default,
{
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    parse(&text, path, complete)
}

/// The same from memory; `path` is for messages. An empty document means the defaults.
pub fn parse<T>(text: &str, path: &Path, complete: &T) -> Result<T, SettingsError>
where
    T: Serialize + DeserializeOwned + Default,
{
    let malformed = |source| SettingsError::Malformed { path: path.to_owned(), source };
    let document: serde_yaml::Value = serde_yaml::from_str(text).map_err(malformed)?;
    if document.is_null() {
        return Ok(T::default());
    }
    let known = serde_yaml::to_value(complete).map_err(malformed)?;
    let keys = unknown_keys(&document, &known);
    if !keys.is_empty() {
        return Err(SettingsError::UnknownKeys { path: path.to_owned(), keys });
    }
    // Read again from the text: errors then tell line and column.
    serde_yaml::from_str(text).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Kitchen {
        temperature: u32,
        shelves: Vec<Shelf>,
        oven: Option<Shelf>,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Shelf {
        height: u32,
    }

    fn read(text: &str) -> Result<Kitchen, SettingsError> {
        let complete =
            Kitchen { shelves: vec![Shelf::default()], oven: Some(Shelf::default()), ..Kitchen::default() };
        parse(text, Path::new("kitchen.yaml"), &complete)
    }

    #[test]
    fn what_is_named_is_set_and_the_rest_is_left() {
        let read_back = read("temperature: 7\nshelves: [{height: 2}, {}]").unwrap();
        let shelves = vec![Shelf { height: 2 }, Shelf::default()];
        assert_eq!(read_back, Kitchen { temperature: 7, shelves, oven: None });
        assert_eq!(read("# nothing\n").unwrap(), Kitchen::default());
    }

    #[test]
    fn unknown_keys_are_named_at_every_depth_with_the_nearest_known_one() {
        let refused =
            read("temprature: 7\noven: {hight: 1}\nshelves: [{}, {heigth: 1}]\nzzz: 1").unwrap_err();
        let said = refused.to_string();
        for part in [
            r#"unknown key "temprature" (did you mean "temperature"?)"#,
            r#"unknown key "oven.hight" (did you mean "oven.height"?)"#,
            r#"unknown key "shelves[1].heigth" (did you mean "shelves[1].height"?)"#,
            r#"unknown key "zzz""#,
            "kitchen.yaml",
        ] {
            assert!(said.contains(part), "{said} must hold {part}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_located() {
        let refused = read("shelves: []\ntemperature: warm\n").unwrap_err();
        let source = std::error::Error::source(&refused).unwrap().to_string();
        assert!(source.contains("line 2"), "{source}");
    }
}
