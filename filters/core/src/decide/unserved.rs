//! Requests that no model serves: refused, answered from the plan, or passed on unchanged. They are rare, and kept out of
//! the common path.

use headgate_contract::{Role, names};
use headgate_dialect::Dialect;

use super::{Decider, Decision};
use crate::compiled::{Model, Namespace, Place};
use crate::endpoint::Class;
use crate::labels::{Labels, UNKNOWN};
use crate::limit::Denied;
use crate::models_list;
use crate::outcome::{RefusedRequest, refuse_unknown};
use crate::refusal::Refusal;
use crate::tags;
use crate::vm::Vm;

impl Decider<'_> {
    /// Refuses the request. Looks up the facts that logs and statistics need.
    #[cold]
    pub(super) fn denied(
        &self,
        vm: &mut Vm,
        namespace: &Namespace,
        denied: &Denied,
        labels: Labels<'_>,
        body_model: Option<&str>,
    ) -> Decision {
        let headers = self.request.headers;
        let header = headers
            .text(names::HEADER_MODEL)
            .filter(|name| !name.is_empty());
        let body = self.request.body.and_then(|body| body.model.as_deref());
        let body = self.request.names.model.as_deref().or(body);
        let name = match self.config.role {
            Role::Decide => body.or(body_model).or(header),
            Role::Follow => header.or(body),
        };
        let model = name.and_then(|name| namespace.model(name));
        let rules = model.map_or(&namespace.rest, |model| &model.rules);
        let refused = RefusedRequest {
            labels: Labels {
                model: model.map_or(UNKNOWN, |model| &*model.id),
                ..labels
            },
            namespace: Some(&namespace.name),
            model: model.map_or(name, |model| Some(&*model.id)),
            tenant: self
                .tenant(&rules.tagging, &self.attributes(None))
                .unwrap_or_default(),
            tagging: Some(&*rules.tagging),
        };
        refused.refuse(
            denied,
            self.request.class.dialect(),
            headers,
            &mut vm.tenants,
        )
    }

    /// The refusal of a method, an operation, a path or an origin.
    #[cold]
    pub(super) fn not_served(&self) -> Box<Refusal> {
        let text = |name| {
            let value = self.request.headers.get(name).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        Box::new(match self.request.class {
            Class::WrongMethod { allow } => Refusal::MethodNotAllowed {
                allow,
                path: text(":path"),
            },
            Class::Unlisted(operation) => Refusal::OperationNotAllowed {
                operation: operation.name,
            },
            Class::Unknown { .. } => Refusal::PathUnknown {
                path: text(":path"),
            },
            _ => Refusal::OriginNotAllowed {
                origin: text("origin"),
            },
        })
    }

    /// Decides a request to a virtual host of Headgate whose namespace this configuration does not have.
    #[cold]
    pub(super) fn no_namespace(&self, vm: &mut Vm) -> Decision {
        if self.tagging {
            let refusal = Refusal::NoNamespace.into();
            let dialect = self.request.class.dialect();
            return refuse_unknown(refusal, dialect, self.request.headers, &mut vm.tenants);
        }
        unmetered()
    }

    /// Answers a request for the list of models, or for one model.
    #[cold]
    pub(super) fn models(
        &self,
        namespace: &Namespace,
        dialect: &Dialect,
        labels: Labels<'_>,
    ) -> Result<Decision, Box<Denied>> {
        if !self.tagging {
            return Ok(Decision::Pass(Vec::new()));
        }
        let reply = models_list::reply(namespace, dialect, self.request.names)?;
        Ok(Decision::Reply(vec![labels.count("listed")], reply.into()))
    }

    /// Passes the request on. A hop that decides removes the tags of the client, except on a host that serves no model.
    #[cold]
    pub(super) fn pass(&self) -> Decision {
        let mut effects = Vec::new();
        if self.tagging {
            effects = tags::strip(self.request.headers);
        }
        // The host is looked up only where it matters.
        if !effects.is_empty() && matches!(self.place(), Place::Elsewhere) {
            effects.clear();
        }
        Decision::Pass(effects)
    }

    /// Passes a request on whose body may name a model and is not read.
    #[cold]
    pub(super) fn pass_unread(&self) -> Decision {
        let mut decision = self.pass();
        if let Decision::Pass(effects) = &mut decision {
            effects.push(Labels::default().count("unmetered"));
        }
        decision
    }

    /// The refusal of a request that names no model.
    #[cold]
    pub(super) fn model_missing(&self) -> Box<Refusal> {
        Box::new(match self.request.class {
            Class::Unknown { .. } => {
                let path = self.request.headers.get(":path").unwrap_or_default();
                Refusal::PathUnknown {
                    path: String::from_utf8_lossy(path).into_owned(),
                }
            }
            class => Refusal::ModelMissing {
                in_body: class.reads_body() && class.names_model(),
            },
        })
    }
}

/// Passes a request on that no rule applies to, untouched.
#[cold]
pub(crate) fn unmetered() -> Decision {
    Decision::Pass(vec![Labels::default().count("unmetered")])
}

/// Whether both are the same model of the plan.
pub(super) fn same_model(a: Option<&Model>, b: Option<&Model>) -> bool {
    a.zip(b).is_some_and(|(a, b)| a.id == b.id)
}

#[cold]
pub(super) fn model_mismatch(body: &str, header: &str) -> Box<Refusal> {
    Box::new(Refusal::ModelDisagrees {
        body: body.into(),
        header: header.into(),
    })
}

#[cold]
pub(super) fn not_found(name: &str) -> Box<Refusal> {
    Box::new(Refusal::ModelNotFound { model: name.into() })
}

#[cold]
pub(super) fn not_ready(model: &Model) -> Box<Refusal> {
    Box::new(Refusal::ModelNotReady {
        model: model.id.to_string(),
    })
}
