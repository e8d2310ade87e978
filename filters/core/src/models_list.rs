//! `GET /v1/models`: what the plan serves, in OpenAI's list shape.

use crate::compiled::Namespace;
use crate::effects::Reply;

/// The list: every id, and every other name clients may write, in order of the ids.
#[must_use]
pub(crate) fn reply(namespace: &Namespace) -> Reply {
    let mut body = String::from("{\"object\":\"list\",\"data\":[");
    let mut first = true;
    for model in namespace.models() {
        for name in std::iter::once(&model.id).chain(&model.names) {
            if !std::mem::take(&mut first) {
                body.push(',');
            }
            body.push_str("{\"id\":");
            push_string(&mut body, name);
            body.push_str(",\"object\":\"model\",\"created\":0,\"owned_by\":\"headgate\"}");
        }
    }
    body.push_str("]}");
    Reply {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.into_bytes(),
        details: "headgate_models",
        grpc: None,
        message: String::new(),
    }
}

/// A JSON string; names may hold anything.
fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
