//! `/logging`: shows and changes the log level at run time.

use axum::extract::{Query, State};
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
pub(super) async fn change(State(admin): State<Admin>, Query(change): Query<Change>) -> Response {
    match admin.log_level.set(&change.level) {
        Ok(()) => {
            let level = admin.log_level.current();
            tracing::info!(level, "log level changed");
            format!("{level}\n").into_response()
        }
        Err(why) => (StatusCode::BAD_REQUEST, format!("level: {why}\n")).into_response(),
    }
}
