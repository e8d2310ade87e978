//! The rights of the table are all that is used, and each that is missing is named while the rest goes on.

use std::collections::BTreeSet;

use headgate_source::access::{Account, Missing, Needs, Right, rbac, review};
use headgate_source::kubernetes::{Kind, Options};
use headgate_test_support::deadline::eventually;
use headgate_test_support::kube::{KubeOptions, Relay};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::Client;
use kube::api::{Api, PostParams};

use super::cluster::*;

fn needs(namespaces: &[&str]) -> Needs {
    Needs {
        kinds: Kind::defaults(),
        policies: true,
        namespaces: namespaces.iter().map(|ns| (*ns).to_owned()).collect(),
        root_namespace: None,
        own_namespace: "headgate-system".to_owned(),
    }
}

/// Gives a ServiceAccount exactly what is needed; the client comes as this account, through the relay.
async fn account(cluster: &Cluster, needs: &Needs) -> (Client, Relay) {
    let kube = &cluster.kube;
    let account = Account {
        namespace: needs.own_namespace.clone(),
        name: "headgate".to_owned(),
    };
    let home = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {}}}}}\n",
        account.namespace
    );
    let manifests = home + &rbac(needs, &account);
    kube.kubectl().apply(&manifests).await.unwrap();
    let kubeconfig = kube.service_account(&account.namespace, &account.name);
    let relay = kube.relay(&kubeconfig.await.unwrap()).await.unwrap();
    (client_of(relay.kubeconfig()).await, relay)
}

async fn refused(client: &Client, rights: &[Right]) -> BTreeSet<Missing> {
    review(client, rights).await.unwrap()
}

/// What was listed or watched, as `kubectl auth can-i` calls it.
fn read(relay: &Relay) -> BTreeSet<String> {
    let asked = relay.requests().into_iter();
    let asked = asked.filter_map(|asked| asked.strip_prefix("GET /").map(str::to_owned));
    let resource = |path: String| {
        let path = path.split('?').next()?.to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        let plural = parts.last()?;
        Some(match parts[0] {
            "api" => (*plural).to_owned(),
            _ => format!("{plural}.{}", parts[1]),
        })
    };
    asked.filter_map(resource).collect()
}

#[tokio::test]
async fn under_exactly_the_rights_of_the_table_all_is_seen_and_nothing_else_is_asked_for() {
    let cluster = Cluster::start().await;
    for namespaces in [&[][..], &["default", "red"]] {
        let needs = needs(namespaces);
        let (client, relay) = account(&cluster, &needs).await;
        let options = Options {
            namespaces: needs.namespaces.clone(),
            ..Options::default()
        };
        let mut source = Source::start(&client, options).await;
        let name = format!("v{}", namespaces.len());
        cluster.apply(deployment(&name, "one", 1)).await;
        cluster.apply(policy(&name, 1)).await;
        source
            .carrier(&format!("deployment/{name}"), |c| ready(c) == 1)
            .await;
        source.policy(&name, |_| true).await;
        assert_eq!(source.state().lost(), None);
        let rights = needs.rights();
        let table = rights.iter().filter(|right| right.verbs.contains(&"watch"));
        let table: BTreeSet<String> = table
            .filter(|right| !right.own)
            .map(Right::qualified)
            .collect();
        assert_eq!(read(&relay), table, "what is watched is the table");
        assert_eq!(refused(&client, &rights).await, BTreeSet::new());
        // The rights in every namespace do not help the second round.
        let words = "delete clusterrolebinding,clusterrole headgate --ignore-not-found";
        cluster.kubectl(words).await;
        if namespaces.is_empty() {
            cluster.kubectl("create namespace red").await;
            let rights: Vec<Right> = rights.into_iter().filter(|right| !right.own).collect();
            eventually(SOON, "the rights to be gone", async || {
                let refused = refused(&client, &rights).await.len();
                let all: usize = rights.iter().map(|right| right.verbs.len()).sum();
                (refused == all)
                    .then_some(())
                    .ok_or(format!("{refused} of {all}"))
            })
            .await
            .unwrap();
        }
    }
}

