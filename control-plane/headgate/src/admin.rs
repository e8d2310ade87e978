//! The admin server: status, metrics, probes, and the log level.

mod access;
mod listener;
mod logging;
mod observe;
mod problem_log;
mod report_cache;
mod rows;
mod syncz;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use headgate_identity::ServerIdentity;
use headgate_istio::MeshState;
use headgate_kubernetes::faults::Faults;
use headgate_kubernetes::health::ApiState;
use headgate_kubernetes::tokens::TokenReviewer;
use headgate_model::LabelKeys;
use headgate_publisher::Published;
use headgate_publisher::SnapshotStore;
use headgate_report::metrics::{Metrics, Port};
use headgate_report::{
    AgeSample, AgeTracker, ProblemReport, Query, Report, ReportInput, problem_of, report, seconds,
};
use headgate_writer::Peers;
use headgate_xds::{Fleet, Kind, Loads};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::logging::LogLevel;

pub(crate) use self::listener::{AdminPort, Client};
pub(crate) use self::observe::observe;
pub(crate) use self::problem_log::log_problems;

/// Everything that the pages show.
#[derive(Clone)]
pub(crate) struct Admin {
    /// The last publication; `None` before the first one.
    pub published: watch::Receiver<Option<Arc<Published>>>,
    /// Health of the watches of the Kubernetes API, if there is one.
    pub api: Option<watch::Receiver<ApiState>>,
    /// Failing writes.
    pub faults: Faults,
    /// The replicas that share the Lease, if this one does.
    pub peers: Option<Peers>,
    /// The routes of versions in a mesh, with `--istio`.
    pub mesh: Option<watch::Receiver<MeshState>>,
    /// Label keys.
    pub keys: LabelKeys,
    /// The snapshots of all scopes.
    pub scopes: SnapshotStore,
    /// The connected proxies.
    pub fleet: Fleet,
    /// Their load reports.
    pub loads: Loads,
    /// The metrics of this process.
    pub metrics: Arc<Metrics>,
    /// True once the process is shutting down.
    pub shutting_down: watch::Receiver<bool>,
    /// Ages of labels and weights.
    pub ages: StatusAges,
    /// The log filter.
    pub log_level: LogLevel,
    /// The certificate of the xDS port; `None` if it speaks plaintext.
    pub identity: Option<watch::Receiver<ServerIdentity>>,
    /// The certificate of the admin port; `None` if it speaks plaintext.
    pub admin_identity: Option<watch::Receiver<ServerIdentity>>,
    /// Checks the tokens of clients on other machines, with `--admin-tokens`.
    pub tokens: Option<Arc<TokenReviewer>>,
    /// Patterns of SPIFFE ids of clients that may use every page.
    pub identities: Vec<String>,
}

/// Ages of labels and weights, and the start time of the process.
#[derive(Clone)]
pub(crate) struct StatusAges {
    pub started: SystemTime,
    tracker: Arc<Mutex<AgeTracker>>,
}

impl Default for StatusAges {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            tracker: Arc::default(),
        }
    }
}

impl Admin {
    /// The routes.
    pub(crate) fn router(self) -> Router {
        let syncz = syncz::Syncz::new(self.clone(), syncz::MAX_WAITERS);
        let syncz = Router::new()
            .route("/syncz", get(syncz::syncz))
            .with_state(Arc::new(syncz));
        // `route_layer` covers the routes before it only.
        let guard = access::Guard::new(self.tokens.clone(), self.identities.clone());
        let guard = from_fn_with_state(guard, access::guard);
        Router::new()
            .route("/config_dump", get(config_dump))
            .route("/logging", post(logging::change))
            .route_layer(guard)
            .route("/", get(index))
            .route("/metrics", get(metrics))
            .route("/readyz", get(readyz))
            .route("/livez", get(async || "ok\n"))
            .route("/healthz", get(async || "ok\n"))
            .route("/version", get(version))
            .route("/logging", get(logging::show))
            .with_state(self)
            .merge(syncz)
    }

