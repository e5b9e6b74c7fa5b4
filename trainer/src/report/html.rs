//! HTML as a type: text gets in escaped, markup only by [`Html`]'s own functions.

use std::fmt::Write as _;

/// A piece of well-formed HTML or SVG.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    /// Text, escaped.
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self(escaped(text.as_ref()))
    }

    /// `<tag attributes>inner</tag>`; attribute values are escaped.
    pub(super) fn element(
        tag: &'static str,
        attributes: &[(&'static str, &str)],
        inner: impl IntoIterator<Item = Self>,
    ) -> Self {
        let mut html = opened(tag, attributes);
        html.push('>');
        html.extend(inner.into_iter().map(|piece| piece.0));
        let _ = write!(html, "</{tag}>");
        Self(html)
    }

    /// `<tag attributes/>`: images, and shapes of a drawing.
    pub(super) fn empty(tag: &'static str, attributes: &[(&'static str, &str)]) -> Self {
        Self(opened(tag, attributes) + "/>")
    }

    /// An element that holds text alone.
    pub(super) fn of_text(
        tag: &'static str,
        attributes: &[(&'static str, &str)],
        text: impl AsRef<str>,
    ) -> Self {
        Self::element(tag, attributes, [Self::text(text)])
    }

    /// Pieces one after another.
    pub(super) fn all(pieces: impl IntoIterator<Item = Self>) -> Self {
        Self(pieces.into_iter().map(|piece| piece.0).collect())
    }

    /// A whole document.
    pub(super) fn document(title: &str, style: &'static str, body: Self) -> String {
        let head = Self::element(
            "head",
            &[],
            [
                Self::empty("meta", &[("charset", "utf-8")]),
                Self::empty(
                    "meta",
                    &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")],
                ),
                Self::empty("meta", &[("name", "color-scheme"), ("content", "light dark")]),
                Self::of_text("title", &[], title),
                // Style sheets are raw text: escaping would change them, and this one is a constant.
                Self(format!("<style>{style}</style>")),
            ],
        );
        let html = Self::element("html", &[("lang", "en")], [head, Self::element("body", &[], [body])]);
        format!("<!DOCTYPE html>\n{}\n", html.0)
    }
}

fn opened(tag: &str, attributes: &[(&str, &str)]) -> String {
    let mut html = format!("<{tag}");
    for (name, value) in attributes {
        let _ = write!(html, " {name}=\"{}\"", escaped(value));
    }
    html
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_are_escaped_and_markup_is_not() {
        let inner = Html::of_text("b", &[], "<script>alert('x')</script> & more");
        let html = Html::element("p", &[("title", "a \"quoted\" <name>")], [inner]);
        let expected = "<p title=\"a &quot;quoted&quot; &lt;name&gt;\"><b>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; \
                        &amp; more</b></p>";
        assert_eq!(html.0, expected);
    }
}
