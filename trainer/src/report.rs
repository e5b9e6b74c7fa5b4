//! `report.html`: an evaluation as one page that needs nothing else: style, charts and pictures are inside it.
//!
//! Last step of an evaluation. Numbers come from the [`Evaluation`], curves and pictures from the scores behind it.

use inctrl_model::Preprocess;

use crate::eval::{EvalError, Outcome};

mod charts;
mod evidence;
mod html;
mod pictures;
mod sections;

use html::Html;
use sections::{charts_of, numbers, origin, pictures_of};

/// Name of the report in the output folder.
pub const REPORT_FILE: &str = "report.html";

const STYLE: &str = include_str!("report/style.css");

/// The whole page. Reads the images whose pictures it shows again, as `preprocess` brings them to the backbone.
pub fn render(outcome: &Outcome, preprocess: &Preprocess) -> Result<String, EvalError> {
    let evaluation = &outcome.evaluation;
    let body = Html::element(
        "main",
        &[],
        [
            origin::header(evaluation),
            numbers::headline(evaluation),
            numbers::seen_unseen(evaluation),
            charts_of::by_shots(evaluation),
            charts_of::roc(outcome),
            charts_of::histograms(outcome),
            pictures_of::examples(outcome, preprocess)?,
            numbers::maps(evaluation),
            numbers::categories(evaluation),
            charts_of::losses(outcome),
            origin::provenance(outcome),
        ],
    );
    Ok(Html::document("InCTRL evaluation", STYLE, body))
}
