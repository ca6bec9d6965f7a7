//! How a refused text is shown in an error: quoted, escaped, and never longer than a line.

/// The most characters of a client's text that an error repeats.
const LONGEST: usize = 100;

/// The text in quotes with control characters escaped, cut after [`LONGEST`] characters.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{:?}... ({} bytes)", &text[..cut], text.len()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::excerpt;

    #[test]
    fn short_texts_are_quoted_and_escaped() {
        assert_eq!(excerpt("a\nb"), "\"a\\nb\"");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let shown = excerpt(&"\u{e9}".repeat(5000));
        assert_eq!(shown, format!("\"{}\"... (10000 bytes)", "\u{e9}".repeat(100)));
    }
}
