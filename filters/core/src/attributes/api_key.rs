//! The API key of a request.

use crate::facts::{invalid, single};
use crate::headers::Headers;
use crate::refusal::Refusal;

/// The headers of an API key, and whether the key comes after a scheme.
const KEY_HEADERS: [(&str, bool); 3] = [
    ("authorization", true),
    ("x-api-key", false),
    ("api-key", false),
];

/// The API key. The filter does not know which of the headers the server reads, so all of them must agree.
///
/// # Errors
/// There are several keys that differ.
pub(super) fn of(headers: &Headers) -> Result<Option<&[u8]>, Box<Refusal>> {
    let mut found = None;
    for (name, scheme) in KEY_HEADERS {
        let Some(value) = single(headers, name)? else {
            continue;
        };
        let key = if scheme { bearer(value) } else { Some(value) };
        let key = key.map(<[u8]>::trim_ascii).filter(|key| !key.is_empty());
        match (found, key) {
            (Some(before), Some(key)) if before != key => {
                return Err(invalid(name, "the only API key, or the same as the others"));
            }
            (None, key) => found = key,
            _ => {}
        }
    }
    Ok(found)
}

/// The token after the scheme `Bearer` (RFC 6750), in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_a_bearer_token_is_in_any_case() {
        assert_eq!(bearer(b"Bearer k"), Some(&b"k"[..]));
        assert_eq!(bearer(b"bEARER k"), Some(&b"k"[..]));
        assert_eq!(bearer(b"Basic a2V5"), None);
        assert_eq!(bearer(b"Bear"), None);
    }
}
