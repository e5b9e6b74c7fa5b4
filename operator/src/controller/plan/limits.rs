//! What others wrote, cut to what the schema of the status takes: a status that is refused for its length is refused each
//! time, and nothing is done any more, not even a rollback.

use inctrl_storage::Digest;

use crate::crd::RevisionMetric;

/// Characters of `status.retrainedAt`.
const TOKEN: usize = 64;

/// Characters of a metric's name.
const METRIC: usize = 127;

/// Digits of a digest that keep cut names apart.
const DIGITS: usize = 16;

fn digest(text: &str) -> String {
    Digest::of(text).hex()
}

/// What stands for the value of an annotation: the value, or the digest of one that is too long.
pub(super) fn token(value: &str) -> String {
    if value.chars().count() <= TOKEN { value.to_owned() } else { digest(value) }
}

/// Metrics as the status keeps them: each name once, in order, a name that is too long with a digest as its end.
pub(super) fn metrics(measured: &[RevisionMetric]) -> Vec<RevisionMetric> {
    let mut kept: Vec<RevisionMetric> = measured.to_vec();
    for metric in &mut kept {
        if metric.name.chars().count() > METRIC {
            let beginning: String = metric.name.chars().take(METRIC - DIGITS - 1).collect();
            let end: String = digest(&metric.name).chars().take(DIGITS).collect();
            metric.name = format!("{beginning}~{end}");
        }
    }
    kept.sort_by(|a, b| a.name.cmp(&b.name));
    kept.dedup_by(|a, b| a.name == b.name);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> RevisionMetric {
        RevisionMetric { name: name.to_owned(), basis_points: Some(1), value: None }
    }

    #[test]
    fn a_token_is_the_value_or_where_it_is_too_long_its_digest() {
        assert_eq!(token("2027-01-15T08:00:00Z"), "2027-01-15T08:00:00Z");
        assert_eq!(token(&"\u{e4}".repeat(64)), "\u{e4}".repeat(64));
        let long = "x".repeat(65);
        assert_eq!(token(&long).len(), 64);
        assert_ne!(token(&long), token(&format!("{long}y")));
    }

    #[test]
    fn names_of_metrics_fit_and_stay_apart() {
        let long = |end: &str| format!("imageAUROC/{}{end}", "c".repeat(120));
        let kept = metrics(&[named(&long("b")), named("f1Max"), named(&long("a")), named("f1Max")]);
        assert_eq!(kept.len(), 3, "{kept:?}");
        assert!(kept.iter().all(|metric| metric.name.chars().count() <= 127), "{kept:?}");
        assert!(kept.is_sorted_by(|a, b| a.name < b.name), "{kept:?}");
        assert!(kept.contains(&named("f1Max")));
    }
}
