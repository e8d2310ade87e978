//! Hosts that a ServedModel names and that are ignored: the finding says why, and which change helps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixtures;

use std::collections::BTreeMap;

use fixtures::{MODEL, carrier, model_id, objects};
use headgate_model::{
    HostRules, LabelKeys, ModelRecord, Plan, Registry, Scales, Severity, plan, reason,
};

/// A plan of model `llama` in `default`, whose ServedModel has this host.
fn with_host(host: &str) -> Plan {
    let mut cluster = objects([carrier("a", "v1")]);
    let mut record = ModelRecord::default();
    record.spec.hosts = vec![host.to_owned()];
    let key = ("default".to_owned(), model_id(MODEL));
    cluster.served_models.insert(key, record);
    let domains = [
        ("default", "*.ai.example"),
        ("other", "*.team.ai.example"),
        ("third", "gone.ai.example"),
    ];
    let hosts = HostRules {
        cluster_domain: Some("cluster.local".to_owned()),
        domains: BTreeMap::from(domains.map(|(n, d)| (n.to_owned(), vec![d.to_owned()]))),
    };
    let registry = Registry::build(&cluster, &LabelKeys::default()).in_mesh(hosts, false);
    plan(&registry, &cluster, &Scales::default())
}

/// The hosts of `default`, and the messages about them.
fn hosts_and_messages(host: &str) -> (Vec<String>, Vec<String>) {
    let plan = with_host(host);
    let findings = plan
        .findings
        .iter()
        .filter(|f| f.reason == reason::HOST_IGNORED);
    let messages = findings.map(|finding| {
        assert_eq!(finding.severity, Severity::Warning);
        finding.message.clone()
    });
    (
        plan.namespaces["default"].config.hosts.clone(),
        messages.collect(),
    )
}

#[test]
fn a_host_within_a_domain_of_the_namespace_counts() {
    let (hosts, messages) = hosts_and_messages("Llama.ai.example.");
    assert_eq!(hosts, ["*.ai.example", "llama.ai.example"]);
    assert_eq!(messages, [""; 0]);
}

#[test]
fn a_host_outside_of_the_domains_is_ignored_until_a_domain_names_it() {
    for host in ["llama.example", "llama.team.ai.example"] {
        let (hosts, messages) = hosts_and_messages(host);
        assert_eq!(hosts, ["*.ai.example"]);
        let [message] = &messages[..] else {
            panic!("{messages:?}")
        };
        assert!(
            message.contains(&format!("Start Headgate with --domain default={host}, or remove the host: kubectl edit servedmodel llama -n default")),
            "{message}"
        );
    }
}

/// No further `--domain` makes them count.
#[test]
fn a_service_and_a_domain_of_another_namespace_must_be_removed_from_the_hosts() {
    for (host, why) in [
        ("llama.default.svc.cluster.local", "it names a Service"),
        ("gone.ai.example", "it is a --domain of namespace third"),
    ] {
        let (hosts, messages) = hosts_and_messages(host);
        assert_eq!(hosts, ["*.ai.example"]);
        let [message] = &messages[..] else {
            panic!("{messages:?}")
        };
        assert!(message.contains(why), "{message}");
        assert!(
            message.contains("Remove the host: kubectl edit servedmodel llama -n default"),
            "{message}"
        );
        assert!(!message.contains("Start Headgate"), "{message}");
    }
}
