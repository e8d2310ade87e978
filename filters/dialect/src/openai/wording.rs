//! The bodies of errors and of the list of models.

use crate::dialect::Refusal;
use crate::json::push_string;

/// `{"error":{"message","type","param","code"}}`
pub(super) fn error(refusal: &Refusal<'_>) -> Vec<u8> {
    let kind = match (refusal.status, refusal.unit) {
        (429, Some(unit)) => unit,
        (500.., _) => "server_error",
        _ => "invalid_request_error",
    };
    let mut out = Vec::with_capacity(96 + refusal.message.len());
    out.extend_from_slice(b"{\"error\":{\"message\":");
    push_string(&mut out, refusal.message);
    out.extend_from_slice(b",\"type\":");
    push_string(&mut out, kind);
    out.extend_from_slice(b",\"param\":");
    match refusal.param {
        Some(param) => push_string(&mut out, param),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"code\":");
    push_string(&mut out, refusal.code);
    out.extend_from_slice(b"}}");
    out
}

/// `{"object":"list","data":[…]}`
pub(crate) fn models(names: &mut dyn Iterator<Item = &str>) -> Vec<u8> {
    let mut out = b"{\"object\":\"list\",\"data\":[".to_vec();
    for (i, name) in names.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_model(&mut out, name);
    }
    out.extend_from_slice(b"]}");
    out
}

/// `{"id","object":"model","created","owned_by"}`
pub(crate) fn model(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_model(&mut out, name);
    out
}

/// `created` is 0: the configuration has no date of creation.
fn push_model(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"{\"id\":");
    push_string(out, name);
    out.extend_from_slice(b",\"object\":\"model\",\"created\":0,\"owned_by\":\"headgate\"}");
}
