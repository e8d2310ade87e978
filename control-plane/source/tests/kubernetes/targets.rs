//! `targetRefs` of policies on objects of a cluster: one row each.

use std::time::Duration;

use headgate_contract::{PolicySpec as _, TokenBucketPolicySpec};
use headgate_model::{LabelKeys, Objects, Plan, PolicyId, Registry, Scales, plan};
use headgate_source::cluster::Options;
use headgate_testkit::kube::deployment as workload;
use serde_json::{Value, json};

use super::cluster::*;

const POOLS: &str = "inference.networking.k8s.io";

/// A policy that is attached to an object, optionally to one version.
fn attached(name: &str, kind: &str, to: &str, version: Option<&str>) -> Value {
    let mut made = policy(name, 1);
    made["spec"]["buckets"][0]["name"] = name.into();
    let mut target = json!({"kind": kind, "name": to});
    if let Some(version) = version {
        target["sectionName"] = version.into();
    }
    made["spec"]["targetRefs"] = json!([target]);
    made
}

fn selecting(kind: &str, name: &str, app: &str) -> Value {
    match kind {
        "Service" => json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"name": name},
            "spec": {"selector": {"app": app}, "ports": [{"port": 80}]},
        }),
        _ => json!({
            "apiVersion": format!("{POOLS}/v1"), "kind": kind, "metadata": {"name": name, "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": app}}, "targetPorts": [{"number": 8000}]},
        }),
    }
}

fn planned(objects: &Objects) -> Plan {
    let registry = Registry::build(objects, &LabelKeys::default());
    plan(&registry, objects, &Scales::default())
}

/// The models of a policy in the filter configuration, with versions unless it applies to all; else the reason.
fn applied_rules(plan: &Plan, name: &str) -> String {
    let id = PolicyId {
        kind: TokenBucketPolicySpec::KIND,
        namespace: "default".into(),
        name: name.into(),
    };
    let rules = plan.namespaces.get("default");
    let rules = rules.into_iter().flat_map(|view| &view.config.buckets);
    let mine: Vec<String> = rules
        .filter(|rule| rule.policy == format!("default/{name}"))
        .map(|rule| {
            let models = rule.models.iter().flatten().map(ToString::to_string);
            let versions = rule.versions.iter().flatten().map(|v| format!("@{v}"));
            models.chain(versions).collect()
        })
        .collect();
    let Some(outcome) = plan.policies.get(&id) else {
        return "unknown".to_owned();
    };
    let resolved = &outcome.resolved;
    if resolved.holds {
        return mine.join(" ");
    }
    format!(
        "{}{}: {}",
        mine.join(" "),
        resolved.reason,
        resolved.message
    )
}

#[tokio::test]
async fn a_policy_attached_to_an_object_applies_to_its_models_and_versions() {
    let cluster = Cluster::start().await;
    for (model, name, version) in [
        ("llama", "llama-one", "one"),
        ("llama", "llama-two", "two"),
        ("phi", "phi-one", "one"),
        ("gemma", "gemma-one", "one"),
    ] {
        cluster.apply(workload(model, name, version, 1)).await;
    }
    // A carrier, and Services without labels.
    let mut labelled = selecting("Service", "gemma", "gemma-one");
    labelled["metadata"]["labels"] = json!({"model-name": "gemma", "model-version": "one"});
    cluster.apply(labelled).await;
    for (name, app) in [
        ("front", "phi-one"),
        ("two", "llama-two"),
        ("gemma-too", "gemma-one"),
        ("stray", "nobody"),
    ] {
        cluster.apply(selecting("Service", name, app)).await;
    }
    let nothing = |kind: &str, name: &str| {
        format!(
            "MatchesNothing: matches no model: spec.targetRefs[0]: no {kind} {name} carries a model in namespace default: correct the name, or label the object with its model. \
             Declared models: gemma, llama, phi"
        )
    };
    // The policy, its target and the expected models.
    let rows = [
        ("service-labelled", "Service", "gemma", None, "gemma".to_owned()),
        ("service-unlabelled", "Service", "front", None, "phi".to_owned()),
        ("service-before-a-service", "Service", "gemma-too", None, "gemma".to_owned()),
        ("service-of-a-version", "Service", "two", Some("two"), "llama@two".to_owned()),
        ("service-of-nobody", "Service", "stray", None, nothing("Service", "stray")),
        ("deployment", "Deployment", "phi-one", None, "phi".to_owned()),
        ("deployment-of-a-version", "Deployment", "llama-one", Some("two"), "llama@two".to_owned()),
        ("deployment-behind-a-service", "Deployment", "gemma-one", None, "gemma".to_owned()),
        ("deployment-that-is-not-there", "Deployment", "lama", None, nothing("Deployment", "lama")),
        (
            "version-that-is-not-there",
            "Deployment",
            "phi-one",
            Some("nine"),
            "MatchesNothing: matches no model: spec.targetRefs[0].sectionName: no model of Deployment phi-one has version nine: write a declared version, or remove `sectionName`".to_owned(),
        ),
        ("pool", "InferencePool", "phi", None, nothing("InferencePool", "phi")),
        ("pool-of-a-version", "InferencePool", "llama", Some("one"), nothing("InferencePool", "llama")),
    ];
    for (name, kind, to, version, _) in &rows {
        cluster.apply(attached(name, kind, to, *version)).await;
    }
    let options = Options {
        absent_retry: Duration::from_millis(200),
        ..Options::default()
    };
    let mut source = Source::start(&cluster.client().await, options.clone()).await;
    let pools = format!("inferencepools.{POOLS}");
    assert!(source.state().watches[&pools].absent);
    for (name, _, _, _, expected) in &rows {
        let as_expected = |observed: &headgate_model::Observed| {
            let applied_rules = applied_rules(&planned(&observed.objects), name);
            (applied_rules == *expected).then_some(())
        };
        source
            .until(&format!("{name}: {expected}"), as_expected)
            .await;
    }

    // The kind is installed, then its objects are created.
    cluster
        .apply(crd(POOLS, "inferencepools", "InferencePool"))
        .await;
    let established = format!("wait --for=condition=Established --timeout=60s crd/{pools}");
    cluster.kubectl(&established).await;
    cluster
        .apply(selecting("InferencePool", "phi", "phi-one"))
        .await;
    cluster
        .apply(selecting("InferencePool", "llama", "llama-two"))
        .await;
    for (name, expected) in [("pool", "phi"), ("pool-of-a-version", "llama@one")] {
        let as_expected = |observed: &headgate_model::Observed| {
            (applied_rules(&planned(&observed.objects), name) == expected).then_some(())
        };
        source
            .until(&format!("{name}: {expected}"), as_expected)
            .await;
    }
    // A model at zero keeps its limits.
    cluster.kubectl("scale deploy/phi-one --replicas=0").await;
    source
        .carrier("deployment/phi-one", |c| c.pods.is_empty())
        .await;
    cluster
        .kubectl("wait --for=delete pod -l app=phi-one --timeout=60s")
        .await;
    let empty = Source::start(&cluster.client().await, options.clone()).await;
    for name in ["pool", "service-unlabelled", "deployment"] {
        assert_eq!(applied_rules(&planned(&empty.now().objects), name), "phi");
    }
    cluster.kubectl("delete inferencepool phi").await;
    source
        .until("the pool to be gone", |observed| {
            let applied_rules = applied_rules(&planned(&observed.objects), "pool");
            applied_rules.starts_with("MatchesNothing").then_some(())
        })
        .await;
    source
        .wait_until_equal_to_a_new_source(&cluster.client().await, &options)
        .await;
}