    /// Records the ages of a publication, and returns all ages.
    fn record(&self, published: &Published) -> std::sync::MutexGuard<'_, AgeTracker> {
        let tracker = self.ages.tracker.lock();
        let mut tracker = tracker.unwrap_or_else(PoisonError::into_inner);
        tracker.record(&AgeSample {
            publication: published.number,
            objects: &published.observed.objects,
            keys: &self.keys,
            plan: &published.plan,
            at: seconds(published.began),
        });
        tracker
    }

    /// Problems of the Kubernetes API and of writes.
    fn state_problems(&self) -> impl Iterator<Item = ProblemReport> {
        let api = self.api.as_ref().map(|api| api.borrow().clone());
        let problems = api.as_ref().map_or_else(Vec::new, rows::api_problems);
        let faults = self.faults.now();
        let mesh = self
            .mesh
            .as_ref()
            .map(|mesh| mesh.borrow().findings.clone());
        let mesh = mesh.unwrap_or_default();
        let mesh: Vec<_> = mesh.iter().map(problem_of).collect();
        problems
            .into_iter()
            .chain(rows::write_problems(faults))
            .chain(mesh)
    }

    fn report(&self, query: &Query) -> Report {
        let published = self.published.borrow().clone();
        let api = self.api.as_ref().map(|api| api.borrow().clone());
        let no_ages = AgeTracker::default();
        let ages = published.as_deref().map(|published| self.record(published));
        let peers = self.peers.as_ref().map(Peers::now).unwrap_or_default();
        let input = ReportInput {
            started: seconds(self.ages.started),
            shutting_down: *self.shutting_down.borrow(),
            published: published.as_deref(),
            replica: self.peers.as_ref().map(|peers| peers.own().to_owned()),
            peers: peers.into_iter().map(rows::peer).collect(),
            api: api.as_ref().map(rows::api),
            problems: self.state_problems().collect(),
            keys: &self.keys,
            ages: ages.as_deref().unwrap_or(&no_ages),
            scopes: &self.scopes,
            proxies: &self.fleet.proxies(),
            reporters: &self.loads.reporters(SystemTime::now()),
        };
        report(&input, query)
    }
}

async fn index() -> &'static str {
    "headgate control plane\n\n\
     /syncz        status: models, proxies, policies and problems (JSON)\n\
     \x20             ?model=ID&namespace=NS selects models; ?wait=SECONDS with If-None-Match answers after the next change\n\
     /config_dump  filter configuration and resources of each scope (JSON)\n\
     /metrics      metrics (OpenMetrics text)\n\
     /readyz       200 after the first complete read of the source and with a certificate, if the xDS port needs one; a line for each Kubernetes kind that cannot be read;\n\
     \x20             503 before that and during shutdown. `headgate status` shows all problems\n\
     /livez        200 while the process answers; /healthz is the same\n\
     /version      version (JSON)\n\
     /logging      log level; POST ?level=debug changes it\n\n\
     /config_dump and POST /logging are for clients on loopback; with --admin-tokens, also for those with a bearer token; with\n\
     --admin-identity, also for those with such a certificate\n"
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
    let ports = [
        (Port::Xds, &admin.identity),
        (Port::Admin, &admin.admin_identity),
    ];
    for (port, identity) in ports {
        let identity = identity.as_ref().map(watch::Receiver::borrow);
        if let Some((identity, at)) = identity.and_then(|i| i.validity.map(|v| (i, v.not_after))) {
            let id = identity.spiffe_id.as_deref().unwrap_or_default();
            admin.metrics.certificate_expires(port, id, at);
        }
    }
    match admin.metrics.render(&admin.report(&Query::default())) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    if *admin.shutting_down.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    let api = admin.api.as_ref().map(|api| api.borrow().clone());
    let is_read = admin.published.borrow().is_some();
    // Without a certificate every proxy would be refused, while another replica may have one.
    let identity = admin.identity.as_ref();
    let can_connect = identity.is_none_or(|identity| identity.borrow().config.is_some());
    let is_ready = is_read && can_connect;
    let mut body = String::from(if is_ready { "ok\n" } else { "" });
    if !is_read {
        body += "the first read of the source is not complete\n";
    }
    if !can_connect {
        body += "the xDS port has no certificate yet\n";
    }
    if let Some(api) = api {
        if let Some((watch, lost)) = api.unreachable() {
            body += &format!(
                "the Kubernetes API does not answer: {watch}: {}\n",
                lost.message
            );
        }
        for (kind, _, lost) in api.unread() {
            body += &format!("{kind} cannot be read: {}\n", lost.message);
        }
    }
    let code = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, body).into_response()
}

async fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}
