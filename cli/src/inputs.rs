//! From what was typed to a list of files: folders are walked, globs matched, in a stable order, each file once.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

/// Extensions of the formats that a server reads.
pub(crate) const EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "gif"];

/// Why what was typed names no images.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// Nothing of that name.
    #[error("there is no file or folder {path:?}")]
    Missing {
        /// What was typed.
        path: PathBuf,
    },
    /// A folder without images.
    #[error("folder {path:?} has no image below it (looked for {})", EXTENSIONS.join(", "))]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A glob that matches no image.
    #[error("glob {pattern:?} matches no image (looked for {})", EXTENSIONS.join(", "))]
    NoMatch {
        /// The glob.
        pattern: String,
    },
    /// Not a glob.
    #[error("glob {pattern:?} is malformed")]
    Glob {
        /// What was typed.
        pattern: String,
        /// What is wrong with it.
        source: glob::PatternError,
    },
    /// A folder that cannot be read.
    #[error("folder {path:?} cannot be read")]
    Walk {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The images that `typed` names: a file is taken as it is, folders and globs give what looks like an image.
/// Hidden files and everything below `except` are passed over; a link to an image that is gone counts as one, so that it
/// fails by itself.
pub(crate) fn expand(typed: &[PathBuf], except: Option<&Path>) -> Result<Vec<PathBuf>, InputError> {
    let mut found = Found { except: except.and_then(|it| it.canonicalize().ok()), ..Found::default() };
    for path in typed {
        if path.is_dir() {
            let before = found.paths.len();
            let seen_before = found.passed_again;
            found.walk(path)?;
            if found.paths.len() == before && found.passed_again == seen_before {
                return Err(InputError::EmptyFolder { path: path.clone() });
            }
        } else if path.exists() {
            found.take(path.clone());
        } else if let Some(pattern) = path.to_str().filter(|it| it.contains(['*', '?', '['])) {
            found.match_glob(pattern)?;
        } else {
            return Err(InputError::Missing { path: path.clone() });
        }
    }
    Ok(found.paths)
}

/// Whether a name ends as those of images do.
pub(crate) fn looks_like_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|it| it.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|it| EXTENSIONS.contains(&it.as_str()))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

#[derive(Default)]
struct Found {
    paths: Vec<PathBuf>,
    /// Absolute: `a.png` and `./a.png` are one.
    seen: HashSet<PathBuf>,
    passed_again: usize,
    except: Option<PathBuf>,
}

impl Found {
    fn take(&mut self, path: PathBuf) {
        if self.seen.insert(std::path::absolute(&path).unwrap_or_else(|_| path.clone())) {
            self.paths.push(path);
        } else {
            self.passed_again += 1;
        }
    }

