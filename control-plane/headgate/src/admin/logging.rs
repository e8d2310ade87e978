//! `/logging`: shows and changes the log level at run time. Only clients on loopback may change it.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Admin;

/// Parameters of a change.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    /// A level or filter directives, as for `--log`.
    level: String,
}

/// Shows the current filter.
pub(super) async fn show(State(admin): State<Admin>) -> String {
    format!("{}\n", admin.log_level.current())
}

/// Changes the filter.
pub(super) async fn change(
    State(admin): State<Admin>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Query(change): Query<Change>,
) -> Response {
    if !client.ip().to_canonical().is_loopback() {
        let why = "the log level can be changed from loopback only: use `kubectl port-forward` or `kubectl exec`\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    match admin.log_level.set(&change.level) {
        Ok(()) => {
            let level = admin.log_level.current();
            tracing::info!(level, "log level changed");
            format!("{level}\n").into_response()
        }
        Err(why) => (StatusCode::BAD_REQUEST, format!("level: {why}\n")).into_response(),
    }
}
