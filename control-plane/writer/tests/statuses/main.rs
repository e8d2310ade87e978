//! Statuses as `kubectl` shows and awaits them: policies are watched, planned and written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../kubernetes/tests/policies/api_server.rs"]
mod api_server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_kubernetes::faults::Faults;
use headgate_kubernetes::health::WatchHealth;
use headgate_kubernetes::policies::Controller;
use headgate_kubernetes::policies::PolicyCache;
use headgate_model::Observed;
use headgate_model::{LabelKeys, Objects, PolicyId, PolicyOutcome, Registry, Scales, plan};
use headgate_source::files::Reducer;
use headgate_source::files::manifests;
use headgate_source::own_kinds::Options;
use headgate_source::own_kinds::Policies;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kube, Kubectl};
use headgate_writer::counts::PolicyRollup;
use headgate_writer::policies::PolicyState;
use headgate_writer::policies::PolicyStates;
use headgate_writer::policies::write_statuses;
use kube::Client;
use tokio::sync::watch;

use crate::api_server::{file, runtime, start};

/// The shipped models, as the file source reads them.
fn models() -> Objects {
    let mut reducer = Reducer::new("default", LabelKeys::default());
    for path in manifests(file("envoy-config/models").as_ref(), false).unwrap() {
        reducer.apply(&path.to_string_lossy(), &std::fs::read(&path).unwrap(), 0);
    }
    reducer.observe(&Observed::default()).unwrap().objects
}

/// The policy states of a control plane with these counts.
fn policy_states(cache: &PolicyCache, counts: PolicyRollup) -> Arc<PolicyStates> {
    let mut objects = models();
    cache.add_to(&mut objects);
    let registry = Registry::build(&objects, &LabelKeys::default());
    let plan = plan(&registry, &objects, &Scales::default());
    let outcomes = plan.policies.into_iter().chain(cache.invalid.clone());
    let policy_state = |(id, outcome): (PolicyId, PolicyOutcome)| {
        let policy_state = PolicyState {
            uid: cache.stored[&id].uid.clone(),
            outcome,
            counts,
        };
        (id, policy_state)
    };
    Arc::new(outcomes.map(policy_state).collect())
}

/// A small control plane: plans whenever the policies or the counts change.
async fn control(
    mut cache: watch::Receiver<Option<Arc<PolicyCache>>>,
    mut counts: watch::Receiver<PolicyRollup>,
    send: watch::Sender<Arc<PolicyStates>>,
) {
    loop {
        if let Some(cache) = cache.borrow_and_update().as_deref() {
            send.send_replace(policy_states(cache, *counts.borrow_and_update()));
        }
        let changed = tokio::select! { changed = cache.changed() => changed, changed = counts.changed() => changed };
        if changed.is_err() {
            return;
        }
    }
}

/// A replica of the control plane.
struct Replica {
    policies: Policies,
    counts: watch::Sender<PolicyRollup>,
    leading: watch::Sender<bool>,
}

fn replica(kube: &Kube, leads: bool, counts: PolicyRollup) -> Replica {
    replica_by(kube, kube.client(), leads, counts)
}

/// A replica that writes with another client.
fn replica_by(kube: &Kube, writes: Client, leads: bool, counts: PolicyRollup) -> Replica {
    let policies = Policies::start(&kube.client(), &Options::default(), &WatchHealth::default());
    let (states_sender, policy_states) = watch::channel(Arc::default());
    let (counts_sender, receive) = watch::channel(counts);
    tokio::spawn(control(policies.seen(), receive, states_sender));
    let (leading, leads) = watch::channel(leads);
    tokio::spawn(write_statuses(
        writes,
        Controller::default(),
        policy_states,
        policies.seen(),
        leads,
        Faults::default(),
    ));
    Replica {
        policies,
        counts: counts_sender,
        leading,
    }
}

async fn condition(kubectl: &Kubectl, what: &str, kind: &str, field: &str) -> String {
    let path = format!("jsonpath={{.status.conditions[?(@.type==\"{kind}\")].{field}}}");
    kubectl.run(["get", what, "-o", &path]).await.unwrap()
}

async fn wait(kubectl: &Kubectl, what: &str, condition: &str) {
    let condition = format!("--for=condition={condition}");
    let waited = kubectl
        .run(["wait", what, &condition, "--timeout=30s"])
        .await;
    if let Err(why) = waited {
        let now = kubectl.run(["get", what, "-o", "yaml"]).await.unwrap();
        panic!("{why}\n{now}");
    }
}

const TYPO: &str = "
apiVersion: headgate.dev/v1alpha1
kind: TokenBucketPolicy
metadata: {name: typo}
spec: {models: [lama], buckets: [{name: b, key: [], profile: semantic}]}
";

