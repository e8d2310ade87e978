//! The admin port: what people, probes and scrapers ask.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use headgate_source::kubernetes::ApiState;
use headgate_xds::{Fleet, Kind};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::publisher::Published;
use crate::report::{Report, lost, report};
use crate::world::Scopes;

/// What the pages are made from.
#[derive(Clone)]
pub(crate) struct Admin {
    pub published: watch::Receiver<Option<Arc<Published>>>,
    /// How the watches of the Kubernetes API fare, if there is one.
    pub api: Option<watch::Receiver<ApiState>>,
    pub scopes: Scopes,
    pub fleet: Fleet,
    pub metrics: Arc<Metrics>,
    /// True once the process is asked to end.
    pub closing: watch::Receiver<bool>,
}

impl Admin {
    /// The pages.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/syncz", get(syncz))
            .route("/config_dump", get(config_dump))
            .route("/metrics", get(metrics))
            .route("/readyz", get(readyz))
            .route("/livez", get(async || "ok\n"))
            .route("/version", get(version))
            .with_state(self)
    }

    fn report(&self) -> Report {
        let published = self.published.borrow().clone();
        let mut report = report(published.as_deref(), &self.scopes, &self.fleet.proxies());
        let api = self.api.as_ref().map(|api| api.borrow().clone());
        report.problems.splice(0..0, api.as_ref().and_then(lost));
        report
    }
}

async fn index() -> &'static str {
    "headgate control plane\n\n\
     /syncz        each proxy: wanted, acked, nacked and why; each model: weights wanted and acked (JSON)\n\
     /config_dump  the filter configuration and every resource of each scope (JSON)\n\
     /metrics      Prometheus\n\
     /readyz       200 once the source was read, 503 before and while ending\n\
     /livez        200 while the process answers\n\
     /version      version (JSON)\n"
}

async fn syncz(State(admin): State<Admin>) -> Json<Report> {
    Json(admin.report())
}

async fn config_dump(State(admin): State<Admin>) -> Json<Value> {
    let published = admin.published.borrow().clone();
    let filters = published.map(|p| {
        let namespaces = p.plan.namespaces.iter();
        namespaces
            .map(|(name, view)| (name.clone(), json!(view.config)))
            .collect::<serde_json::Map<_, _>>()
    });
    let scopes: serde_json::Map<_, _> = admin
        .scopes
        .view()
        .into_iter()
        .map(|(scope, view)| {
            let resources = view.snapshot.as_deref().map(resources);
            (scope, json!({ "resources": resources }))
        })
        .collect();
    Json(json!({ "filterConfig": { "namespaces": filters }, "scopes": scopes }))
}

/// Name, version and size of every resource, by type.
pub(crate) fn resources(snapshot: &headgate_xds::Snapshot) -> Value {
    let by_type = Kind::PUSH_ORDER.into_iter().map(|kind| {
        let list: Vec<Value> = snapshot
            .of(kind)
            .map(|r| json!({ "name": r.name(), "version": r.version(), "bytes": r.body().len() }))
            .collect();
        (
            kind.as_str().to_owned(),
            json!({ "version": snapshot.version(kind), "resources": list }),
        )
    });
    Value::Object(by_type.collect())
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.render(&admin.report()) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    if *admin.closing.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "ending\n").into_response();
    }
    if admin.published.borrow().is_none() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "the source was not read yet\n",
        )
            .into_response();
    }
    "ok\n".into_response()
}

async fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}
