//! Holds that log lines name their fields alike: the table in the documentation has every name that the code logs, and no other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use headgate_test_arrows::log_fields::{documented, logged, logged_below};
use headgate_test_arrows::sources::{Line, lines};

#[test]
fn the_table_of_log_fields_is_what_the_control_plane_logs() {
    let lines = lines().expect("the repository's files");
    let logged = logged_below(&lines, "control-plane/").unwrap_or_else(|error| panic!("{error}"));
    assert!(logged.contains_key("node") && logged.contains_key("suppressed"));
    // It is the name of the text of the line, which `tracing` sets itself.
    assert!(!logged.contains_key("message"), "{:?}", logged["message"]);
    let in_page = |line: &Line| line.file.ends_with("docs/operations.md");
    let page: Vec<Line> = lines.into_iter().filter(in_page).collect();
    let documented = documented(&page, "## Logs");
    let missing = logged
        .iter()
        .filter(|(name, _)| !documented.contains(*name));
    let missing: Vec<_> = missing.collect();
    let names: BTreeSet<&String> = logged.keys().collect();
    let unused = documented.iter().filter(|name| !names.contains(name));
    let unused: Vec<_> = unused.collect();
    assert!(
        missing.is_empty() && unused.is_empty(),
        "missing {missing:?}, unused {unused:?}"
    );
}

#[test]
fn fields_are_found_in_every_form() {
    let text = r#"
        fn f() {
            tracing::warn!(node, %error, took_ms = a.b(1, 2), "a message, with commas");
            tokio::select! { () = x => tracing::info!(parent: &span, "name", finding.reason, ?wait) }
            let span = tracing::info_span!("watch", namespace);
            other::warn!(not_logged);
            macro_rules! line { ($level:ident) => { tracing::$level!(object, $message) } }
        }
    "#;
    let fields = logged(text).unwrap();
    let expected = [
        vec!["node", "error", "took_ms"],
        vec!["reason", "wait"],
        vec!["namespace"],
        vec!["object"],
    ];
    assert_eq!(fields, expected);
}
