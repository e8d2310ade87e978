//! `GET /v1/models` and `GET /v1/models/{model}`: what the plan serves, in OpenAI's shapes.
//!
//! The same answers `HEAD`, where the proxy leaves out the body.

use headgate_dialect::push_json_string;

use crate::compiled::Namespace;
use crate::effects::Reply;
use crate::endpoint;
use crate::headers::Headers;
use crate::refusal::Refusal;

/// The list: every id, and every other name clients may write, in order of the ids. Of a path that names a
/// model, by its id or another name: that model, under the name asked for.
///
/// # Errors
/// A model that is not in the plan.
pub(crate) fn reply(namespace: &Namespace, headers: &Headers) -> Result<Reply, Box<Refusal>> {
    let asked = endpoint::model_of(headers.get(":path").unwrap_or_default());
    let mut body = Vec::new();
    if asked.is_empty() {
        body.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
        for (i, name) in names(namespace).enumerate() {
            if i > 0 {
                body.push(b',');
            }
            push_model(&mut body, name);
        }
        body.extend_from_slice(b"]}");
    } else if namespace.model(&asked).is_some() {
        push_model(&mut body, &asked);
    } else {
        return Err(Refusal::ModelNotFound { model: asked }.into());
    }
    Ok(Reply {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body,
        details: "headgate_models",
        grpc: None,
        message: String::new(),
    })
}

fn names(namespace: &Namespace) -> impl Iterator<Item = &str> {
    namespace.models().iter().flat_map(|model| {
        let others = model.names.iter().map(String::as_str);
        std::iter::once(&*model.id).chain(others)
    })
}

/// The model object. A plan knows no date of creation.
fn push_model(body: &mut Vec<u8>, name: &str) {
    body.extend_from_slice(b"{\"id\":");
    push_json_string(body, name);
    body.extend_from_slice(b",\"object\":\"model\",\"created\":0,\"owned_by\":\"headgate\"}");
}
