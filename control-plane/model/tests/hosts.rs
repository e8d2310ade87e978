//! The hosts whose requests are for the models of a namespace: Services, `--domain` and `spec.hosts`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixtures;

use fixtures::*;
use headgate_contract::ModelId;
use headgate_model::{
    Carrier, HostRules, LabelKeys, MeshPort, MeshService, ModelRecord, Objects, Plan, Registry,
    Scales, plan, reason,
};

/// A model in a namespace, behind Services of these names.
fn behind(namespace: &str, services: &[&str]) -> Carrier {
    let mut carrier = carrier(namespace, "v1").namespace(namespace);
    let service = |name: &&str| MeshService {
        name: (*name).to_owned(),
        ports: vec![MeshPort {
            number: 80,
            target: 8000,
            http: true,
        }],
        headless: name.starts_with("headless"),
        selects_all: true,
    };
    carrier.mesh.services = services.iter().map(service).collect();
    carrier
}

/// Two namespaces with a model each. The first one's `ServedModel` has these hosts.
fn declaring(hosts: &[&str]) -> Objects {
    let mut objects = objects([
        behind("team-a", &["llama", "headless-llama"]),
        behind("team-b", &["phi"]),
    ]);
    let mut record = ModelRecord::default();
    record.spec.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    let id = ModelId::try_from(MODEL).unwrap();
    objects
        .served_models
        .insert(("team-a".to_owned(), id), record);
    objects
}

fn in_mesh(objects: &Objects, domains: &[(&str, &[&str])]) -> Plan {
    let domains = domains.iter().map(|(namespace, domains)| {
        let domains = domains.iter().map(|domain| (*domain).to_owned());
        ((*namespace).to_owned(), domains.collect())
    });
    let rules = HostRules {
        cluster_domain: Some("cluster.local".to_owned()),
        domains: domains.collect(),
    };
    let registry = Registry::build(objects, &LabelKeys::default()).in_mesh(rules, false);
    plan(&registry, objects, &Scales::default())
}

fn hosts<'a>(plan: &'a Plan, namespace: &str) -> Vec<&'a str> {
    let hosts = plan.namespaces[namespace].config.hosts.iter();
    hosts.map(String::as_str).collect()
}

const LLAMA: &str = "llama.team-a.svc.cluster.local";

#[test]
fn the_hosts_of_a_namespace_are_its_services_and_its_domains() {
    let domains: &[(&str, &[&str])] = &[
        ("team-a", &["*.a.example", "ai.example"]),
        ("team-b", &["*"]),
        ("team-c", &["c.example"]),
    ];
    let plan = in_mesh(&declaring(&[]), domains);
    assert_eq!(hosts(&plan, "team-a"), ["*.a.example", "ai.example", LLAMA]);
    assert_eq!(
        hosts(&plan, "team-b"),
        ["*", "phi.team-b.svc.cluster.local"]
    );
    assert!(!plan.namespaces.contains_key("team-c"), "it has no model");
}

#[test]
fn a_domain_cannot_be_a_service() {
    let phi = "phi.team-b.svc.cluster.local";
    let plan = in_mesh(
        &declaring(&[]),
        &[("team-a", &[phi, "*.svc.cluster.local"])],
    );
    assert_eq!(hosts(&plan, "team-a"), [LLAMA]);
    assert_eq!(hosts(&plan, "team-b"), [phi]);
}

#[test]
fn a_host_of_a_served_model_counts_within_the_domains_of_its_namespace() {
    let domains: &[(&str, &[&str])] = &[("team-a", &["*.a.example"]), ("team-b", &["*"])];
    for host in ["llama.a.example", "LLAMA.a.example.", "x.llama.a.example"] {
        let plan = in_mesh(&declaring(&[host]), domains);
        let normal = host.trim_end_matches('.').to_ascii_lowercase();
        let mut expected = ["*.a.example", &normal, LLAMA];
        expected.sort_unstable();
        assert_eq!(hosts(&plan, "team-a"), expected);
        assert_eq!(plan.findings, [], "{host}");
    }
}

#[test]
fn a_refused_host_is_reported_with_what_helps() {
    let domains: &[(&str, &[&str])] = &[
        ("team-a", &["*.a.example"]),
        ("team-b", &["*.b.a.example", "b.example"]),
    ];
    let edit = "kubectl edit servedmodel llama -n team-a";
    for (host, why, fix) in [
        (
            "other.example",
            "no `--domain` contains it",
            "Start Headgate with --domain team-a=other.example, or remove the host: ",
        ),
        // A longer domain of another namespace.
        (
            "x.b.a.example",
            "another namespace has a longer `--domain`",
            "Start Headgate with --domain team-a=x.b.a.example, or remove the host: ",
        ),
        (
            "b.example",
            "another namespace has it",
            "Start Headgate without --domain team-b=b.example, or remove the host: ",
        ),
        // The Service of another namespace, its own, and one that does not exist: no flag helps.
        (
            "phi.team-b.svc.cluster.local",
            "it names a Service",
            ". Remove the host: ",
        ),
        (LLAMA, "it names a Service", ". Remove the host: "),
        (
            "Payments.shop.SVC.cluster.local.",
            "it names a Service",
            ". Remove the host: ",
        ),
    ] {
        let plan = in_mesh(&declaring(&[host]), domains);
        assert_eq!(hosts(&plan, "team-a"), ["*.a.example", LLAMA], "{host}");
        let [finding] = &plan.findings[..] else {
            panic!("{host}: {:?}", plan.findings);
        };
        assert_eq!(finding.reason, reason::HOST_IGNORED);
        let message = &finding.message;
        assert!(message.contains(why), "{message}");
        assert!(message.contains(&format!("{fix}{edit}")), "{message}");
    }
}

#[test]
fn without_a_mesh_there_are_no_hosts() {
    let objects = declaring(&["other.example"]);
    let plan = planned(&objects);
    assert_eq!(hosts(&plan, "team-a"), [""; 0]);
    assert_eq!(plan.findings, []);
}
