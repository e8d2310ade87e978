//! Labels without an effect: each is reported on the object that has it.

use headgate_model::{Subject, reason};
use serde_json::{Value, json};

use super::fixtures::*;
use crate::cluster::store::Store;

/// The findings as `kind/name: message`; all are about labels without an effect.
fn messages(store: &Store) -> Vec<String> {
    let findings = store.findings();
    let show = |finding: &headgate_model::Finding| {
        assert_eq!(finding.reason, reason::LABEL_IGNORED, "{finding:?}");
        let Subject::Carrier(key) = &finding.object else {
            panic!("{finding:?}");
        };
        format!("{}: {}", key.identity(), finding.message)
    };
    findings.iter().map(show).collect()
}

/// An InferenceService and the Deployment of its predictor.
fn kserve(ips: &[u8]) -> Vec<Value> {
    let owner = model(object("InferenceService", "isvc", 1, None), "v2");
    let mut all = deployment("predictor", 1, ips);
    let owned = object("Deployment", "predictor", 1, Some(&owner));
    all[0]["metadata"]["ownerReferences"] = owned["metadata"]["ownerReferences"].clone();
    [all, vec![owner]].concat()
}

#[track_caller]
fn says(store: &Store, object: &str, parts: &[&str]) {
    let all = messages(store);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].starts_with(&format!("{object}: ")), "{all:#?}");
    for part in parts {
        assert!(all[0].contains(part), "{part}: {all:#?}");
    }
}

#[test]
fn a_weight_below_a_labelled_owner_is_reported_with_the_command_for_the_owner() {
    let weight = json!({"canary-weight": "30"});
    let mut all = kserve(&[1]);
    all[0] = labelled(all[0].clone(), &weight);
    let mut state = store(&all);
    assert_eq!(carriers(&state), ["inferenceservice/isvc 1"]);
    let command = "kubectl label inferenceservice/isvc -n default canary-weight=30 --overwrite";
    says(
        &state,
        "deployment/predictor",
        &["`canary-weight` \"30\"", command],
    );
    // The command ends the finding, because KServe copies labels to its objects.
    apply(&mut state, &labelled(all[3].clone(), &weight));
    state.reconcile();
    assert_eq!(messages(&state), Vec::<String>::new());

    // The StatefulSets of a group, also those that a leader owns.
    let group = model(replicas(object("LeaderWorkerSet", "lws", 1, None), 1), "v1");
    let leaders = labelled(
        replicas(object("StatefulSet", "lws", 1, Some(&group)), 1),
        &weight,
    );
    let leader = pod("lws-0", 1, Some(&leaders));
    let state = store(&[group, leaders, leader]);
    let command = "kubectl label leaderworkerset/lws -n default canary-weight=30 --overwrite";
    says(&state, "statefulset/lws", &[command]);

    // An annotation that is read only on a carrier.
    let mut all = kserve(&[1]);
    all[0] = annotated(all[0].clone(), "headgate.dev/model-names", "x");
    let command = "kubectl annotate inferenceservice/isvc -n default headgate.dev/model-names='x' --overwrite";
    says(&store(&all), "deployment/predictor", &[command]);
}

