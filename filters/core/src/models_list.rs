//! `GET /v1/models`: what the plan serves, in OpenAI's list shape.

use headgate_dialect::push_json_string;

use crate::compiled::Namespace;
use crate::effects::Reply;

/// The list: every id, and every other name clients may write, in order of the ids.
#[must_use]
pub(crate) fn reply(namespace: &Namespace) -> Reply {
    let mut body = b"{\"object\":\"list\",\"data\":[".to_vec();
    let mut first = true;
    for model in namespace.models() {
        for name in std::iter::once(&model.id).chain(&model.names) {
            if !std::mem::take(&mut first) {
                body.push(b',');
            }
            body.extend_from_slice(b"{\"id\":");
            push_json_string(&mut body, name);
            body.extend_from_slice(
                b",\"object\":\"model\",\"created\":0,\"owned_by\":\"headgate\"}",
            );
        }
    }
    body.extend_from_slice(b"]}");
    Reply {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body,
        details: "headgate_models",
        grpc: None,
        message: String::new(),
    }
}