#[test]
fn kubectl_waits_for_the_conditions_of_a_policy_and_shows_their_reasons() {
    runtime().block_on(async {
        let kube = start().await;
        let kubectl = kube.kubectl();
        let policies = file("envoy-config/policies");
        kubectl.run(["apply", "-f", policies.as_str()]).await.unwrap();
        let none = PolicyRollup::default();
        let leader = replica(&kube, true, none);
        // Another replica, with other proxies, that does not lead.
        let other = replica(&kube, false, PolicyRollup { connected: 7, acked: 0 });
        wait(&kubectl, "tbp/tenant-budget", "Accepted").await;
        wait(&kubectl, "tbp/tenant-budget", "ResolvedRefs").await;
        wait(&kubectl, "tbp/tenant-budget", "Programmed=Unknown").await;
        wait(&kubectl, "ttp/default", "Accepted").await;

        kubectl.apply(TYPO).await.unwrap();
        let written = Instant::now();
        wait(&kubectl, "tbp/typo", "ResolvedRefs=False").await;
        println!("a policy's first status, from kubectl apply: {:?}", written.elapsed());
        let why = condition(&kubectl, "tbp/typo", "Programmed", "message").await;
        assert!(why.contains("matches no model: spec.models[0]: no carrier declares model lama: correct the id, or label a workload with it. Declared models: gpt-4, llama3-70b, phi-3"), "{why}");

        // Counts change often; they are written at most every ten seconds, the newest last.
        for acked in 0..=3 {
            leader.counts.send_replace(PolicyRollup { connected: 3, acked });
        }
        wait(&kubectl, "tbp/tenant-budget", "Programmed").await;
        let message = condition(&kubectl, "tbp/tenant-budget", "Programmed", "message").await;
        let apart = "spent apart by 3 proxies: each has its own buckets";
        assert_eq!(message, format!("3 of 3 proxies have it; {apart}"));
        let table = kubectl.run(["get", "tbp", "tenant-budget"]).await.unwrap();
        let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..3], ["tenant-budget", "True", "True"]);

        // The fix is one edit; `observedGeneration` names it.
        kubectl.apply(&TYPO.replace("lama", "phi-3")).await.unwrap();
        wait(&kubectl, "tbp/typo", "ResolvedRefs").await;
        assert_eq!(condition(&kubectl, "tbp/typo", "Accepted", "observedGeneration").await, "2");

        // The other replica takes over.
        leader.leading.send_replace(false);
        other.leading.send_replace(true);
        wait(&kubectl, "tbp/tenant-budget", "Programmed=False").await;
        let message = condition(&kubectl, "tbp/tenant-budget", "Programmed", "message").await;
        assert_eq!(message, "0 of 7 proxies have it");
        drop((leader.policies, other.policies));
    });
}

