//! Names as Kubernetes allows them: what a flag is given is refused where it is typed, not by an API server later.

/// A namespace. Namespaces reach the names of clusters and virtual hosts, so they are what Kubernetes allows.
pub(crate) fn parse_namespace(text: &str) -> Result<String, String> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if text.len() <= 63 && is_word(text, inner) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is no namespace: write 1-63 lower-case letters, digits or '-'"
        ))
    }
}

/// The longest name of an object that is taken: what is made of one, with more before it, has a name too.
const LONGEST: usize = 180;

/// An object's name: a Lease, a ServiceAccount, a replica.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let parts = || text.split('.');
    if text.len() <= LONGEST && parts().all(|part| is_word(part, inner)) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is no name of an object: write 1-{LONGEST} lower-case letters, digits, '-' or '.', as for the name of a pod"
        ))
    }
}

/// A label's key: `name`, or `prefix/name`.
pub(super) fn parse_label_key(text: &str) -> Result<String, String> {
    let sound = |part: &str, most: usize, also: &[u8]| {
        let inner = |c: u8| c.is_ascii_alphanumeric() || also.contains(&c);
        part.len() <= most && is_word(part, inner)
    };
    let (prefix, name) = text.rsplit_once('/').unwrap_or(("none", text));
    if sound(prefix, 253, b".-") && sound(name, 63, b".-_") {
        return Ok(text.to_owned());
    }
    Err(
        "write a label's key as Kubernetes allows it: `model-name`, or `example.com/model-name`"
            .to_owned(),
    )
}

/// Whether it begins and ends with a letter or digit, and has nothing but these in between.
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
    fn each_kind_of_name_is_what_kubernetes_takes() {
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
            let taken = [
                parse_namespace(text).is_ok(),
                parse_name(text).is_ok(),
                parse_label_key(text).is_ok(),
            ];
            assert_eq!(taken, [namespace, name, key], "{text:?}");
        }
        let refused = parse_name("A").unwrap_or_else(|why| why);
        assert!(refused.contains("no name of an object"), "{refused}");
    }
}
