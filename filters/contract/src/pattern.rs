//! Patterns: text with any number of `*`, each of which matches any characters, also none.

/// Whether a pattern matches the whole text.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    // A split has at least one part.
    let first = parts.next().unwrap_or_default();
    let Some(last) = parts.next_back() else {
        return pattern == text;
    };
    let rest = text.strip_prefix(first).and_then(|t| t.strip_suffix(last));
    let Some(mut rest) = rest else {
        return false;
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Whether one of the patterns matches.
#[must_use]
pub fn matches_any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_characters_wherever_it_is() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("", "", true),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abcd", false),
            ("ab*ba", "aba", false),
            ("*b*", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            (
                "spiffe://*/ns/*/sa/gateway",
                "spiffe://td/ns/x/sa/gateway",
                true,
            ),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
