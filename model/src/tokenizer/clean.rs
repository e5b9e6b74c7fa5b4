//! Text as CLIP's tokenizer wants it: repaired, HTML unescaped, white space collapsed, lower case.
//!
//! The authors repair with ftfy. Of it there are here: HTML entities, terminal escapes and control characters, the
//! ligatures of fonts, full-width forms, curly quotes, canonical composition (NFC). Left out is its guess at text
//! that was decoded with a wrong encoding ("mojibake"): such a name is taken as it is written.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

/// Rounds after which unescaping stops; text nested deeper is taken as it is.
const UNESCAPE_ROUNDS: usize = 16;

static TERMINAL_ESCAPE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("\u{1b}\\[[0-9;]*[a-zA-Z]").expect("the pattern is a constant and compiles"));

/// The text, cleaned.
pub(super) fn clean(text: &str) -> String {
    let text = unescape(text);
    let text = TERMINAL_ESCAPE.replace_all(&text, "");
    let text: String = text.chars().filter(|&c| !is_control(c)).flat_map(plain).nfc().collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.to_lowercase()
}

/// HTML entities: text with a literal `<` is unescaped twice as CLIP does, other text until nothing changes, because
/// ftfy then goes first.
fn unescape(text: &str) -> String {
    let rounds = if text.contains('<') { 2 } else { UNESCAPE_ROUNDS };
    let mut text = text.to_owned();
    for _ in 0..rounds {
        let next = htmlize::unescape(text.as_str()).into_owned();
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// Characters without a look of their own that ftfy takes out. White space among the control characters stays.
fn is_control(c: char) -> bool {
    matches!(c,
        '\0'..='\x08' | '\x0b' | '\x0e'..='\x1f' | '\x7f'
        | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

/// Curly quotes straight, ligatures apart, full-width forms at ordinary width.
fn plain(c: char) -> impl Iterator<Item = char> {
    let c = match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        c => c,
    };
    let decomposed = matches!(c,
        '\u{132}' | '\u{133}' | '\u{149}' | '\u{1c4}'..='\u{1cc}' | '\u{1f1}'..='\u{1f3}'
        | '\u{fb00}'..='\u{fb06}' | '\u{3000}' | '\u{ff01}'..='\u{ffef}');
    let (decomposed, as_is) = if decomposed { (Some(c), None) } else { (None, Some(c)) };
    decomposed.into_iter().nfkc().chain(as_is)
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn entities_quotes_ligatures_widths_and_spaces_are_cleaned() {
        for (dirty, expected) in [
            ("  Héllo &amp; world!!\t\n 123 ", "héllo & world!! 123"),
            ("&amp;amp;amp;lt;b&gt;", "<b>"),
            ("<i>&amp;amp;lt;", "<i>&lt;"),
            ("\u{201c}it\u{2019}s\u{201d}", "\"it's\""),
            ("e\u{301}tude ﬁne ＡＢ１　x", "étude fine ab1 x"),
            ("\u{1b}[31mred\u{1b}[0m\u{0}\u{feff}", "red"),
            ("", ""),
        ] {
            assert_eq!(clean(dirty), expected, "of {dirty:?}");
        }
    }
}
