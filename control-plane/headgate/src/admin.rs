//! The admin port: what people, probes and scrapers ask.

mod report_cache;
mod rows;
mod waiting;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use headgate_kubernetes::faults::Faults;
use headgate_kubernetes::health::ApiState;
use headgate_model::LabelKeys;
use headgate_writer::Peers;
use headgate_xds::{Fleet, Kind, Loads};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::metrics::Metrics;
use headgate_publisher::Published;
use headgate_publisher::SnapshotStore;
use headgate_report::{Asked, Known, Look, Report, Sightings, report, seconds};

/// What the pages are made from.
#[derive(Clone)]
pub(crate) struct Admin {
    pub published: watch::Receiver<Option<Arc<Published>>>,
    /// How the watches of the Kubernetes API fare, if there is one.
    pub api: Option<watch::Receiver<ApiState>>,
    /// What cannot be written to it.
    pub faults: Faults,
    /// The replicas that share its Lease, if it writes there.
    pub peers: Option<Peers>,
    /// The keys of the labels.
    pub keys: LabelKeys,
    pub scopes: SnapshotStore,
    pub fleet: Fleet,
    pub loads: Loads,
    pub metrics: Arc<Metrics>,
    /// True once the process is asked to end.
    pub closing: watch::Receiver<bool>,
    /// Since when what is as it is.
    pub seen: Seen,
}

/// The sightings of this process, and when it started.
#[derive(Clone)]
pub(crate) struct Seen {
    started: SystemTime,
    sightings: Arc<Mutex<Sightings>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            sightings: Arc::default(),
        }
    }
}

impl Admin {
    /// The pages.
    pub(crate) fn router(self) -> Router {
        tokio::spawn(self.clone().look());
        let syncz = waiting::Syncz::new(self.clone(), waiting::WAITERS);
        let syncz = Router::new()
            .route("/syncz", get(waiting::syncz))
            .with_state(Arc::new(syncz));
        Router::new()
            .route("/", get(index))
            .route("/config_dump", get(config_dump))
            .route("/metrics", get(metrics))
            .route("/readyz", get(readyz))
            .route("/livez", get(async || "ok\n"))
            .route("/version", get(version))
            .with_state(self)
            .merge(syncz)
    }

    /// Looks at every publication, so that ages are right also of what nobody asked for at the time.
    async fn look(mut self) {
        loop {
            let published = self.published.borrow_and_update().clone();
            if let Some(published) = published {
                drop(self.note(&published));
            }
            if self.published.changed().await.is_err() {
                return;
            }
        }
    }

    fn note(&self, published: &Published) -> std::sync::MutexGuard<'_, Sightings> {
        let sightings = self.seen.sightings.lock();
        let mut sightings = sightings.unwrap_or_else(PoisonError::into_inner);
        sightings.note(&Look {
            publication: published.number,
            objects: &published.observed.objects,
            keys: &self.keys,
            plan: &published.plan,
            at: seconds(published.began),
        });
        sightings
    }

    fn report(&self, asked: &Asked) -> Report {
        let published = self.published.borrow().clone();
        let api = self.api.as_ref().map(|api| api.borrow().clone());
        let nothing = Sightings::default();
        let seen = published.as_deref().map(|published| self.note(published));
        let unwritten = self.faults.now();
        let peers = self.peers.as_ref().map(Peers::now).unwrap_or_default();
        let problems = api.as_ref().map_or_else(Vec::new, rows::of_api).into_iter();
        let known = Known {
            started: seconds(self.seen.started),
            ending: *self.closing.borrow(),
            published: published.as_deref(),
            replica: self.peers.as_ref().map(|peers| peers.own().to_owned()),
            peers: peers.into_iter().map(rows::peer).collect(),
            api: api.as_ref().map(rows::api),
            problems: problems.chain(rows::unwritten(&unwritten)).collect(),
            keys: &self.keys,
            seen: seen.as_deref().unwrap_or(&nothing),
            scopes: &self.scopes,
            proxies: &self.fleet.proxies(),
            reporters: &self.loads.reporters(SystemTime::now()),
        };
        report(&known, asked)
    }
}

async fn index() -> &'static str {
    "headgate control plane\n\n\
     /syncz        each model: labels seen, weights planned, acked by each proxy; each proxy and policy (JSON)\n\
     \x20             ?model=ID&namespace=NS: of these models; ?wait=SECONDS with If-None-Match: once it changes\n\
     /config_dump  the filter configuration and every resource of each scope (JSON)\n\
     /metrics      Prometheus\n\
     /readyz       200 once the source has been read, with a line for each Kubernetes kind that cannot be read;\n\
     \x20             503 before that and during shutdown. To see every problem: headgate status\n\
     /livez        200 while the process answers\n\
     /version      version (JSON)\n"
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
    match admin.metrics.render(&admin.report(&Asked::default())) {
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
    let api = admin.api.as_ref().map(|api| api.borrow().clone());
    let read = admin.published.borrow().is_some();
    let mut said = String::from(if read {
        "ok\n"
    } else {
        "the source has not been read yet\n"
    });
    if let Some(api) = api {
        if let Some((watch, lost)) = api.away() {
            said += &format!(
                "the Kubernetes API does not answer: {watch}: {}\n",
                lost.message
            );
        }
        for (kind, _, lost) in api.unread() {
            said += &format!("{kind} cannot be read: {}\n", lost.message);
        }
    }
    let code = if read {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, said).into_response()
}

async fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}
