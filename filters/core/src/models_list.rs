//! `GET /v1/models` and `GET /v1/models/{model}`: the models of the plan, in the dialect of the path.
//!
//! `HEAD` is answered alike: the proxy leaves out the body.

use headgate_dialect::Dialect;

use crate::compiled::Namespace;
use crate::effects::Reply;
use crate::endpoint::PathNames;
use crate::refusal::Refusal;

/// The list: every id, and every other name that clients may write, in the order of the ids. If the path names a model, by
/// its id or by another name, that model under this name.
///
/// # Errors
/// The model is not in the plan.
pub(crate) fn reply(
    namespace: &Namespace,
    dialect: &Dialect,
    names: &PathNames,
) -> Result<Reply, Box<Refusal>> {
    let body = match names.model.as_deref() {
        None => dialect.model_list(&mut all_names(namespace)),
        Some(model) if namespace.model(model).is_some() => dialect.model(model),
        Some(model) => {
            let model = model.to_owned();
            return Err(Refusal::ModelNotFound { model }.into());
        }
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

fn all_names(namespace: &Namespace) -> impl Iterator<Item = &str> {
    namespace.models().iter().flat_map(|model| {
        let others = model.names.iter().map(String::as_str);
        std::iter::once(&*model.id).chain(others)
    })
}