#[test]
fn labels_of_a_template_are_reported_if_the_labelled_owner_has_others() {
    let mut all = deployment("a", 1, &[1]);
    all[0] = model(all[0].clone(), "v1");
    let template = |all: &mut Vec<Value>, labels: &Value| {
        let mut labels = labels.clone();
        labels["app"] = "a".into();
        for object in &mut all[..2] {
            object["spec"]["template"]["metadata"]["labels"] = labels.clone();
        }
        for object in &mut all[1..] {
            object["metadata"]["labels"] = labels.clone();
        }
    };
    // As a chart's helper writes them.
    let equal = json!({"model-name": "llama", "model-version": "v1"});
    template(&mut all, &equal);
    assert_eq!(messages(&store(&all)), Vec::<String>::new());
    template(&mut all, &json!({"canary-weight": "10"}));
    let command = "kubectl label deployment/a -n default canary-weight=10 --overwrite";
    let what = "`canary-weight` \"10\" of its pod template";
    says(&store(&all), "deployment/a", &[what, command]);
    template(&mut all, &json!({"model-name": "other"}));
    says(
        &store(&all),
        "deployment/a",
        &[
            "`model-name` \"other\" of its pod template",
            "model-name=other",
        ],
    );
    // The version comes from the pods, so the owner's version has no effect.
    template(
        &mut all,
        &json!({"model-name": "llama", "model-version": "v9"}),
    );
    says(
        &store(&all),
        "deployment/a",
        &["`model-version` \"v1\" has no effect", "model-version=v9"],
    );

    // Below an owner, and behind a Service.
    let mut all = kserve(&[1]);
    all[0]["spec"]["template"]["metadata"]["labels"]["canary-weight"] = "10".into();
    says(
        &store(&all),
        "deployment/predictor",
        &[
            what,
            "kubectl label inferenceservice/isvc -n default canary-weight=10",
        ],
    );
    all.push(model(service("front", json!({"app": "predictor"})), "v2"));
    says(
        &store(&all),
        "deployment/predictor",
        &[
            what,
            "kubectl label service/front -n default canary-weight=10",
        ],
    );
}

#[test]
fn a_finding_on_an_inner_owner_names_the_service_whose_labels_have_an_effect() {
    let mut all = kserve(&[1]);
    all[3] = object("InferenceService", "isvc", 1, None);
    all[0] = labelled(all[0].clone(), &json!({"canary-weight": "30"}));
    all.push(model(service("front", json!({"app": "predictor"})), "v2"));
    let mut state = store(&all);
    assert_eq!(carriers(&state), ["service/front 1"]);
    let command = "kubectl label service/front -n default canary-weight=30 --overwrite";
    says(&state, "deployment/predictor", &[command]);
    // A second Service of the same pods adds no finding.
    apply(
        &mut state,
        &model(service("other", json!({"app": "predictor"})), "v2"),
    );
    state.reconcile();
    says(&state, "deployment/predictor", &[command]);
    // ReplicaSets have the labels of the template of their revision.
    let mut all = kserve(&[1]);
    all[1] = labelled(
        all[1].clone(),
        &json!({"model-name": "old", "canary-weight": "1"}),
    );
    assert_eq!(messages(&store(&all)), Vec::<String>::new());
}

#[test]
fn a_service_that_lacks_a_label_and_an_unknown_carrier_value_are_reported() {
    let with = |labels: Value| labelled(service("front", json!({"app": "a"})), &labels);
    for (labels, expected) in [
        (
            json!({"model-name": "m", "canary-weight": "10"}),
            vec![reason::NO_VERSION],
        ),
        (json!({"model-version": "v"}), vec![reason::NO_MODEL]),
        (json!({"canary-weight": "10"}), vec![reason::NO_MODEL]),
        (json!({"model-name": "m"}), vec![]),
    ] {
        let state = store(&[with(labels.clone())]);
        assert_eq!(reasons(&state.findings()), expected, "{labels}");
    }
    // A model named by a template is declared.
    let mut all = deployment("a", 1, &[]);
    all[0] = labelled(
        all[0].clone(),
        &json!({"model-version": "v", "canary-weight": "10"}),
    );
    all[0]["spec"]["template"]["metadata"]["labels"]["model-name"] = "llama".into();
    assert_eq!(
        reasons(&store(&all).findings()),
        [reason::LABELS_ON_TEMPLATE]
    );

    let mut all = deployment("a", 1, &[1]);
    all[0] = model(all[0].clone(), "v1");
    let front = model(service("front", json!({"app": "a"})), "v1");
    let carried = |value: &str| {
        let front = annotated(front.clone(), "headgate.dev/carrier", value);
        let state = store(&[all.clone(), vec![front]].concat());
        (carriers(&state), reasons(&state.findings()))
    };
    for value in ["owner", "prefer owner"] {
        let by_owner = vec!["deployment/a 1".to_owned()];
        assert_eq!(carried(value), (by_owner, vec![]), "{value}");
    }
    let by_service = vec!["service/front 1".to_owned()];
    assert_eq!(
        carried("workload"),
        (by_service, vec![reason::INVALID_CARRIER])
    );
}

