//! Small snapshots, and handwritten requests.

use std::sync::Arc;

use headgate_xds::session::{Request, SubscriptionUpdate};
use headgate_xds::{Kind, Resource, Snapshot};

use crate::common::{resource, snapshot};

pub(crate) const ROUTE: [(Kind, &str); 1] = [(Kind::Route, "r")];

pub(crate) fn cluster(name: &str, text: &str) -> [Resource; 2] {
    [
        resource(Kind::Cluster, name, text, &[]),
        resource(Kind::Endpoints, name, "e", &[]),
    ]
}

pub(crate) fn route(text: &str, clusters: &[&str]) -> Resource {
    resource(Kind::Route, "r", text, clusters)
}

pub(crate) fn snapshot_of(
    clusters: &[(&str, &str)],
    rest: impl IntoIterator<Item = Resource>,
) -> Arc<Snapshot> {
    snapshot(
        clusters
            .iter()
            .flat_map(|(name, text)| cluster(name, text))
            .chain(rest),
    )
}

pub(crate) fn replace(kind: Kind, nonce: &str, names: &[&str]) -> Request {
    let names = names.iter().map(|s| (*s).to_owned()).collect();
    let subscription = SubscriptionUpdate::Replace {
        names,
        version_info: String::new(),
    };
    Request {
        kind,
        nonce: nonce.to_owned(),
        error: None,
        subscription,
    }
}

pub(crate) fn subscribe(kind: Kind, nonce: &str, names: &[&str]) -> Request {
    let subscribe = names.iter().map(|s| (*s).to_owned()).collect();
    let subscription = SubscriptionUpdate::Change {
        subscribe,
        unsubscribe: Vec::new(),
        initial_versions: Vec::new(),
    };
    Request {
        kind,
        nonce: nonce.to_owned(),
        error: None,
        subscription,
    }
}

pub(crate) fn routes(a: &str, b: &str) -> Arc<Snapshot> {
    snapshot([
        resource(Kind::Route, "a", a, &[]),
        resource(Kind::Route, "b", b, &[]),
    ])
}
