//! The load generator: every response is recorded, failures included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use headgate_testkit::client::{
    Job, Load, LoadOptions, LoadReport, OpenAiRequest, Outcome, Sample,
};
use headgate_testkit::mock_model::{MockModel, MockOptions};

const SOON: Duration = Duration::from_secs(20);

/// Ten sessions; every fifth request is answered with 429.
fn job(server: &str, n: u64) -> Job {
    let status = if n % 5 == 4 { "429" } else { "200" };
    Job {
        session: format!("s{}", n % 10),
        request: OpenAiRequest::chat("m")
            .header("x-mock-status", status)
            .to(server),
    }
}

#[tokio::test]
async fn every_response_is_recorded_and_connections_are_kept_alive() {
    let model = MockModel::start(MockOptions::new("m", "v1")).await.unwrap();
    let url = model.url();
    let load = Load::start(LoadOptions::new(3, move |n| job(&url, n)));
    load.wait_for(200, SOON).await.unwrap();
    let seen = load.len();
    load.wait_for(10, SOON).await.unwrap();
    assert!(load.since(seen).samples.len() >= 10);
    let report = load.stop().await;

    assert!(
        report.other_than(&[200, 429]).is_empty(),
        "{:?}",
        report.outcomes()
    );
    assert_eq!(report.samples.len() as u64, model.stats().requests);
    assert_eq!(report.count(200) + report.count(429), report.samples.len());
    assert_eq!(report.other_than(&[200]).len(), report.count(429));
    let share = report.count(429) as f64 / report.samples.len() as f64;
    assert!((share - 0.2).abs() < 0.02, "{share}");
    let sessions: BTreeSet<_> = report.samples.iter().map(|s| &s.session).collect();
    assert_eq!(sessions.len(), 10);
    assert!(report.latency(0.5) <= report.latency(1.0));
    assert!(report.flips().is_empty());
}

#[tokio::test]
async fn a_stopped_server_shows_as_failures_in_the_record() {
    let model = MockModel::start(MockOptions::new("m", "v1")).await.unwrap();
    let url = model.url();
    let mut options = LoadOptions::new(2, move |n| job(&url, n));
    options.pause = Duration::from_millis(1);
    let load = Load::start(options);
    load.wait_for(20, SOON).await.unwrap();
    model.stop().await;
    let from = load.len();
    load.wait_for(20, SOON).await.unwrap();
    let after = load.since(from);
    assert!(
        after.samples.iter().any(
            |sample| matches!(&sample.outcome, Outcome::Failed(why) if why.contains("refused"))
        ),
        "{:?}",
        after.outcomes()
    );
    assert!(!load.stop().await.other_than(&[200, 429]).is_empty());
}

#[test]
fn a_report_takes_versions_from_successful_responses_only() {
    let sample = |session: &str, status: u16, version: &str, millis: u64| Sample {
        sent: Duration::ZERO,
        latency: Duration::from_millis(millis),
        session: session.into(),
        outcome: Outcome::Status(status),
        version: Some(version.into()),
        served_by: None,
        detail: String::new(),
    };
    let report = LoadReport {
        samples: vec![
            sample("a", 200, "v1", 1),
            sample("b", 200, "v1", 2),
            sample("a", 429, "v2", 3),
            sample("b", 200, "v2", 4),
        ],
    };
    let flips: Vec<_> = report.flips().into_keys().collect();
    assert_eq!(flips, ["b"]);
    let pass: Vec<_> = report.assignments().into_iter().collect();
    assert_eq!(
        pass,
        [("a".into(), "v1".into()), ("b".into(), "v2".to_owned())]
    );
    let ranks = [0.0, 0.25, 0.5, 0.51, 1.0].map(|q| report.latency(q).as_millis());
    assert_eq!(ranks, [1, 1, 2, 3, 4]);
    assert_eq!(LoadReport::default().latency(0.5), Duration::ZERO);
}
