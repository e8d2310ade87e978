//! Writes of `serve --kube`: conditions for `kubectl wait`, and Events for `kubectl describe`, by the leader of several replicas.

use std::time::{Duration, Instant};

use headgate_kubernetes::policies::crds;
use headgate_kubernetes::policies::yaml;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::Kubectl;
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use headgate_writer::Times;
use serde_json::{Value, json};

use crate::cluster::{Cluster, condition, described, events, label, policy, wait, wait_for_field};
use crate::common::SOON;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_waits_until_every_proxy_has_a_policy_and_shows_why_it_is_not_programmed() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    // Stored before the definition forbade it, as by an older release.
    let open = open_definition();
    kubectl.apply(&open).await.unwrap();
    let bad = policy("bad", 1000, "").replace("capacity: 1000", "capacity: -1");
    eventually(SOON, "a definition that takes anything", async || {
        kubectl.apply(&bad).await
    })
    .await
    .unwrap();
    let definitions = yaml(&crds().unwrap()).unwrap();
    kubectl.apply_crds(&definitions).await.unwrap();

    let _server = cluster.serve("a", &[]).await;
    kubectl
        .apply(&policy("fair", 1000, "models: [llama],"))
        .await
        .unwrap();
    wait(&kubectl, "tbp/fair", "Accepted").await;
    wait(&kubectl, "tbp/fair", "ResolvedRefs").await;
    wait(&kubectl, "tbp/fair", "Programmed=Unknown").await;
    let reason = condition(&kubectl, "tbp/fair", "Programmed", "reason").await;
    assert_eq!(reason, "NoProxies");

    let proxies = [
        AutoAckProxy::connect("p", _server.xds).unwrap(),
        AutoAckProxy::connect("q", _server.xds).unwrap(),
    ];
    wait(&kubectl, "tbp/fair", "Programmed").await;
    let message = ["Programmed", "message"];
    let expected = "2 of 2 proxies have it; spent apart by 2 proxies: each has its own buckets";
    wait_for_field(&kubectl, "tbp/fair", message, expected).await;

    // The winning policy, the matched models, and the wrong field.
    kubectl.apply(&policy("late", 2000, "")).await.unwrap();
    wait(&kubectl, "tbp/late", "Accepted=False").await;
    let why = condition(&kubectl, "tbp/late", "Accepted", "message").await;
    assert!(
        why.contains("default/fair") && why.contains("spec.buckets[0]"),
        "{why}"
    );
    kubectl
        .apply(&policy("typo", 2000, "models: [lama],"))
        .await
        .unwrap();
    wait(&kubectl, "tbp/typo", "ResolvedRefs=False").await;
    let why = condition(&kubectl, "tbp/typo", "ResolvedRefs", "message").await;
    assert!(
        why.contains("matches no model") && why.contains("spec.models[0]"),
        "{why}"
    );
    described(
        &kubectl,
        "tbp/typo",
        "MatchesNothing",
        &["Warning", "spec.models[0]"],
    )
    .await;
    wait(&kubectl, "tbp/bad", "Accepted=False").await;
    let why = condition(&kubectl, "tbp/bad", "Accepted", "message").await;
    assert!(why.contains("spec.buckets[0].tokens.capacity"), "{why}");
    described(
        &kubectl,
        "tbp/bad",
        "Unreadable",
        &["spec.buckets[0].tokens.capacity"],
    )
    .await;

    // An edit that one proxy rejects is not programmed, and the condition has the message of the proxy.
    proxies[1].nack_type(type_url::EXTENSION);
    kubectl
        .apply(&policy("fair", 3000, "models: [llama],"))
        .await
        .unwrap();
    wait_for_field(&kubectl, "tbp/fair", message, "1 of 2 proxies have it").await;
    assert_eq!(
        condition(&kubectl, "tbp/fair", "Programmed", "reason").await,
        "Reconciling"
    );
    let observed = condition(&kubectl, "tbp/fair", "Programmed", "observedGeneration").await;
    assert_eq!(observed, "2");
    let line = described(&kubectl, "tbp/fair", "RefusedByProxy", &["headgate status"]).await;
    assert!(line.contains("the proxy does not want it"), "{line}");
    // Without that proxy, all connected proxies have the policy.
    let [_stays, goes] = proxies;
    drop(goes);
    wait_for_field(&kubectl, "tbp/fair", message, "1 of 1 proxies have it").await;
}

