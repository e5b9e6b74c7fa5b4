//! How many images had which outcome: shown in the bar, summed up at the end, and behind the exit code.

use std::collections::BTreeSet;
use std::time::Duration;

use indicatif::ProgressBar;

use super::ScoreRow;
use crate::output::short;

/// Counts of outcomes.
#[derive(Debug)]
pub(crate) struct Tally {
    total: usize,
    pub(crate) scored: usize,
    pub(crate) failed: usize,
    pub(crate) anomalous: usize,
    /// Scored, but with no decision.
    pub(crate) undecided: usize,
    /// Who answered: more than one where a new revision came while images were scored.
    answered_by: BTreeSet<String>,
    bar: ProgressBar,
}

impl Tally {
    pub(crate) fn new(total: usize, bar: ProgressBar) -> Self {
        let answered_by = BTreeSet::new();
        Self { total, scored: 0, failed: 0, anomalous: 0, undecided: 0, answered_by, bar }
    }

    pub(crate) fn add(&mut self, row: &ScoreRow) {
        self.scored += usize::from(row.score.is_some());
        self.failed += usize::from(row.error.is_some());
        self.anomalous += usize::from(row.decision == Some("anomalous"));
        self.undecided +=
            usize::from(row.score.is_some() && matches!(row.decision, None | Some("uncalibrated")));
        if let (Some(model), Some(revision)) = (&row.model, &row.revision) {
            self.answered_by.insert(format!("{model} {}", short(revision)));
        }
        self.bar.inc(1);
        if 0 < self.failed + self.anomalous {
            self.bar.set_message(format!("{} anomalous, {} failed", self.anomalous, self.failed));
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// One line for people.
    pub(crate) fn summary(&self, took: Duration) -> String {
        let Self { total, scored, failed, anomalous, undecided, answered_by, bar: _ } = self;
        let seconds = took.as_secs_f64();
        let mut parts = vec![format!("scored {scored} of {total} images in {seconds:.1} s")];
        if 0.0 < seconds && 1 < *scored {
            parts.push(format!("{:.1} a second", *scored as f64 / seconds));
        }
        if scored > undecided {
            parts.push(format!("{anomalous} anomalous"));
        }
        if 0 < *failed {
            parts.push(format!("{failed} failed"));
        }
        if !answered_by.is_empty() {
            let names: Vec<&str> = answered_by.iter().map(String::as_str).collect();
            parts.push(format!("by {}", names.join(" and ")));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(decision: &'static str, revision: &str) -> ScoreRow {
        ScoreRow {
            score: Some(0.5),
            decision: Some(decision),
            model: Some("models/nut".to_owned()),
            revision: Some(revision.to_owned()),
            ..ScoreRow::default()
        }
    }

    #[test]
    fn the_summary_names_every_revision_that_answered() {
        let mut tally = Tally::new(4, ProgressBar::hidden());
        tally.add(&row("normal", "sha256:aa"));
        tally.add(&row("anomalous", "sha256:bb"));
        tally.add(&ScoreRow { error: Some("no image".to_owned()), ..ScoreRow::default() });
        assert_eq!(
            tally.summary(Duration::from_secs(4)),
            "scored 2 of 4 images in 4.0 s, 0.5 a second, 1 anomalous, 1 failed, by models/nut sha256:aa and \
             models/nut sha256:bb"
        );
    }

    #[test]
    fn without_decisions_nothing_is_said_of_anomalies() {
        let mut tally = Tally::new(1, ProgressBar::hidden());
        tally.add(&row("uncalibrated", "sha256:aa"));
        assert_eq!(tally.undecided, 1);
        assert!(!tally.summary(Duration::from_secs(1)).contains("anomalous"));
    }
}
