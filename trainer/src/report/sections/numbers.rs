//! Tables: heads beside baselines, the seen / unseen cells, maps, categories.

use super::{head_row, section, table};
use crate::eval::evaluation::{CategoryResult, Evaluation, ImageMeasurement, RowResult};
use crate::eval::table::{conclusion, rows};
use crate::eval::{Method, Stat};
use crate::report::html::Html;

/// Which head is best, and all heads beside all baselines.
pub(crate) fn headline(evaluation: &Evaluation) -> Html {
    let shots = evaluation.headline_shots;
    let lead = format!(
        "Image AUROC at K = {shots}: mean over categories, ± standard deviation over {} prompt draws and, where a name \
         stands for several heads, over those. The dot marks the best of a row. Rows in bold count for the verdict: as \
         far as is known, training has seen nothing of them.",
        evaluation.draws
    );
    let mut content = Vec::new();
    if let Some(conclusion) = conclusion(evaluation) {
        content.push(Html::of_text("p", &[], sentence(&conclusion)));
    }
    let names = evaluation.methods.iter().map(|method| method.name().to_owned());
    let head = [groups(&evaluation.methods), head_row("", names)];
    let body = rows(evaluation).map(|(label, row)| {
        let stats = evaluation.methods.iter().map(|method| row.of(method.name(), shots).map(|of| of.auroc));
        let class = if row.counts() { "counts" } else { "" };
        body_row(class, &label, &stats.collect::<Vec<_>>())
    });
    content.push(table(head, body));
    section("Heads beside baselines", &lead, content)
}

/// The 2 x 2 tables of data sets that know what training has seen: one a method.
pub(crate) fn seen_unseen(evaluation: &Evaluation) -> Html {
    let sets: Vec<Html> = evaluation
        .data_sets
        .iter()
        .filter(|data_set| data_set.rows.iter().any(|row| row.cell.is_some()))
        .map(|data_set| {
            let cell = |method: &Method, family: bool, defect: bool| {
                let wanted = |row: &&RowResult| {
                    row.cell.is_some_and(|cell| (cell.family, cell.defect) == (family, defect))
                };
                let row = data_set.rows.iter().find(wanted)?;
                row.of(method.name(), evaluation.headline_shots).map(|of| of.auroc)
            };
            let orders = [(true, true), (true, false), (false, true), (false, false)];
            let names = [
                "seen family, seen defect",
                "seen family, unseen defect",
                "unseen family, seen defect",
                "unseen family, unseen defect",
            ];
            let head = [head_row("", names.map(str::to_owned))];
            let body = evaluation.methods.iter().map(|method| {
                let cells = orders.map(|(family, defect)| number_cell(cell(method, family, defect), "other"));
                let name = Html::of_text("th", &[], method.name());
                Html::element("tr", &[], std::iter::once(name).chain(cells))
            });
            Html::all([Html::of_text("h3", &[], &data_set.name), table(head, body)])
        })
        .collect();
    if sets.is_empty() {
        return Html::default();
    }
    let lead = "What training has seen of a synthetic benchmark: families of scenes (with other random instances than \
                here) and kinds of defects. The last column is the one that tells what transfers.";
    section("Seen and unseen", lead, sets)
}

/// Metrics of the anomaly maps.
pub(crate) fn maps(evaluation: &Evaluation) -> Html {
    let shots = evaluation.headline_shots;
    let with_map: Vec<&Method> = evaluation
        .methods
        .iter()
        .filter(|method| {
            rows(evaluation).any(|(_, row)| row.of(method.name(), shots).is_some_and(|of| of.map.is_some()))
        })
        .collect();
    let head = with_map.iter().find(|method| method.is_head());
    let shown: Vec<&Method> = with_map
        .iter()
        .copied()
        .filter(|method| !method.is_head() || head.is_some_and(|head| head == method))
        .collect();
    if shown.is_empty() {
        return Html::default();
    }
    let names = shown.iter().flat_map(|method| {
        let name = if method.is_head() { "heads" } else { method.name() };
        [format!("{name}: pixel AUROC"), format!("{name}: AUPRO@0.3")]
    });
    let body = rows(evaluation).filter_map(|(label, row)| {
        let maps: Vec<_> =
            shown.iter().map(|method| row.of(method.name(), shots).and_then(|of| of.map)).collect();
        maps.iter().any(Option::is_some).then(|| {
            let stats =
                maps.iter().flat_map(|map| [map.map(|map| map.pixel_auroc), map.map(|map| map.aupro)]);
            let cells = stats.map(|stat| number_cell(stat, "other"));
            Html::element("tr", &[], std::iter::once(Html::of_text("th", &[], label)).chain(cells))
        })
    });
    let lead = format!(
        "The anomaly map against the masks at K = {shots}, {side} x {side} pixels of what the backbone examined, over \
         all images of a category, normal ones included. All heads have one map, that of the largest residual: a head \
         weighs it and does not redraw it.",
        side = evaluation.map_side
    );
    section("Anomaly maps in numbers", &lead, [table([head_row("", names)], body)])
}