/// The definition of bucket policies, without its schema.
pub(crate) fn open_definition() -> String {
    let definitions = crds().unwrap();
    let mut named = definitions.iter();
    let buckets = named.find(|definition| definition.spec.names.kind == "TokenBucketPolicy");
    let mut definition = json!(buckets.unwrap());
    let version = &mut definition["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"] = json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    });
    definition.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_of_a_canary_and_each_refused_label_is_an_event_with_the_command_to_run() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let _server = cluster.serve("a", &[]).await;
    let command = |weight: &str| {
        format!("kubectl label deployment/v2 -n default canary-weight={weight} --overwrite")
    };
    let (ten, hundred, zero) = (command("10"), command("100"), command("0"));
    described(
        &kubectl,
        "deploy/v2",
        "VersionHeld",
        &[
            "Normal",
            "version two of model llama takes no new sessions, because it has no weight and deployment default/v1 is the base",
            &ten,
        ],
    )
    .await;
    label(&kubectl, "10").await;
    described(
        &kubectl,
        "deploy/v2",
        "CanaryStarted",
        &["Normal", "takes 10 % of new sessions", &hundred, &zero],
    )
    .await;
    label(&kubectl, "100").await;
    described(
        &kubectl,
        "deploy/v2",
        "Promoted",
        &["takes 100 % of new sessions", &zero],
    )
    .await;
    described(
        &kubectl,
        "deploy/v1",
        "Drained",
        &["a promoted version takes its place"],
    )
    .await;
    label(&kubectl, "0").await;
    described(
        &kubectl,
        "deploy/v2",
        "Drained",
        &["because its weight is 0", &ten],
    )
    .await;

    // Refused twice: one Event with a count.
    for (count, weight) in [(1, "7"), (2, "8")] {
        label(&kubectl, "lots").await;
        eventually(SOON, "the refusal to be counted", async || {
            let found = events(&kubectl, "v2", "InvalidWeight").await;
            let [event] = found.as_slice() else {
                return Err(format!("{found:?}"));
            };
            // The API has a series if there was more than one.
            let counted = event["series"]["count"].as_i64().unwrap_or(1);
            (counted == count).then_some(()).ok_or(event.to_string())
        })
        .await
        .unwrap();
        // An Event about the valid label shows that the control plane read it.
        label(&kubectl, weight).await;
        let takes = format!("takes {weight} % of new sessions");
        described(&kubectl, "deploy/v2", "CanaryStarted", &[&takes]).await;
    }
    described(
        &kubectl,
        "deploy/v2",
        "InvalidWeight",
        &["Warning", "(x2 over", "\"lots\"", &ten],
    )
    .await;
    let shown = kubectl.run(["get", "events"]).await.unwrap();
    assert!(
        shown.contains("deployment/v2") && shown.contains("Promoted"),
        "{shown}"
    );
}

/// The holder of the Lease, without the part that distinguishes processes.
pub(crate) async fn holder(kubectl: &Kubectl) -> String {
    let path = "jsonpath={.spec.holderIdentity}";
    let holder = kubectl.run(["get", "lease", "headgate", "-o", path]).await;
    let holder = holder.unwrap_or_default();
    holder.split('_').next().unwrap_or_default().to_owned()
}

