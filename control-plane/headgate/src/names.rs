//! Names in the syntax of Kubernetes. Flags are checked when they are parsed, not later by an API server.

/// Parses a namespace: a DNS label. Names of clusters and virtual hosts contain it.
pub(crate) fn parse_namespace(text: &str) -> Result<String, String> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if text.len() <= 63 && is_word(text, inner) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a namespace: write 1-63 lower-case letters, digits or '-'"
        ))
    }
}

/// Longest accepted object name, in characters. Derived names are longer and must stay below 253.
const MAX_NAME: usize = 180;

/// Parses an object name: a Lease, a ServiceAccount, a replica.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let parts = || text.split('.');
    if text.len() <= MAX_NAME && parts().all(|part| is_word(part, inner)) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not an object name: write 1-{MAX_NAME} lower-case letters, digits, '-' or '.', as for the name of a pod"
        ))
    }
}

/// Parses a label key: `name` or `prefix/name`.
pub(crate) fn parse_label_key(text: &str) -> Result<String, String> {
    let is_valid = |part: &str, most: usize, also: &[u8]| {
        let inner = |c: u8| c.is_ascii_alphanumeric() || also.contains(&c);
        part.len() <= most && is_word(part, inner)
    };
    let (prefix, name) = text.rsplit_once('/').unwrap_or(("none", text));
    if is_valid(prefix, 253, b".-") && is_valid(name, 63, b".-_") {
        return Ok(text.to_owned());
    }
    Err("not a label key: write `model-name` or `example.com/model-name`".to_owned())
}

/// Parses a label with its value: `KEY=VALUE`. The value may be empty.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), String> {
    let inner = |c: u8| c.is_ascii_alphanumeric() || b".-_".contains(&c);
    let is_value = |value: &&str| value.is_empty() || (value.len() <= 63 && is_word(value, inner));
    let parts = text.split_once('=').filter(|(_, value)| is_value(value));
    let parsed =
        parts.and_then(|(key, value)| Some((parse_label_key(key).ok()?, value.to_owned())));
    parsed.ok_or_else(|| {
        format!("{text:?} is not a label: write KEY=VALUE, such as headgate.dev/proxy=true")
    })
}

/// Whether a text starts and ends with a letter or digit, and has only allowed characters in between.
fn is_word(text: &str, inner: impl Fn(u8) -> bool) -> bool {
    let ends = [text.bytes().next(), text.bytes().last()];
    let ends = ends
        .iter()
        .all(|c| c.is_some_and(|c| c.is_ascii_alphanumeric()));
    ends && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_key_and_a_value_in_the_syntax_of_kubernetes() {
        let owned = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(
            parse_label("headgate.dev/proxy=true"),
            owned("headgate.dev/proxy", "true")
        );
        assert_eq!(parse_label("app="), owned("app", ""));
        let long = format!("app={}", "a".repeat(64));
        for bad in ["", "app", "=true", "a b=c", "app=a b", "app=-a", &long] {
            let refused = parse_label(bad).unwrap_err();
            assert!(refused.contains("headgate.dev/proxy=true"), "{refused}");
        }
    }

    #[test]
    fn each_kind_of_name_has_the_syntax_of_kubernetes() {
        let long = "a".repeat(64);
        let longer = "a".repeat(181);
        for (text, namespace, name, key) in [
            ("headgate", true, true, true),
            ("team-1", true, true, true),
            ("eu.headgate-1", false, true, true),
            ("example.com/model", false, false, true),
            ("Model_Name", false, false, true),
            (long.as_str(), false, true, false),
            (longer.as_str(), false, false, false),
            ("", false, false, false),
            ("-a", false, false, false),
            ("a-", false, false, false),
            ("a..b", false, false, true),
            ("a.-b", false, false, true),
            ("a b", false, false, false),
        ] {
            let parsed = [
                parse_namespace(text).is_ok(),
                parse_name(text).is_ok(),
                parse_label_key(text).is_ok(),
            ];
            assert_eq!(parsed, [namespace, name, key], "{text:?}");
        }
        let refused = parse_name("A").unwrap_or_else(|why| why);
        assert!(refused.contains("not an object name"), "{refused}");
    }
}
