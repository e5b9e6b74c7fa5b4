//! A query's score does not depend on who shares its batch.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

mod fixtures;

use fixtures::{features, head, text};
use inctrl_model::{
    Features, Head, HeadError, HeadKind, MixedQuery, PromptFeatures, Residuals, Scores, score_mixed,
};

/// Largest difference of any number of an answer between a query alone and in a batch, float32.
const TOLERANCE: f32 = 1e-6;

fn alone(queries: &Features, row: usize, prompts: &PromptFeatures, head: &Head) -> Scores {
    let residuals = Residuals::new(&queries.select(&[row as i64]), prompts);
    head.score(&residuals, prompts).unwrap().remove(0)
}

fn assert_close(batched: &Scores, alone: &Scores, what: &str) {
    let flat = |scores: &Scores| {
        let Scores { score, image_score, text_score, patch_max, holistic_score, map } = scores;
        let optional = [image_score, text_score, holistic_score].map(|value| value.unwrap_or(0.0));
        [[*score, *patch_max].as_slice(), &optional, map].concat()
    };
    for (batched, alone) in flat(batched).into_iter().zip(flat(alone)) {
        assert!((batched - alone).abs() <= TOLERANCE, "{what}: {batched} in the batch, {alone} alone");
    }
}

#[test]
fn a_mixed_batch_scores_every_query_as_if_it_were_alone() {
    let sets = [
        PromptFeatures::new(&features(1, 1.0), Some(&features(1, 1.5)), Some(text())),
        PromptFeatures::new(&features(2, 2.0), None, Some(text())),
        PromptFeatures::new(&features(16, 3.0), None, Some(text())),
    ];
    let heads = [
        head(HeadKind::Paper, true, 1.0),
        head(HeadKind::Paper, true, 2.0),
        head(HeadKind::Contextual, true, 3.0),
    ];
    let queries = features(23, 6.0);
    let asked: Vec<MixedQuery<'_>> = (0..23)
        .map(|row| MixedQuery {
            prompts: &sets[(row * 7) % 3],
            heads: (0..=row % 3).map(|extra| &heads[(row + extra) % 3]).collect(),
        })
        .collect();
    let answers = score_mixed(&queries, &asked);
    assert_eq!(answers.len(), 23);
    for (row, (answers, asked)) in answers.iter().zip(&asked).enumerate() {
        assert_eq!(answers.len(), asked.heads.len(), "each head must answer");
        for (answer, head) in answers.iter().zip(&asked.heads) {
            let alone = alone(&queries, row, asked.prompts, head);
            assert_close(answer.as_ref().unwrap(), &alone, &format!("query {row}"));
        }
    }
}

#[test]
fn a_batch_larger_than_one_block_of_similarities_scores_the_same() {
    // 16 images of 30 patches against 400 queries: 12,000 rows meet 480, more than one block holds.
    let prompts = PromptFeatures::new(&features(16, 1.0), None, Some(text()));
    let queries = features(400, 2.0);
    for head in [head(HeadKind::Paper, true, 1.0), head(HeadKind::Contextual, true, 1.0)] {
        let batched = head.score(&Residuals::new(&queries, &prompts), &prompts).unwrap();
        for row in [0, 1, 200, 290, 291, 292, 399] {
            assert_close(&batched[row], &alone(&queries, row, &prompts, &head), &format!("query {row}"));
        }
    }
}

#[test]
fn one_query_that_cannot_be_scored_does_not_touch_the_others() {
    let set = PromptFeatures::new(&features(3, 1.0), None, Some(text()));
    let without_context = PromptFeatures::new(&features(1, 2.0), None, None);
    let heads = [head(HeadKind::Contextual, true, 1.0), head(HeadKind::Paper, true, 1.0)];
    let queries = features(3, 4.0);
    let _ = queries.class.get(1).fill_(f64::INFINITY);
    let ask = |prompts, head| MixedQuery { prompts, heads: vec![head] };
    let asked = [ask(&set, &heads[1]), ask(&set, &heads[1]), ask(&without_context, &heads[0])];
    let answers = score_mixed(&queries, &asked);
    let expected = alone(&queries, 0, &set, &heads[1]);
    assert_close(answers[0][0].as_ref().unwrap(), &expected, "the sound query");
    let error = |row: usize| answers[row][0].as_ref().unwrap_err();
    assert!(matches!(**error(1), HeadError::NonFiniteScore { query: 1 }));
    assert!(matches!(**error(2), HeadError::NoContext));
}