pub(crate) async fn leads(kubectl: &Kubectl, replica: &str, within: Duration) {
    eventually(within, &format!("{replica} to lead"), async || {
        let now = holder(kubectl).await;
        if now == replica { Ok(()) } else { Err(now) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_leader_moves_the_lease_within_its_duration_and_affects_no_proxy() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    const LEASE: Duration = Duration::from_secs(6);
    let lease = ["--lease-duration", "6"];
    let mut first = cluster.serve("first", &lease).await;
    leads(&kubectl, "first", SOON).await;
    let second = cluster.serve("second", &lease).await;
    let here = AutoAckProxy::connect("here", second.xds).unwrap();
    let there = AutoAckProxy::connect("there", first.xds).unwrap();
    second.all_current().await;
    first.all_current().await;
    kubectl.apply(&policy("fair", 1000, "")).await.unwrap();
    wait(&kubectl, "tbp/fair", "Programmed").await;
    let message = ["Programmed", "message"];
    wait_for_field(&kubectl, "tbp/fair", message, "2 of 2 proxies have it").await;
    assert_eq!(holder(&kubectl).await, "first");
    let description = described(&kubectl, "deploy/v2", "VersionHeld", &[]).await;
    let since = second.syncz().await["proxies"][0]["since"].clone();

    first.process.kill().unwrap();
    let killed = Instant::now();
    // The duration of the Lease since the last renewal that the other replica saw, on a busy machine.
    let tries = Times::lasting(LEASE).retry * 2;
    leads(&kubectl, "second", LEASE + tries + Duration::from_secs(1)).await;
    println!(
        "another replica led {:?} after the leader was killed",
        killed.elapsed()
    );
    let leases = kubectl
        .run(["get", "lease", "headgate", "-o", "json"])
        .await;
    let lease: Value = serde_json::from_str(&leases.unwrap()).unwrap();
    assert_eq!(lease["spec"]["leaseTransitions"], 1, "{lease}");

    // It writes statuses and new Events, and repeats none.
    kubectl
        .apply(&policy("typo", 2000, "models: [lama],"))
        .await
        .unwrap();
    wait(&kubectl, "tbp/typo", "ResolvedRefs=False").await;
    label(&kubectl, "10").await;
    described(&kubectl, "deploy/v2", "CanaryStarted", &["10 %"]).await;
    let held_events = events(&kubectl, "v2", "VersionHeld").await;
    assert_eq!(held_events.len(), 1, "one Event: {description}");
    assert!(held_events[0]["series"].is_null(), "{held_events:?}");
    // The proxies of the dead replica count until its counts expire.
    drop(there);
    wait_for_field(&kubectl, "tbp/fair", message, "1 of 1 proxies have it").await;
    let counts = [
        "get",
        "configmaps",
        "-l",
        "headgate.dev/counts-of=headgate",
        "-o",
        "name",
    ];
    eventually(
        SOON * 2,
        "the counts of the dead to be removed",
        async || {
            let now = kubectl.run(counts).await.unwrap();
            if now.trim() == "configmap/headgate-counts-second" {
                Ok(())
            } else {
                Err(now)
            }
        },
    )
    .await
    .unwrap();

    // The proxy of the other replica received only the edits.
    let after = second.all_current().await;
    assert_eq!(after["proxies"][0]["since"], since, "the same stream");
    assert!(here.accepted().contains_key(type_url::EXTENSION));

    // A leader that exits lets the next one lead at once and removes its counts.
    let third = cluster.serve("third", &["--lease-duration", "90"]).await;
    let mut second = second;
    second.process.terminate(SOON).await.unwrap();
    leads(&kubectl, "third", Duration::from_secs(45)).await;
    eventually(SOON, "the counts of who ended to be gone", async || {
        let now = kubectl.run(counts).await.unwrap();
        if now.contains("second") {
            Err(now)
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
    drop(third);
}

/// The problems of `status` about failed writes.
fn unwritten(status: &Value) -> Vec<String> {
    let problems = status["problems"].as_array().into_iter().flatten();
    problems
        .filter(|p| p["reason"] == "KubernetesWrite")
        .map(|p| format!("{}: {}", p["object"].as_str().unwrap(), p["message"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_api_is_away_proxies_are_served_and_missed_writes_follow_later() {
    let mut cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let server = cluster.serve("a", &["--lease-duration", "6"]).await;
    kubectl.apply(&policy("fair", 1000, "")).await.unwrap();
    wait(&kubectl, "tbp/fair", "Programmed=Unknown").await;

    cluster.kube.kill_api().unwrap();
    let away = server
        .until("the writes that fail", |s| {
            let messages = unwritten(s);
            ["leases.coordination.k8s.io", "configmaps"]
                .iter()
                .all(|resource| messages.iter().any(|text| text.starts_with(resource)))
        })
        .await;
    let messages = unwritten(&away).join("\n");
    assert!(
        messages.contains(
            "this replica cannot become the leader, so it writes neither status nor Events"
        ),
        "{messages}"
    );
    let proxy = AutoAckProxy::connect("p", server.xds).unwrap();
    // A proxy counts as current while the server has not read all its subscriptions.
    eventually(SOON, "the filter configuration", async || {
        let taken = proxy.accepted();
        let has = taken.contains_key(type_url::EXTENSION);
        has.then_some(())
            .ok_or_else(|| format!("{:?}", taken.keys()))
    })
    .await
    .unwrap();
    server.all_current().await;
    assert!(proxy.accepted().contains_key(type_url::EXTENSION));

    cluster.kube.start_api().await.unwrap();
    let message = ["Programmed", "message"];
    wait_for_field(&kubectl, "tbp/fair", message, "1 of 1 proxies have it").await;
    label(&kubectl, "10").await;
    described(&kubectl, "deploy/v2", "CanaryStarted", &["10 %"]).await;
    server
        .until("all to be written again", |s| unwritten(s).is_empty())
        .await;
}
