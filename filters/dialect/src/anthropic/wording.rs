//! The bodies of errors and of the list of models.

use crate::dialect::Refusal;
use crate::json::{fill, fill_list};

/// `{"type":"error","error":{"type","message"}}`
pub(super) fn error(refusal: &Refusal<'_>) -> Vec<u8> {
    let kind = match refusal.status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    fill(
        r#"{"type":"error","error":{"type":$,"message":$}}"#,
        &[kind, refusal.message],
    )
}

/// `created_at` is the beginning of Unix time: the configuration has no date of creation.
const MODEL: &str =
    r#"{"type":"model","id":$,"display_name":$,"created_at":"1970-01-01T00:00:00Z"}"#;

/// `{"data":[…],"has_more":false,"first_id","last_id"}`
pub(super) fn models(names: &mut dyn Iterator<Item = &str>) -> Vec<u8> {
    let names: Vec<&str> = names.collect();
    let mut out = fill_list(
        r#"{"data":[$],"has_more":false"#,
        MODEL,
        &mut names.iter().copied(),
    );
    if let [first, ..] = names[..]
        && let [.., last] = names[..]
    {
        out.extend(fill(r#","first_id":$,"last_id":$"#, &[first, last]));
    } else {
        out.extend_from_slice(br#","first_id":null,"last_id":null"#);
    }
    out.push(b'}');
    out
}

pub(super) fn model(name: &str) -> Vec<u8> {
    fill(MODEL, &[name, name])
}
