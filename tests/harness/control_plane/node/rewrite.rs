//! Paths of a container, found below its root folder.

use std::path::Path;

/// Rewrites a container's paths in texts.
#[derive(Debug, Clone)]
pub(super) struct Rewrite {
    root: String,
    /// Absolute paths that the container has; longest first.
    paths: Vec<String>,
    /// Folders above them: rewritten only where a text names exactly that folder.
    above: Vec<String>,
}

impl Rewrite {
    pub(super) fn new(root: &Path, paths: impl IntoIterator<Item = String>) -> Self {
        let mut paths: Vec<_> = paths.into_iter().collect();
        paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
        let ancestors = paths.iter().flat_map(|path| Path::new(path).ancestors().skip(1));
        let above = ancestors.filter(|path| path.parent().is_some());
        let above = above.map(|path| path.display().to_string()).collect();
        Self { root: root.display().to_string(), paths, above }
    }

    /// The text with every path of the container below its root folder.
    pub(super) fn text(&self, text: &str) -> String {
        let mut rewritten = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('/') {
            let (before, from) = rest.split_at(at);
            rewritten.push_str(before);
            let begins = !rewritten.ends_with(is_of_name);
            let matches = |path: &&String, whole: bool| {
                from.strip_prefix(path.as_str())
                    .is_some_and(|after| !(after.starts_with(is_of_name) || whole && after.starts_with('/')))
            };
            let found = self.paths.iter().find(|path| matches(path, false));
            let found = found.or_else(|| self.above.iter().find(|path| matches(path, true)));
            let length = match found.filter(|_| begins) {
                Some(path) => {
                    rewritten.push_str(&self.root);
                    path.len()
                }
                None => 1,
            };
            let (taken, after) = from.split_at(length);
            rewritten.push_str(taken);
            rest = after;
        }
        rewritten.push_str(rest);
        rewritten
    }
}

/// Whether a character can go on a file's name, so that `/data` is not found in `/database`.
fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_container_are_found_below_its_root_and_others_left() {
        let paths = ["/etc/inctrl", "/mnt/pvc/data", "/dev/termination-log"].map(str::to_owned);
        let rewrite = Rewrite::new(Path::new("/r"), paths);
        for (text, expected) in [
            ("--config=/etc/inctrl/job.yaml", "--config=/r/etc/inctrl/job.yaml"),
            ("file:///mnt/pvc/data/x", "file:///r/mnt/pvc/data/x"),
            ("/mnt/pvc", "/r/mnt/pvc"),
            ("/etc/ssl/certs:/etc/inctrl", "/etc/ssl/certs:/r/etc/inctrl"),
            ("/mnt/pvc/database /x/etc/inctrl", "/mnt/pvc/database /x/etc/inctrl"),
            ("a: /dev/termination-log\n", "a: /r/dev/termination-log\n"),
            ("/", "/"),
        ] {
            assert_eq!(rewrite.text(text), expected);
        }
    }
}
