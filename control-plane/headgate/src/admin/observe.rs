//! Observation of publications and of the source: ages, publication metrics, and errors of the source.

use std::collections::{BTreeMap, BTreeSet};

use headgate_kubernetes::health::ApiState;
use headgate_report::metrics::FILES;

use super::Admin;

/// Observes until the publisher ends. Ages and metrics must not depend on whether somebody queries the status.
pub(crate) async fn observe(mut admin: Admin) {
    if let Some(api) = admin.api.clone() {
        tokio::spawn(count_api_errors(admin.clone(), api));
    }
    let mut last = 0;
    let mut known = BTreeSet::new();
    loop {
        let published = admin.published.borrow_and_update().clone();
        if let Some(published) = published.filter(|published| published.number > last) {
            last = published.number;
            drop(admin.record(&published));
            admin.metrics.published(published.took);
            let problems = published.observed.problems.iter();
            let problems: BTreeSet<String> = problems.map(ToString::to_string).collect();
            for _ in problems.difference(&known) {
                admin.metrics.source_failed(FILES);
            }
            known = problems;
        }
        if admin.published.changed().await.is_err() {
            return;
        }
    }
}

/// Counts each failure of a watch once, however long it lasts.
async fn count_api_errors(admin: Admin, mut api: tokio::sync::watch::Receiver<ApiState>) {
    let mut failing: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let state = api.borrow_and_update().clone();
        let mut now = BTreeMap::new();
        for (name, watch) in &state.watches {
            admin.metrics.expect_source(name);
            if let Some(lost) = &watch.lost {
                now.insert(name.clone(), lost.message.clone());
            }
        }
        for (name, _) in now
            .iter()
            .filter(|(name, why)| failing.get(*name) != Some(why))
        {
            admin.metrics.source_failed(name);
        }
        failing = now;
        if api.changed().await.is_err() {
            return;
        }
    }
}