/// Every category.
pub(crate) fn categories(evaluation: &Evaluation) -> Html {
    let shots = evaluation.headline_shots;
    let details = rows(evaluation).map(|(label, row)| {
        let names = evaluation.methods.iter().map(|method| method.name().to_owned());
        let names = ["normal".to_owned(), "anomalous".to_owned()].into_iter().chain(names);
        let body = row.categories.iter().map(|category| {
            let stats = evaluation.methods.iter().map(|method| of_category(category, method.name(), shots));
            let stats: Vec<Option<Stat>> = stats.collect();
            let counts = [category.normal, category.anomalous]
                .map(|count| Html::of_text("td", &[("class", "number")], count.to_string()));
            let name = Html::of_text("th", &[], &category.name);
            Html::element("tr", &[], std::iter::once(name).chain(counts).chain(number_cells(&stats)))
        });
        let title = format!("{label} ({} categories)", row.categories.len());
        let summary = Html::of_text("summary", &[], title);
        Html::element("details", &[], [summary, table([head_row("", names)], body)])
    });
    let lead = format!("Image AUROC at K = {shots}; the counts are of queries.");
    section("Category by category", &lead, details)
}

/// Of one category at one size of prompt sets.
fn of_category(category: &CategoryResult, method: &str, shots: usize) -> Option<Stat> {
    let wanted = |image: &&ImageMeasurement| image.method == method && image.shots == shots;
    let values: Vec<f64> = category.images.iter().filter(wanted).map(|image| image.auroc).collect();
    Stat::of(&values)
}

fn groups(methods: &[Method]) -> Html {
    let heads = methods.iter().filter(|method| method.is_head()).count();
    let cell = |name: &str, span: usize| {
        let span = span.to_string();
        Html::of_text("th", &[("class", "number"), ("colspan", &span)], name)
    };
    let groups = [("trained heads", heads), ("baselines, untrained", methods.len() - heads)];
    let groups = groups.into_iter().filter(|(_, span)| 0 < *span).map(|(name, span)| cell(name, span));
    Html::element("tr", &[("class", "group")], std::iter::once(Html::of_text("th", &[], "")).chain(groups))
}

fn body_row(class: &str, label: &str, stats: &[Option<Stat>]) -> Html {
    let label = Html::of_text("th", &[], label);
    Html::element("tr", &[("class", class)], std::iter::once(label).chain(number_cells(stats)))
}

/// Numbers of a row, the best marked.
fn number_cells(stats: &[Option<Stat>]) -> Vec<Html> {
    let best = stats.iter().flatten().map(|stat| stat.mean).fold(f64::NEG_INFINITY, f64::max);
    let class =
        |stat: &Option<Stat>| if stat.is_some_and(|stat| best <= stat.mean) { "best" } else { "other" };
    stats.iter().map(|stat| number_cell(*stat, class(stat))).collect()
}

fn number_cell(stat: Option<Stat>, class: &str) -> Html {
    let class = format!("number {class}");
    let content = match stat {
        None => vec![Html::text("–")],
        Some(Stat { mean, deviation, .. }) => {
            let deviation = deviation.map(|deviation| format!(" ± {deviation:.3}"));
            let deviation = deviation.map(|text| Html::of_text("span", &[("class", "deviation")], text));
            std::iter::once(Html::text(format!("{mean:.3}"))).chain(deviation).collect()
        }
    };
    Html::element("td", &[("class", &class)], content)
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first: String = characters.next().map(char::to_uppercase).into_iter().flatten().collect();
    format!("{first}{}.", characters.as_str())
}