/// One rule for each verb, so that one can be taken away.
fn rules(rights: &[Right], own: bool, without: Option<&Missing>) -> Vec<PolicyRule> {
    let rights = rights.iter().filter(|right| right.own == own);
    let each = rights.flat_map(|right| right.each().map(move |verb| (right, verb)));
    each.filter(|(_, verb)| Some(verb) != without)
        .map(|(right, verb)| PolicyRule {
            api_groups: Some(vec![right.group.clone()]),
            resources: Some(vec![right.resource.clone()]),
            verbs: vec![verb.verb.to_owned()],
            ..PolicyRule::default()
        })
        .collect()
}

async fn grant(cluster: &Cluster, rights: &[Right], without: Option<&Missing>) {
    let (client, params) = (cluster.kube.client(), PostParams::default());
    let api: Api<ClusterRole> = Api::all(client.clone());
    let mut role = api.get("headgate").await.unwrap();
    role.rules = Some(rules(rights, false, without));
    api.replace("headgate", &params, &role).await.unwrap();
    let api: Api<Role> = Api::namespaced(client, "headgate-system");
    let mut role = api.get("headgate-replicas").await.unwrap();
    role.rules = Some(rules(rights, true, without));
    api.replace("headgate-replicas", &params, &role)
        .await
        .unwrap();
}

/// Where lists are not streamed, `list` is used too, and can be seen to be missed.
#[tokio::test]
async fn each_verb_that_is_missing_is_named_with_its_resource_and_the_rest_goes_on() {
    let cluster = Cluster::with(KubeOptions {
        api_args: vec!["--feature-gates=WatchList=false".into()],
        ..KubeOptions::default()
    })
    .await;
    let needs = needs(&[]);
    let (client, _relay) = account(&cluster, &needs).await;
    let rights = needs.rights();
    let known = Source::start(&client, Options::default()).await.state();
    let mut count = 0;
    for right in &rights {
        for missing in right.each() {
            count += 1;
            grant(&cluster, &rights, Some(&missing)).await;
            eventually(SOON, "the review to name it, and it alone", async || {
                let refused = refused(&client, &rights).await;
                let it = refused.len() == 1 && refused.contains(&missing);
                it.then_some(()).ok_or(format!("{missing}: {refused:?}"))
            })
            .await
            .unwrap();
            let said = missing.to_string();
            assert!(
                said.contains(missing.verb) && said.contains(&missing.resource),
                "{said}"
            );
            // What is not read here, and lists of kinds that the API server does not have.
            let read = known.watches.get(&missing.resource);
            if read.is_none_or(|watch| watch.absent && missing.verb == "list") {
                continue;
            }
            let watches = Watches::start(&client, Options::default());
            let said = eventually(SOON, "the refusal alone", async || {
                let state = watches.state();
                let rest = state
                    .watches
                    .iter()
                    .filter(|(name, _)| **name != missing.resource);
                let rest = rest
                    .filter(|(_, watch)| !watch.synced || watch.lost.is_some())
                    .count();
                let lost = state.watches[&missing.resource].lost.clone();
                lost.filter(|_| rest == 0)
                    .map(|lost| lost.message)
                    .ok_or(format!("{state:?}"))
            })
            .await
            .unwrap();
            let names = format!("cannot {} resource \"{}\"", missing.verb, right.resource);
            assert!(said.contains(&names), "{said}");
        }
    }
    assert!(count > 40, "{count}");
    grant(&cluster, &rights, None).await;
    let mut source = Source::start(&client, Options::default()).await;
    cluster.apply(deployment("v1", "one", 1)).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    assert_eq!(source.state().lost(), None);
}

#[tokio::test]
async fn a_right_may_be_given_later() {
    let cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 1)).await;
    let needs = needs(&[]);
    let (client, _relay) = account(&cluster, &needs).await;
    let rights = needs.rights();
    let deployments = rights.iter().find(|right| right.resource == "deployments");
    let watch = deployments
        .unwrap()
        .each()
        .find(|each| each.verb == "watch");
    grant(&cluster, &rights, watch.as_ref()).await;
    let watches = Watches::start(&client, Options::default());
    eventually(SOON, "the refusal", async || {
        let state = watches.state();
        let lost = state
            .lost()
            .map(|(watch, lost)| (watch.to_owned(), lost.message.clone()));
        lost.filter(|(watch, said)| watch == "deployments.apps" && said.contains("(403)"))
            .ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
    grant(&cluster, &rights, None).await;
    let mut source = Source::of(watches).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    assert_eq!(source.state().lost(), None);
}
