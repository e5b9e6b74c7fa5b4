//! A mixed batch: one backbone pass whose queries bring different prompt sets and ask for different heads.
//!
//! Residuals are computed once for all queries of a prompt set, whatever number of heads (active and candidate, say)
//! scores them. Who shares a batch changes no score, and a head that fails takes no other with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::{Features, Head, HeadError, PromptFeatures, Residuals, Scores};

/// What one query of a mixed batch asks for.
#[derive(Debug, Clone)]
pub struct MixedQuery<'a> {
    /// Its prompt set. Queries that hold the same value (by address) are scored together.
    pub prompts: &'a PromptFeatures,
    /// The heads that score it; one answer each.
    pub heads: Vec<&'a Head>,
}

/// A score, or why there is none; the reason is shared by the queries that it concerns.
pub type MixedScore = Result<Scores, Arc<HeadError>>;

/// Scores every query of a batch: row `i` of `features` by `queries[i]`. Answers in the order of `queries`, and within
/// one in the order of its heads.
///
/// A query that cannot be scored (its prompt set lacks what a head needs, its score is not finite) does not touch
/// the others.
///
/// # Panics
///
/// When `features` and `queries` differ in number, or a prompt set's features are of another backbone.
pub fn score_mixed(features: &Features, queries: &[MixedQuery<'_>]) -> Vec<Vec<MixedScore>> {
    assert_eq!(features.class.size()[0] as usize, queries.len(), "each row of features must have its query");
    let mut answers: Vec<Vec<Option<MixedScore>>> =
        queries.iter().map(|query| query.heads.iter().map(|_| None).collect()).collect();
    for group in grouped(queries.iter().map(|query| query.prompts)) {
        let prompts = queries[group[0]].prompts;
        let residuals = tch::no_grad(|| Residuals::new(&features.select(&rows(&group)), prompts));
        let wanted = group.iter().enumerate().flat_map(|(row, &query)| {
            queries[query].heads.iter().enumerate().map(move |(slot, head)| (row, query, slot, *head))
        });
        let wanted: Vec<(usize, usize, usize, &Head)> = wanted.collect();
        for asking in grouped(wanted.iter().map(|&(.., head)| head)) {
            let head = wanted[asking[0]].3;
            let asked: Vec<usize> = asking.iter().map(|&index| wanted[index].0).collect();
            let scores = score_rows(head, &residuals, &asked, prompts);
            for (&index, score) in asking.iter().zip(scores) {
                let (_, query, slot, _) = wanted[index];
                answers[query][slot] = Some(finite(score, query));
            }
        }
    }
    let filled = |slot: Option<MixedScore>| slot.expect("every head of every query is in one group");
    answers.into_iter().map(|slots| slots.into_iter().map(filled).collect()).collect()
}

/// Scores the rows `asked` of `residuals` with one head.
fn score_rows(
    head: &Head,
    residuals: &Residuals,
    asked: &[usize],
    prompts: &PromptFeatures,
) -> Vec<MixedScore> {
    let all = asked.iter().copied().eq(0..residuals.queries());
    let scores = contained(|| {
        if all {
            head.score(residuals, prompts)
        } else {
            head.score(&residuals.select(&rows(asked)), prompts)
        }
    });
    match scores {
        Ok(scores) => scores.into_iter().map(Ok).collect(),
        Err(error) => {
            let error = Arc::new(error);
            asked.iter().map(|_| Err(Arc::clone(&error))).collect()
        }
    }
}

/// Turns a panic of one head into an error of its own, so that the other heads of the batch still answer.
fn contained<T>(score: impl FnOnce() -> Result<T, HeadError>) -> Result<T, HeadError> {
    // Tensors are only read here, and what a head had begun is dropped with the panic.
    catch_unwind(AssertUnwindSafe(score)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(HeadError::Panicked { message: text.unwrap_or_else(|| "no message".to_owned()) })
    })
}

/// Refuses a score that is not a number for the query in row `query`.
fn finite(score: MixedScore, query: usize) -> MixedScore {
    let scores = score?;
    if scores.score.is_finite() { Ok(scores) } else { Err(Arc::new(HeadError::NonFiniteScore { query })) }
}

/// Positions of values with the same address, groups in order of their first member.
fn grouped<'a, T: 'a>(values: impl Iterator<Item = &'a T>) -> Vec<Vec<usize>> {
    let mut groups: Vec<(&T, Vec<usize>)> = Vec::new();
    for (index, value) in values.enumerate() {
        match groups.iter_mut().find(|(first, _)| std::ptr::eq(*first, value)) {
            Some((_, members)) => members.push(index),
            None => groups.push((value, vec![index])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

fn rows(indices: &[usize]) -> Vec<i64> {
    indices.iter().map(|&index| index as i64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_its_head_with_what_it_said() {
        let panicked = contained(|| -> Result<(), HeadError> {
            let tensor = tch::Tensor::zeros([2, 3], (tch::Kind::Float, tch::Device::Cpu));
            let _ = tensor.matmul(&tensor);
            Ok(())
        });
        let message = panicked.unwrap_err().to_string();
        assert!(message.contains("mat1 and mat2 shapes cannot be multiplied"), "{message}");
        assert!(contained(|| Ok(())).is_ok());
    }
}
