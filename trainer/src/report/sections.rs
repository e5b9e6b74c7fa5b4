//! The sections of the page.

pub(super) mod charts_of;
pub(super) mod numbers;
pub(super) mod origin;
pub(super) mod pictures_of;

use super::html::Html;
use crate::eval::Method;

/// A section: title, what it shows, content.
fn section(title: &str, lead: &str, content: impl IntoIterator<Item = Html>) -> Html {
    let lead = if lead.is_empty() { Html::default() } else { Html::of_text("p", &[("class", "note")], lead) };
    let content = Html::all(content);
    Html::element("section", &[], [Html::of_text("h2", &[], title), lead, content])
}

/// Class of the style sheet for each method: colour and dashes, heads and baselines apart.
fn classes(methods: &[Method]) -> Vec<String> {
    let (mut heads, mut baselines) = (0, 0);
    methods
        .iter()
        .map(|method| {
            let (word, count, of) = match method {
                Method::Head { .. } => ("head", &mut heads, 4),
                Method::Baseline { .. } => ("base", &mut baselines, 3),
            };
            let class = format!("{word}-{}", *count % of);
            *count += 1;
            class
        })
        .collect()
}

/// What each line is.
fn legend(methods: &[Method]) -> Html {
    let entries = methods.iter().zip(classes(methods)).map(|(method, class)| {
        let class = format!("line {class}");
        let line = Html::empty("path", &[("class", &class), ("d", "M0 5 L30 5")]);
        let sample = Html::element("svg", &[("viewBox", "0 0 30 10"), ("aria-hidden", "true")], [line]);
        Html::element("span", &[], [sample, Html::text(method.name())])
    });
    Html::element("div", &[("class", "legend")], entries)
}

/// A chart under its title.
fn figure(title: &str, chart: Html) -> Html {
    Html::element("figure", &[], [Html::of_text("figcaption", &[], title), chart])
}

/// Charts beside one another.
fn multiples(figures: impl IntoIterator<Item = Html>) -> Html {
    Html::element("div", &[("class", "multiples")], figures)
}

/// A table that scrolls by itself where the page is narrow.
fn table(head: impl IntoIterator<Item = Html>, body: impl IntoIterator<Item = Html>) -> Html {
    let parts = [Html::element("thead", &[], head), Html::element("tbody", &[], body)];
    Html::element("div", &[("class", "wide")], [Html::element("table", &[], parts)])
}

/// A row of a table's head: one wide column of names, then numbers.
fn head_row(first: &str, names: impl IntoIterator<Item = String>) -> Html {
    let first = Html::of_text("th", &[], first);
    let names = names.into_iter().map(|name| Html::of_text("th", &[("class", "number")], name));
    Html::element("tr", &[], std::iter::once(first).chain(names))
}