#[test]
fn the_api_server_refuses_the_status_of_a_deleted_policy_for_a_recreated_one() {
    runtime().block_on(async {
        let within = Duration::from_secs(60);
        let kube = start().await;
        let kubectl = kube.kubectl();
        kubectl.apply(TYPO).await.unwrap();
        let policies =
            Policies::start(&kube.client(), &Options::default(), &WatchHealth::default());
        let mut cache = policies.seen();
        let objects_with_conditions =
            cache.wait_for(|cache| cache.as_ref().is_some_and(|s| s.stored.len() == 1));
        let first = objects_with_conditions.await.unwrap().clone();
        let uid = |cache: &Option<Arc<PolicyCache>>| {
            cache
                .iter()
                .flat_map(|s| s.stored.values())
                .map(|s| s.uid.clone())
                .next()
        };
        let old = uid(&first);
        kubectl
            .run_with_input(["replace", "--force", "-f", "-"], TYPO)
            .await
            .unwrap();
        let again =
            |cache: &Option<Arc<PolicyCache>>| uid(cache).is_some_and(|uid| Some(uid) != old);
        tokio::time::timeout(within, cache.wait_for(again))
            .await
            .unwrap()
            .unwrap();

        // A control plane that has not observed the change yet.
        let counts = PolicyRollup {
            connected: 1,
            acked: 1,
        };
        let late = policy_states(first.as_deref().unwrap(), counts);
        let fault_proxy = kube.fault_proxy(kube.kubeconfig()).await.unwrap();
        let client = kube.client_as(fault_proxy.kubeconfig()).await.unwrap();
        let (states_sender, policy_states) = watch::channel(late);
        let (show, shown) = watch::channel(first);
        let (_lead, leads) = watch::channel(true);
        let faults = Faults::default();
        let none = Controller::default();
        let writer = write_statuses(client, none, policy_states, shown, leads, faults.clone());
        tokio::spawn(writer);
        eventually(within, "an attempt", async || {
            let request = fault_proxy.requests();
            (!request.is_empty()).then_some(()).ok_or("none yet")
        })
        .await
        .unwrap();
        let status = ["get", "tbp/typo", "-o", "jsonpath={.status}"];
        for _ in 0..10 {
            assert_eq!(
                kubectl.run(status).await.unwrap(),
                "",
                "the attempt was refused"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // A conflict is not a fault, and the writer continues with the next states.
        let now = cache.borrow().clone();
        let other = PolicyRollup {
            connected: 2,
            acked: 0,
        };
        states_sender.send_replace(self::policy_states(now.as_deref().unwrap(), other));
        show.send_replace(now);
        wait(&kubectl, "tbp/typo", "ResolvedRefs=False").await;
        assert!(faults.now().is_empty(), "{:?}", faults.now());
    });
}

#[test]
fn a_cluster_without_the_definitions_has_no_policies_until_they_are_installed() {
    runtime().block_on(async {
        let kube = Kube::start(Default::default()).await.unwrap();
        let options = Options {
            namespaces: vec!["default".to_owned()],
            ..Options::default()
        };
        let policies = Policies::start(&kube.client(), &options, &WatchHealth::default());
        let mut cache = policies.seen();
        let within = Duration::from_secs(60);
        let objects_with_conditions =
            tokio::time::timeout(within, cache.wait_for(Option::is_some)).await;
        assert!(
            objects_with_conditions
                .unwrap()
                .unwrap()
                .as_deref()
                .unwrap()
                .stored
                .is_empty()
        );
        let kubectl = kube.kubectl();
        crate::api_server::define(&kubectl).await;
        kubectl.apply(TYPO).await.unwrap();
        let one = |cache: &Option<Arc<PolicyCache>>| {
            cache.as_ref().is_some_and(|s| s.policies.len() == 1)
        };
        tokio::time::timeout(within, cache.wait_for(one))
            .await
            .unwrap()
            .unwrap();
    });
}

/// The policies with conditions.
fn written(cache: &Option<Arc<PolicyCache>>) -> usize {
    let stored = cache.iter().flat_map(|cache| cache.stored.values());
    stored
        .filter(|status| !status.conditions.is_empty())
        .count()
}

#[test]
fn a_replica_that_loses_the_lead_stops_in_the_middle_of_its_writes() {
    const POLICIES: usize = 20;
    const AT_ONCE: usize = 8;
    runtime().block_on(async {
        let within = Duration::from_secs(60);
        let kube = start().await;
        let all: Vec<String> = (0..POLICIES)
            .map(|n| TYPO.replace("name: typo", &format!("name: typo-{n}")))
            .collect();
        kube.kubectl().apply(&all.join("---")).await.unwrap();
        let fault_proxy = kube.fault_proxy(kube.kubeconfig()).await.unwrap();
        let client = kube.client_as(fault_proxy.kubeconfig()).await.unwrap();
        let replica = replica_by(&kube, client, false, PolicyRollup::default());
        let mut cache = replica.policies.seen();
        let all = |cache: &Option<Arc<PolicyCache>>| {
            cache.as_ref().is_some_and(|s| s.stored.len() == POLICIES)
        };
        tokio::time::timeout(within, cache.wait_for(all))
            .await
            .unwrap()
            .unwrap();

        fault_proxy.freeze(true);
        replica.leading.send_replace(true);
        eventually(within, "writes under way", async || {
            let request = fault_proxy.requests().len();
            (request == AT_ONCE).then_some(()).ok_or(request)
        })
        .await
        .unwrap();
        replica.leading.send_replace(false);
        fault_proxy.freeze(false);
        let some = |cache: &Option<Arc<PolicyCache>>| written(cache) >= AT_ONCE;
        tokio::time::timeout(within, cache.wait_for(some))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            fault_proxy.requests().len(),
            AT_ONCE,
            "{:?}",
            fault_proxy.requests()
        );

        // As the leader again, it writes the rest, and no object twice.
        replica.leading.send_replace(true);
        let rest = |cache: &Option<Arc<PolicyCache>>| written(cache) == POLICIES;
        tokio::time::timeout(within, cache.wait_for(rest))
            .await
            .unwrap()
            .unwrap();
        let mut request = fault_proxy.requests();
        request.sort();
        request.dedup();
        assert_eq!(
            (request.len(), fault_proxy.requests().len()),
            (POLICIES, POLICIES)
        );
    });
}
