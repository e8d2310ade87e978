//! Options of `headgate status`, and what follows from them for its output.

use std::time::SystemTime;

use super::{Credentials, HostPort, screen};
use crate::output::Format;
use crate::view::near;
use crate::view::options::RenderOptions;
use crate::{Query, Report, seconds};

/// Options of `headgate status`.
#[derive(Debug, Clone)]
pub struct StatusOptions {
    /// Admin addresses of the control planes.
    pub hosts: Vec<HostPort>,
    /// What the client presents to them.
    pub credentials: Credentials,
    /// The models to show.
    pub query: Query,
    /// Whether to follow changes until a signal.
    pub watch: bool,
    /// Output format.
    pub format: Format,
}

/// The options of the text.
pub(super) fn render_options(options: &StatusOptions) -> RenderOptions {
    RenderOptions {
        now: seconds(SystemTime::now()),
        width: screen::width(),
        detailed: options.query.model.is_some(),
        wide: options.format == Format::Wide,
    }
}

/// The message on a query that selects no model, with similar names.
pub(super) fn unknown_model(query: &Query, everything: &Report) -> String {
    let names = everything.models.iter().flat_map(|model| {
        let names = model.names.iter().cloned();
        names.chain([model.id()]).collect::<Vec<_>>()
    });
    let names: Vec<String> = names.collect();
    let place = match &query.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => String::new(),
    };
    let Some(model) = &query.model else {
        return format!("no model is declared{place}; `headgate status` lists all models");
    };
    match near::near(model, names.iter().map(String::as_str)).as_slice() {
        [] => {
            format!("no model {model:?} is declared{place}; `headgate status` lists all models")
        }
        near => format!(
            "no model {model:?} is declared{place}: did you mean {}?",
            near.join(" or ")
        ),
    }
}