/// Applies the `kubectl label` and `kubectl annotate` commands in a text, joined by ` && `, to the objects.
fn follow(objects: &[Value], commands: &str) -> Vec<Value> {
    let mut objects = objects.to_vec();
    for command in commands.split(" && ") {
        let words: Vec<&str> = command.split(' ').collect();
        let ["kubectl", verb, identity, "-n", _, change, ..] = words[..] else {
            panic!("{command}");
        };
        let (key, value) = change.split_once('=').unwrap();
        let field = match verb {
            "label" => "labels",
            _ => "annotations",
        };
        let is = |object: &&mut Value| {
            let kind = object["kind"].as_str().unwrap().to_ascii_lowercase();
            format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap()) == identity
        };
        let object = objects.iter_mut().find(is).expect(identity);
        object["metadata"][field][key] = value.into();
    }
    objects
}

/// Checks that both alternatives in the only finding end it; returns the carriers after the first and after the second.
#[track_caller]
fn ends(objects: &[Value]) -> [Vec<String>; 2] {
    let all = messages(&store(objects));
    assert_eq!(all.len(), 1, "{all:#?}");
    let at = all[0].find("kubectl").unwrap();
    let second = ", or use the labels of deployment/a in place of the Service: ";
    let (first, second) = all[0][at..].split_once(second).expect(&all[0]);
    [first, second].map(|commands| {
        let state = store(&follow(objects, commands));
        assert_eq!(messages(&state), Vec::<String>::new(), "{commands}");
        carriers(&state)
    })
}

#[test]
fn both_alternatives_of_the_advice_end_the_finding_also_with_a_headless_service_or_an_unlabelled_owner()
 {
    let weight = json!({"canary-weight": "30"});
    let selecting_services =
        ["front", "headless"].map(|name| model(service(name, json!({"app": "a"})), "v1"));
    let by_owner = vec!["deployment/a 1".to_owned()];
    for (owner, services) in [(true, 1), (true, 2), (false, 1), (false, 2)] {
        let mut all = deployment("a", 1, &[1]);
        all[0] = labelled(all[0].clone(), &weight);
        if owner {
            all[0] = model(all[0].clone(), "v1");
        }
        all.extend_from_slice(&selecting_services[..services]);
        let [by_service, second] = ends(&all);
        assert_eq!(by_service.len(), services);
        assert_eq!(second, by_owner);
        // Both Services get the label, so that they agree whichever owns the version.
        let first = messages(&store(&all)).pop().unwrap();
        for service in &selecting_services[..services] {
            let name = service["metadata"]["name"].as_str().unwrap();
            let command = format!("kubectl label service/{name} -n default canary-weight=30");
            assert!(first.contains(&command), "{first}");
        }
    }
    // An annotation, too.
    let mut all = deployment("a", 1, &[1]);
    all[0] = annotated(model(all[0].clone(), "v1"), "headgate.dev/join", "share");
    all.extend(selecting_services.clone());
    let (effective, quoted) = (
        messages(&store(&all)),
        "headgate.dev/join='share' --overwrite",
    );
    assert_eq!(effective[0].matches(quoted).count(), 2, "{effective:?}");
    // The advice leaves out what would still have no effect: below an outer carrier, or with labels of the owner.
    let mut inner = kserve(&[1]);
    inner[0] = labelled(inner[0].clone(), &weight);
    inner.push(model(service("front", json!({"app": "predictor"})), "v2"));
    let mut template = deployment("a", 1, &[1]);
    template[0] = model(template[0].clone(), "v1");
    template[0]["spec"]["template"]["metadata"]["labels"]["canary-weight"] = "30".into();
    template.push(selecting_services[0].clone());
    for objects in [inner, template] {
        let all = messages(&store(&objects));
        assert_eq!(all.len(), 1, "{all:#?}");
        assert!(!all[0].contains("in place of"), "{all:#?}");
    }
}

