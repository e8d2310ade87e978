//! Object names of models. Model ids may contain characters that object names may not.
//!
//! Invariant: different ids have different names, because an id that is not a valid name gets a suffix of its hash.

use headgate_contract::ModelId;
use sha2::{Digest as _, Sha256};

/// The name of a model's `ServedModel`: its id if that is a valid name; else the id in lower case, with `-` for characters that are not
/// allowed, and 8 hex digits of its SHA-256.
#[must_use]
pub fn object_name(id: &ModelId) -> String {
    if is_name(id.as_str()) {
        return id.as_str().to_owned();
    }
    hashed(id, id.as_str())
}

/// The alternative name, for the case that another installation has an object of the first name.
pub fn alternative_name(id: &ModelId, controller: &str) -> String {
    hashed(id, &format!("{controller}/{id}"))
}

fn hashed(id: &ModelId, of: &str) -> String {
    let lower = id.as_str().to_ascii_lowercase();
    let bytes = lower.as_bytes();
    let plain = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(u8::is_ascii_alphanumeric)
    };
    let allowed = |(at, c): (usize, char)| match c {
        // A dot must be between letters or digits.
        '.' if plain(at.checked_sub(1)) && plain(Some(at + 1)) => '.',
        c if c.is_ascii_alphanumeric() => c,
        _ => '-',
    };
    let name: String = lower.char_indices().map(allowed).collect();
    let hash = Sha256::digest(of.as_bytes());
    let hex: String = hash.iter().take(4).map(|b| format!("{b:02x}")).collect();
    format!("{name}-{hex}")
}

/// Whether a text is a valid object name: an RFC 1123 subdomain. (An id has at most 63 characters, a name 253.)
fn is_name(text: &str) -> bool {
    text.split('.').all(|label| {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let ends = [label.as_bytes().first(), label.as_bytes().last()];
        label.bytes().all(allowed)
            && ends
                .into_iter()
                .all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_not_a_name_is_distinguished_by_its_hash() {
        let name = |id: &str| object_name(&ModelId::try_from(id).unwrap());
        assert_eq!(name("llama3-70b"), "llama3-70b");
        assert_eq!(name("qwen2.5-7b"), "qwen2.5-7b");
        assert_eq!(
            name("Qwen2.5-7B"),
            format!("qwen2.5-7b-{}", hex("Qwen2.5-7B"))
        );
        assert_eq!(name("a_b"), format!("a-b-{}", hex("a_b")));
        assert_eq!(name("a..b"), format!("a--b-{}", hex("a..b")));
        assert_eq!(name("a-.b"), format!("a--b-{}", hex("a-.b")));
        assert_ne!(name("A"), name("a"));
        for id in ["a..b", "A_.B", "9_-.x"] {
            assert!(is_name(&name(id)), "{}", name(id));
        }
        // As `printf %s A | sha256sum` has it.
        assert_eq!(name("A"), "a-559aead0");
    }

    fn hex(id: &str) -> String {
        let hash = Sha256::digest(id.as_bytes());
        hash.iter().take(4).map(|b| format!("{b:02x}")).collect()
    }
}
