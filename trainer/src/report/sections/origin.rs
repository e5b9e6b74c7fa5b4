//! Where the numbers come from: backbone, heads, data, seed, versions.

use super::section;
use crate::eval::evaluation::{Evaluation, Verdict};
use crate::eval::table::backbone_line;
use crate::eval::{Method, Outcome};
use crate::report::html::Html;

/// Title, backbone, and the numbers that matter.
pub(crate) fn header(evaluation: &Evaluation) -> Html {
    let sets: Vec<&str> = evaluation.data_sets.iter().map(|data_set| data_set.name.as_str()).collect();
    let mut parts = vec![
        Html::of_text("h1", &[], "Few-shot anomaly detection: evaluation"),
        Html::of_text(
            "p",
            &[("class", "soft")],
            format!("{} on {}", backbone_line(evaluation), sets.join(", ")),
        ),
    ];
    if evaluation.backbone.provenance != "clip" {
        let warning = "The backbone is not CLIP. It is a small classifier that makes a first run possible without a \
                       download of 835 MB; its numbers say how the parts work together, not what the method reaches. \
                       Give --backbone the folder of ViT-B-16-plus-240 for that.";
        parts.push(Html::of_text("p", &[("class", "warning")], warning));
    }
    if let Some(verdict) = &evaluation.verdict {
        parts.push(figures(evaluation, verdict));
    }
    Html::element("header", &[], parts)
}

fn figures(evaluation: &Evaluation, verdict: &Verdict) -> Html {
    let baselines: Vec<f64> =
        verdict.rows.iter().filter_map(|row| row.baseline.as_ref().map(|(_, auroc)| *auroc)).collect();
    let above = verdict.rows.iter().filter(|row| row.is_above()).count();
    let mut figures =
        vec![(format!("{:.3}", verdict.auroc), format!("image AUROC of {}, the best head", verdict.head))];
    if !baselines.is_empty() {
        let mean = baselines.iter().sum::<f64>() / baselines.len() as f64;
        figures.push((format!("{mean:.3}"), "of the best baseline of each row".to_owned()));
        let of = verdict.rows.len();
        figures
            .push((format!("{above} of {of}"), "unseen domains where it is above every baseline".to_owned()));
    }
    figures.push((format!("K = {}", evaluation.headline_shots), "normal images in a prompt set".to_owned()));
    let figures = figures.into_iter().map(|(number, text)| {
        let parts = [Html::of_text("b", &[], number), Html::of_text("span", &[], text)];
        Html::element("div", &[("class", "figure")], parts)
    });
    Html::element("div", &[("class", "figures")], figures)
}

/// Everything that is needed to make the page again.
pub(crate) fn provenance(outcome: &Outcome) -> Html {
    let evaluation = &outcome.evaluation;
    let backbone = &evaluation.backbone;
    let mut entries = vec![
        ("backbone".to_owned(), format!("{}, provenance {}", backbone.name, backbone.provenance)),
        ("backbone digest".to_owned(), backbone.digest.clone()),
    ];
    for method in &evaluation.methods {
        match method {
            Method::Head { name, kind, heads } => {
                entries.extend(heads.iter().map(|digest| (format!("head {name} ({kind})"), digest.clone())));
            }
            Method::Baseline { .. } => {}
        }
    }
    for data_set in &evaluation.data_sets {
        let leaked = match data_set.leaked {
            0 => String::new(),
            leaked => {
                format!("; {leaked} normal images gave no prompts, because the same picture is a query")
            }
        };
        let text = format!("{} images, {}{leaked}", data_set.images, data_set.fingerprint);
        entries.push((format!("data set {}", data_set.name), text));
    }
    let queries = match evaluation.queries {
        0 => "all".to_owned(),
        most => format!("at most {most} normal and {most} anomalous of a category, drawn by the seed"),
    };
    let shots: Vec<String> = evaluation.shots.iter().map(ToString::to_string).collect();
    entries.extend([
        ("queries".to_owned(), queries),
        ("shots".to_owned(), shots.join(", ")),
        ("prompt draws".to_owned(), evaluation.draws.to_string()),
        ("seed".to_owned(), evaluation.seed.to_string()),
        ("program".to_owned(), format!("inctrl-trainer {}", evaluation.program_version)),
    ]);
    let list = entries.into_iter().flat_map(|(term, text)| {
        let text =
            if text.starts_with("sha256:") { Html::of_text("code", &[], text) } else { Html::text(text) };
        [Html::of_text("dt", &[], term), Html::element("dd", &[], [text])]
    });
    let notes = [
        (
            "max residual",
            "largest residual of a query's patches to the prompt set's, no head: what training has to add to",
        ),
        ("random backbone", "the same over the same architecture with weights drawn by the seed"),
        ("raw pixels", "distance to the nearest prompt image at 60 x 60 pixels"),
        ("image AUROC", "probability that an anomalous image scores above a normal one, ties half"),
        ("AP", "average precision by the step rule, as scikit-learn has it"),
        ("F1-max", "of a threshold chosen on the very scores: optimistic"),
        (
            "AUPRO@0.3",
            "area under the per-region overlap up to a false-positive rate of 0.3, 8-connected regions",
        ),
    ];
    let notes = notes
        .into_iter()
        .flat_map(|(term, text)| [Html::of_text("dt", &[], term), Html::of_text("dd", &[], text)]);
    section(
        "Where this comes from",
        "",
        [Html::element("dl", &[], list), Html::of_text("h3", &[], "Words"), Html::element("dl", &[], notes)],
    )
}
