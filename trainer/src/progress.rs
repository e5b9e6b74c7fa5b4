//! How far long work has come: a bar on a terminal, a line a tenth elsewhere.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// A Job's log gets this many lines of one piece of work, however long it is.
const LINES: u64 = 10;

/// Progress of one piece of work of known length.
#[derive(Debug)]
pub struct Progress {
    title: String,
    bar: Option<ProgressBar>,
    done: u64,
    total: u64,
}

impl Progress {
    /// Starts at 0 of `total`; draws on the terminal of standard error where there is one.
    pub fn new(title: &str, total: usize) -> Self {
        let total = total as u64;
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg:28!} {wide_bar} {pos}/{len} {per_sec} {eta} left")
                .expect("the template is a constant that indicatif takes");
            ProgressBar::new(total).with_style(style).with_message(title.to_owned())
        });
        Self { title: title.to_owned(), bar, done: 0, total }
    }

    /// `count` more are done.
    pub fn advance(&mut self, count: usize) {
        let before = self.done;
        self.done += count as u64;
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if self.lines(before) < self.lines(self.done) => {
                tracing::info!(work = self.title, done = self.done, total = self.total, "in progress");
            }
            None => {}
        }
    }

    /// Does something that writes to standard error, the bar out of its way.
    pub fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn lines(&self, done: u64) -> u64 {
        (done * LINES).checked_div(self.total).unwrap_or(0)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