/// Two versions behind one Service.
fn two_versions() -> Vec<Value> {
    let version = |name: &str, ip: u8, version: &str| {
        let mut all = deployment(name, 1, &[ip]);
        let labels = json!({"app": name, "of": "llama", "model-version": version});
        for object in &mut all[..2] {
            object["spec"]["template"]["metadata"]["labels"] = labels.clone();
        }
        all[2]["metadata"]["labels"] = labels;
        all
    };
    let mut all = [version("stable", 1, "v1"), version("a", 2, "v2")].concat();
    for at in [0, 3] {
        all[at] = labelled(all[at].clone(), &json!({"model-name": "llama"}));
    }
    all[3] = labelled(all[3].clone(), &json!({"canary-weight": "30"}));
    all.push(model(service("front", json!({"of": "llama"})), "v1"));
    all
}

#[test]
fn a_weight_on_one_of_two_versions_behind_one_service_gets_the_advice_of_a_separate_service() {
    let all = two_versions();
    let state = store(&all);
    assert_eq!(carriers(&state), ["service/front 2,1"]);
    let own = "create one with `model-version: v2` in its selector and the labels model-name=llama model-version=v2 \
               canary-weight=30, and add `model-version: v1` to the selector of service/front: kubectl edit service/front -n default";
    let yields = "in place of the Service: ";
    says(
        &state,
        "deployment/a",
        &["several versions (v1, v2)", own, yields],
    );
    // That weight would apply to both versions.
    let message = messages(&state).pop().unwrap();
    assert!(
        !message.contains("kubectl label service/front"),
        "{message}"
    );
    let selects = |name: &str, version: &str| {
        let selector = json!({"of": "llama", "model-version": version});
        model(service(name, selector), version)
    };
    let mut apart = all.clone();
    apart[6] = selects("front", "v1");
    apart.push(labelled(
        selects("own", "v2"),
        &json!({"canary-weight": "30"}),
    ));
    let state = store(&apart);
    assert_eq!(messages(&state), Vec::<String>::new());
    assert_eq!(carriers(&state), ["service/front 1", "service/own 2"]);
    let commands = message.split_once(yields).unwrap().1;
    let state = store(&follow(&all, commands));
    assert_eq!(messages(&state), Vec::<String>::new());
    assert_eq!(carriers(&state), ["deployment/a 2", "deployment/stable 1"]);
    // For an owner without a model the Service is the carrier of its pods, also before it has pods.
    let mut unlabelled = all.clone();
    unlabelled[0] = labelled(unlabelled[0].clone(), &json!({"model-name": null}));
    let state = store(&follow(&unlabelled, commands));
    assert_eq!(messages(&state), Vec::<String>::new());
    assert_eq!(carriers(&state), ["deployment/a 2", "service/front 1"]);
    let mut empty = all;
    empty.remove(5);
    says(&store(&empty), "deployment/a", &[own]);
}

#[test]
fn a_finding_on_an_object_that_is_not_a_carrier_has_the_models_around_it() {
    let of = |objects: &[Value], identity: &str| -> Vec<String> {
        let state = store(objects);
        let related_models = state.related_models(&state.findings());
        let models = related_models.get(&key(identity)).cloned();
        models.unwrap_or_default().into_iter().collect()
    };
    // The model comes from its label, the carrier of its pods, or its owner.
    assert_eq!(of(&two_versions(), "deployment/a"), ["llama"]);
    let mut unlabelled = two_versions();
    unlabelled[3] = labelled(unlabelled[3].clone(), &json!({"model-name": null}));
    assert_eq!(of(&unlabelled, "deployment/a"), ["llama"]);
    let mut inner = kserve(&[1]);
    inner[0] = labelled(inner[0].clone(), &json!({"canary-weight": "30"}));
    assert_eq!(of(&inner, "deployment/predictor"), ["llama"]);
    // A Service that lacks the version, and an object whose field cannot be read.
    let lacks = json!({"model-name": "llama", "canary-weight": "10"});
    let front = labelled(service("front", json!({"app": "x"})), &lacks);
    assert_eq!(of(&[front], "service/front"), ["llama"]);
    let mut all = deployment("a", 1, &[1]);
    all[0] = model(all[0].clone(), "v1");
    all[1]["spec"]["replicas"] = "three".into();
    assert_eq!(of(&all, "replicaset/a-rs"), ["llama"]);
    // For a carrier the model comes from its labels.
    all[0]["spec"]["replicas"] = "three".into();
    assert_eq!(of(&all, "deployment/a"), Vec::<String>::new());
}
