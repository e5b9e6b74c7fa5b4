//! What people are told on standard error: notes, errors, and a progress bar where it is a terminal.

use std::io::Write as _;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Standard error. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    bars: MultiProgress,
    is_quiet: bool,
}

impl Notes {
    /// Over standard error; with `is_quiet`, errors alone are told.
    pub(crate) fn new(is_quiet: bool) -> Self {
        let target = if is_quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self { bars: MultiProgress::with_draw_target(target), is_quiet }
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, text: &str) {
        if !self.is_quiet {
            self.write(text);
        }
    }

    /// Something that went wrong.
    pub(crate) fn error(&self, text: &str) {
        self.write(&format!("error: {text}"));
    }

    /// Runs `print` while no bar is drawn, so that its output and the bar do not mix.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }

    /// A bar of `total` steps; invisible where standard error is no terminal.
    pub(crate) fn bar(&self, total: usize) -> ProgressBar {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta} left {msg}")
            .expect("the template is a constant that indicatif takes");
        self.bars.add(ProgressBar::new(total as u64).with_style(style))
    }

    fn write(&self, text: &str) {
        // Nobody can be told that standard error is gone.
        let _ = self.aside(|| writeln!(std::io::stderr(), "{text}"));
    }
}