    fn walk(&mut self, folder: &Path) -> Result<(), InputError> {
        let except = self.except.clone();
        let is_wanted = |entry: &DirEntry| {
            let is_except =
                except.is_some() && entry.file_type().is_dir() && entry.path().canonicalize().ok() == except;
            let is_hidden = 0 < entry.depth() && is_hidden(entry.file_name());
            !is_hidden && !is_except
        };
        let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name();
        for entry in entries.into_iter().filter_entry(is_wanted) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => self.take_image(entry.path()),
                Ok(_) => {}
                Err(error) => self.pass(&error).ok_or_else(|| InputError::Walk {
                    path: error.path().unwrap_or(folder).to_owned(),
                    source: error.into(),
                })?,
            }
        }
        Ok(())
    }

    /// Goes on after trouble that is one link's alone; none where a folder's content is not known.
    fn pass(&mut self, error: &walkdir::Error) -> Option<()> {
        // A link to a folder above itself: what is there is found without it.
        if error.loop_ancestor().is_some() {
            return Some(());
        }
        let dangling = error.path().filter(|path| path.is_symlink() && !path.exists())?;
        if !dangling.file_name().is_some_and(is_hidden) {
            self.take_image(dangling);
        }
        Some(())
    }

    fn take_image(&mut self, path: &Path) {
        if looks_like_image(path) {
            self.take(path.to_owned());
        }
    }

    fn match_glob(&mut self, pattern: &str) -> Result<(), InputError> {
        let matches =
            glob::glob(pattern).map_err(|source| InputError::Glob { pattern: pattern.to_owned(), source })?;
        let before = (self.paths.len(), self.passed_again);
        for path in matches {
            let path = path
                .map_err(|error| InputError::Walk { path: error.path().to_owned(), source: error.into() })?;
            if path.is_dir() {
                self.walk(&path)?;
            } else {
                self.take_image(&path);
            }
        }
        if (self.paths.len(), self.passed_again) == before {
            return Err(InputError::NoMatch { pattern: pattern.to_owned() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with empty files of these names, made with the folders above them.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, []).unwrap();
        }
        folder
    }

    fn names(folder: &Path, typed: &[&str], except: Option<&str>) -> Result<Vec<String>, String> {
        let typed: Vec<PathBuf> = typed.iter().map(|it| folder.join(it)).collect();
        let except = except.map(|it| folder.join(it));
        let paths = expand(&typed, except.as_deref()).map_err(|error| error.to_string())?;
        let relative = |path: &PathBuf| path.strip_prefix(folder).unwrap().display().to_string();
        Ok(paths.iter().map(relative).collect())
    }

    #[test]
    fn folders_are_walked_in_order_of_names() {
        let folder = folder(&["b/2.JPG", "b/10.png", "a.tif", "b/notes.txt", ".hidden/x.png", "b/.x.png"]);
        let found = names(folder.path(), &["."], None).unwrap();
        assert_eq!(found, ["a.tif", "b/10.png", "b/2.JPG"]);
    }

    #[test]
    fn what_is_typed_twice_is_scored_once() {
        let folder = folder(&["a/1.png", "a/2.png"]);
        assert_eq!(names(folder.path(), &["a/2.png", "a", "a/*.png"], None).unwrap(), ["a/2.png", "a/1.png"]);
    }

    #[test]
    fn a_bad_link_does_not_hide_the_rest_of_its_folder() {
        use std::os::unix::fs::symlink;
        let folder = folder(&["a/1.png", "a/3.png"]);
        let link = |target: &Path, name: &str| symlink(target, folder.path().join("a").join(name)).unwrap();
        link(Path::new("gone"), "2.png");
        link(Path::new("gone"), "notes.txt");
        link(Path::new("gone"), ".4.png");
        link(folder.path(), "loop");
        assert_eq!(names(folder.path(), &["a"], None).unwrap(), ["a/1.png", "a/2.png", "a/3.png"]);
    }

    #[test]
    fn the_folder_of_maps_is_no_input() {
        let folder = folder(&["a/1.png", "a/maps/1.png"]);
        assert_eq!(names(folder.path(), &["a"], Some("a/maps")).unwrap(), ["a/1.png"]);
    }

    #[test]
    fn globs_find_images_and_folders_of_images() {
        let folder = folder(&["x/good/1.png", "x/bad/2.bmp", "x/readme.md"]);
        assert_eq!(names(folder.path(), &["x/*"], None).unwrap(), ["x/bad/2.bmp", "x/good/1.png"]);
    }

    #[test]
    fn a_file_whose_name_looks_like_a_glob_is_taken_as_it_is() {
        let folder = folder(&["part[1].png", "part1.png"]);
        assert_eq!(names(folder.path(), &["part[1].png"], None).unwrap(), ["part[1].png"]);
    }

    #[test]
    fn what_names_no_image_is_said() {
        let folder = folder(&["texts/a.txt"]);
        let refused = |typed: &str| names(folder.path(), &[typed], None).unwrap_err();
        assert!(refused("texts").contains("has no image below it"));
        assert!(refused("texts/*").contains("matches no image"));
        assert!(refused("nowhere.png").contains("there is no file or folder"));
        assert!(refused("texts/***").contains("malformed"));
    }
}
