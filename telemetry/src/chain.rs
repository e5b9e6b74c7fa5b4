//! An error and all its causes in one line; errors themselves never print their source.

use std::error::Error;
use std::fmt;

/// Displays an error, then each cause after a colon.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // A transparent wrapper says its cause's words: once is enough.
            if text != said {
                write!(f, ": {text}")?;
            }
            said = text;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot open {path:?}")]
        Open { path: &'static str, source: std::io::Error },
        #[error(transparent)]
        Through(std::io::Error),
    }

    #[test]
    fn every_cause_is_named_once() {
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let named = Outer::Open { path: "head", source: missing() };
        assert_eq!(Chain(&named).to_string(), r#"cannot open "head": no such file"#);
        let through = Outer::Through(std::io::Error::other(Outer::Open { path: "a", source: missing() }));
        assert_eq!(Chain(&through).to_string(), r#"cannot open "a": no such file"#);
    }
}
