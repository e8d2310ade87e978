//! `GET /v1/models` and `GET /v1/models/{model}`: the models of the plan, in the dialect of the path.
//!
//! `HEAD` is answered alike: the proxy leaves out the body.

use headgate_dialect::Dialect;

use crate::compiled::Namespace;
use crate::effects::Reply;
use crate::endpoint;
use crate::headers::Headers;
use crate::refusal::Refusal;

/// The list: every id, and every other name that clients may write, in the order of the ids. If the path names a model, by
/// its id or by another name, that model under this name.
///
/// # Errors
/// The model is not in the plan.
pub(crate) fn reply(
    namespace: &Namespace,
    dialect: &Dialect,
    headers: &Headers,
) -> Result<Reply, Box<Refusal>> {
    let model = endpoint::model_of(headers.get(":path").unwrap_or_default());
    let body = if model.is_empty() {
        dialect.model_list(&mut names(namespace))
    } else if namespace.model(&model).is_some() {
        dialect.model(&model)
    } else {
        return Err(Refusal::ModelNotFound { model }.into());
    };
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
