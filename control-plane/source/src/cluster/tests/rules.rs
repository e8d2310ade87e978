//! The label rules of carriers, as tables of objects.

use headgate_model::{LabelKeys, Severity, Subject, reason};
use serde_json::{Value, json};

use super::fixtures::*;
use crate::cluster::store::Store;
use headgate_kubernetes::WatchedKind;
use headgate_kubernetes::update::Event;
use headgate_model::Change;

#[test]
fn the_outermost_owner_is_the_carrier_of_its_pods() {
    let mut all = deployment("v1", 1, &[1, 2]);
    all[0] = labelled(
        model(all[0].clone(), "one"),
        &json!({"canary-weight": "10", "team": "red"}),
    );
    let store = store(&all);
    assert_eq!(carriers(&store), ["deployment/v1 1,2"]);
    let it = carrier(&store, "deployment/v1");
    assert_eq!((it.desired, it.created), (2, Some(1_767_225_601)));
    assert_eq!(
        (
            it.labels["canary-weight"].as_str(),
            it.labels["team"].as_str()
        ),
        ("10", "red")
    );
    assert_eq!(it.origin, "Deployment default/v1");
    assert!(
        it.annotations.is_empty(),
        "only Headgate's annotations are kept"
    );
    assert_eq!(it.pods[0].address.to_string(), "10.0.0.1:8000");
    assert_eq!(it.pods[0].version, None);
    assert_eq!(store.findings(), []);
}

#[test]
fn a_service_with_both_labels_precedes_the_owner_and_desires_the_owners_replicas() {
    let mut all = [deployment("a", 1, &[1, 2]), deployment("b", 2, &[3])].concat();
    for object in &mut all {
        *object = labelled(object.clone(), &json!({"group": "g"}));
        if let Some(template) = object.pointer_mut("/spec/template/metadata/labels") {
            template["group"] = "g".into();
        }
    }
    all[0] = model(replicas(all[0].clone(), 5), "one");
    let front = model(service("front", json!({"group": "g"})), "one");
    let bare = labelled(pod("bare", 9, None), &json!({"group": "g"}));
    let both: Vec<Value> = all.iter().cloned().chain([front, bare]).collect();
    let state = store(&both);
    assert_eq!(carriers(&state), ["service/front 1,2,3,9"]);
    assert_eq!(carrier(&state, "service/front").desired, 5 + 1 + 1);

    // With only the model label it declares no version: the workloads behind it are the carriers.
    let half = labelled(
        service("front", json!({"group": "g"})),
        &json!({"model-name": "llama"}),
    );
    let state = store(&[all, vec![half]].concat());
    assert_eq!(carriers(&state), ["deployment/a 1,2"]);
}

#[test]
fn a_service_is_the_carrier_also_of_an_owner_without_pods() {
    let mut all = deployment("a", 1, &[]);
    all[0] = model(replicas(all[0].clone(), 4), "one");
    let front = model(service("front", json!({"app": "a"})), "one");
    let state = store(&[all.clone(), vec![front]].concat());
    assert_eq!(carriers(&state), ["service/front"]);
    assert_eq!(carrier(&state, "service/front").desired, 4);
    assert_eq!(carriers(&store(&all)), ["deployment/a"]);
    // A selector without a match, such as an empty one, selects no pods.
    let empty = model(service("empty", json!({})), "one");
    assert_eq!(
        carriers(&store(&[all, vec![empty]].concat())),
        ["deployment/a", "service/empty"]
    );
}

#[test]
fn a_pod_of_two_services_is_an_endpoint_of_both() {
    let pod = labelled(pod("base", 1, None), &json!({"app": "a", "x": "y"}));
    let adapters = [
        model(service("one", json!({"app": "a"})), "one"),
        labelled(
            service("two", json!({"x": "y", "app": "a"})),
            &json!({"model-name": "lora", "model-version": "1"}),
        ),
        model(service("three", json!({"app": "a", "x": "z"})), "one"),
    ];
    let state = store(&[vec![pod], adapters.to_vec()].concat());
    assert_eq!(
        carriers(&state),
        ["service/one 1", "service/three", "service/two 1"]
    );
}

#[test]
fn a_labelled_pod_without_a_labelled_owner_is_a_carrier() {
    let bare = model(pod("bare", 1, None), "one");
    assert_eq!(
        carriers(&store(std::slice::from_ref(&bare))),
        ["pod/bare 1"]
    );
    assert_eq!(carrier(&store(&[bare]), "pod/bare").desired, 1);

    // Labels of a pod below unlabelled owners.
    let mut all = deployment("a", 1, &[1]);
    all[2] = model(all[2].clone(), "one");
    assert_eq!(carriers(&store(&all)), ["pod/a-1 1"]);
    assert_eq!(
        carriers(&store(&[pod("other", 1, None)])),
        Vec::<String>::new()
    );
}

#[test]
fn a_labelled_owner_below_an_unlabelled_one_is_the_carrier() {
    for kind in [
        "InferenceService",
        "LLMInferenceService",
        "Rollout",
        "RayService",
        "Whole",
    ] {
        let top = object(kind, "top", 1, None);
        let mut all = deployment("a", 1, &[1, 2]);
        let owned = object("Deployment", "a", 1, Some(&top));
        all[0]["metadata"]["ownerReferences"] = owned["metadata"]["ownerReferences"].clone();
        all[0] = labelled(
            model(all[0].clone(), "one"),
            &json!({"canary-weight": "10"}),
        );
        let mut state = store(&[all.clone(), vec![top.clone()]].concat());
        assert_eq!(carriers(&state), ["deployment/a 1,2"], "{kind}");
        let it = carrier(&state, "deployment/a");
        assert_eq!((it.desired, it.labels["canary-weight"].as_str()), (2, "10"));
        assert_eq!(state.findings(), [], "{kind}");
        // The labels of the outer owner are effective while it has them.
        apply(&mut state, &model(top.clone(), "two"));
        state.reconcile();
        let outer = format!("{}/top 1,2", kind.to_ascii_lowercase());
        assert_eq!(carriers(&state), [outer], "{kind}");
        let ignored = [reason::LABEL_IGNORED; 2];
        assert_eq!(reasons(&state.findings()), ignored, "{kind}");
        apply(&mut state, &top);
        state.reconcile();
        assert_eq!(carriers(&state), ["deployment/a 1,2"], "{kind}");
    }
}

#[test]
fn while_pools_are_unread_pods_serve_and_ports_that_depend_on_a_pool_are_reported() {
    let mut all = deployment("a", 1, &[1, 2]);
    all[0] = model(all[0].clone(), "one");
    let pools = watches().into_iter().filter(|id| id.kind.is_pool());
    let pools: Vec<_> = pools.collect();
    let unread = |objects: &[Value]| {
        let mut store = Store::new(kinds(), LabelKeys::default(), watches());
        for id in watches().iter().filter(|id| !id.kind.is_pool()) {
            relist(&mut store, id, objects);
        }
        store.reconcile();
        store
    };
    let mut state = unread(&all);
    assert!(state.synced(), "it serves");
    assert_eq!(carriers(&state), ["deployment/a 1,2"]);
    let found = state.findings();
    assert_eq!(reasons(&found), [reason::POOLS_UNREAD]);
    let message = &found[0].message;
    let command = "kubectl annotate deployment/a -n default headgate.dev/port=8000";
    assert!(message.contains(command), "{message}");
    // An annotation or a Service takes precedence over a pool.
    let mut with_port = all.clone();
    with_port[0] = annotated(with_port[0].clone(), "headgate.dev/port", "8000");
    assert_eq!(unread(&with_port).findings(), []);
    let mut front = service("front", json!({"app": "a"}));
    front["spec"]["ports"] = json!([{"name": "http", "port": 80, "targetPort": 8000}]);
    assert_eq!(unread(&[all.clone(), vec![front]].concat()).findings(), []);
    // Once they are read they count, and the finding ends.
    relist(&mut state, &pools[0], [&pool("p", json!({"app": "a"}))]);
    state.reconcile();
    assert_eq!(
        reasons(&state.findings()),
        [reason::POOLS_UNREAD],
        "one group"
    );
    state.reduce(&pools[1], Event::Absent);
    state.reconcile();
    assert_eq!(state.findings(), []);
}

#[test]
fn an_object_is_referred_to_in_the_version_that_the_api_server_serves() {
    let owner = model(object("LLMInferenceService", "qwen", 1, None), "v1");
    let mut state = store(std::slice::from_ref(&owner));
    let version = |store: &Store| {
        let subject = Subject::from(key("llminferenceservice/qwen"));
        store.references()[&subject].api_version.clone()
    };
    assert_eq!(version(&state), "serving.kserve.io/v1alpha1");
    state.set_version(what(&owner), "v1alpha2".to_owned());
    assert!(state.reconcile().findings, "it is published");
    assert_eq!(version(&state), "serving.kserve.io/v1alpha2");
}

#[test]
fn labels_from_a_template_do_not_make_a_created_object_a_carrier() {
    // The template of the Deployment names the model: the Deployment is the carrier, not the ReplicaSet with the copy.
    let mut all = deployment("a", 1, &[1]);
    for object in &mut all[..2] {
        let labels = &mut object["spec"]["template"]["metadata"]["labels"];
        labels["model-name"] = "llama".into();
        labels["model-version"] = "one".into();
    }
    for object in &mut all[1..] {
        *object = model(object.clone(), "one");
    }
    assert_eq!(carriers(&store(&all)), ["deployment/a 1"]);
    // A label that a person wrote on a ReplicaSet is the only one, so it is effective.
    let mut all = deployment("a", 1, &[1]);
    all[1] = model(all[1].clone(), "one");
    assert_eq!(carriers(&store(&all)), ["replicaset/a-rs 1"]);
}

#[test]
fn the_version_of_a_pod_precedes_that_of_its_carrier() {
    let mut all = deployment("a", 1, &[1, 2]);
    all[0] = model(all[0].clone(), "one");
    all[3] = labelled(all[3].clone(), &json!({"model-version": "two"}));
    let it = carrier(&store(&all), "deployment/a");
    let versions: Vec<Option<&str>> = it.pods.iter().map(|pod| pod.version.as_deref()).collect();
    assert_eq!(versions, [None, Some("two")]);
}

#[test]
fn owners_without_replicas_desire_those_of_the_objects_they_own() {
    let service = model(object("InferenceService", "isvc", 1, None), "one");
    let mut all = deployment("predictor", 1, &[1, 2]);
    let owned = object("Deployment", "predictor", 1, Some(&service));
    all[0]["metadata"]["ownerReferences"] = owned["metadata"]["ownerReferences"].clone();
    all[0] = replicas(model(all[0].clone(), "ignored"), 7);
    all.push(service);
    let state = store(&all);
    assert_eq!(carriers(&state), ["inferenceservice/isvc 1,2"]);
    assert_eq!(carrier(&state, "inferenceservice/isvc").desired, 7);
}

#[test]
fn an_owner_may_be_a_pod() {
    // As in a LeaderWorkerSet: the pod of the leader owns the set of its workers.
    let leader = model(pod("leader", 1, None), "one");
    let set = object("ReplicaSet", "workers", 1, Some(&leader));
    let worker = pod("worker", 2, Some(&set));
    assert_eq!(carriers(&store(&[leader, set, worker])), ["pod/leader 1,2"]);
}

#[test]
fn pods_wait_for_an_owner_whose_kind_is_not_listed_yet_but_not_for_an_unreadable_kind() {
    let mut all = deployment("a", 1, &[1]);
    for object in &mut all {
        *object = model(object.clone(), "one");
    }
    assert_eq!(
        carriers(&store(&all[1..])),
        Vec::<String>::new(),
        "its Deployment comes"
    );
    assert_eq!(
        carriers(&store(&all[2..])),
        Vec::<String>::new(),
        "its ReplicaSet comes"
    );

    let mystery = object("Mystery", "m", 1, None);
    let owned = model(pod("p", 3, Some(&mystery)), "one");
    assert_eq!(
        carriers(&store(&[owned])),
        ["pod/p 3"],
        "nobody watches its owner's kind"
    );

    let isvc = object("InferenceService", "isvc", 1, None);
    let owned = model(pod("p", 3, Some(&isvc)), "one");
    let mut state = store(std::slice::from_ref(&owned));
    assert_eq!(carriers(&state), Vec::<String>::new());
    state.reduce(&watch_of(&isvc), Event::Absent);
    assert_eq!(state.reconcile().change, Some(Change::Intent));
    assert_eq!(
        carriers(&state),
        ["pod/p 3"],
        "the API server has no such kind"
    );
    // An incomplete list does not count.
    state.reduce(&watch_of(&isvc), Event::Init);
    state.reconcile();
    assert_eq!(carriers(&state), ["pod/p 3"]);
    relist(&mut state, &watch_of(&isvc), [&model(isvc.clone(), "one")]);
    state.reconcile();
    assert_eq!(carriers(&state), ["inferenceservice/isvc 3"]);
}

#[test]
fn owners_that_own_each_other_block_nothing() {
    let a = object("ReplicaSet", "a", 1, None);
    let b = object("ReplicaSet", "b", 1, Some(&a));
    let a = model(object("ReplicaSet", "a", 1, Some(&b)), "one");
    let pod = model(pod("p", 1, Some(&b)), "one");
    let mut state = store(&[a, b.clone(), pod.clone()]);
    state.reconcile();
    delete(&mut state, &b);
    delete(&mut state, &pod);
    state.reconcile();
}

#[test]
fn pods_that_are_not_endpoints_are_left_out() {
    let mut no_ip = pod("no-ip", 2, None);
    no_ip["status"]["podIP"] = Value::Null;
    let mut no_port = pod("no-port", 3, None);
    no_port["spec"]["containers"][1]["ports"] = json!([]);
    let mut grpc = pod("grpc", 4, None);
    grpc["spec"]["containers"][1]["ports"] = json!([{"name": "grpc", "containerPort": 8000}]);
    let unready = ready(pod("unready", 5, None), false);
    let ends = terminating(pod("ends", 6, None));
    let pods = [pod("good", 1, None), no_ip, no_port, grpc, unready, ends];
    let pods = pods.map(|pod| labelled(pod, &json!({"app": "a"})));
    let front = model(service("front", json!({"app": "a"})), "one");
    let state = store(&[pods.to_vec(), vec![front]].concat());
    assert_eq!(carriers(&state), ["service/front 1,4"]);
    let it = carrier(&state, "service/front");
    let all: Vec<&str> = it.pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(all, ["good", "grpc", "unready"]);
    assert_eq!(
        it.desired, 4,
        "one that ends is not wanted, and one without a port never served"
    );
    assert_eq!(reasons(&state.findings()), [reason::NO_PORT]);
}

#[test]
fn the_port_annotation_precedes_port_names_and_an_invalid_one_has_no_effect() {
    let rows = [
        ("9000", "10.0.0.1:9000", None),
        ("metrics", "10.0.0.1:9090", None),
        (" 9000 ", "10.0.0.1:9000", None),
        ("0", "10.0.0.1:8000", Some(reason::INVALID_PORT)),
        ("99999", "10.0.0.1:8000", Some(reason::INVALID_PORT)),
        ("nothing", "10.0.0.1:8000", Some(reason::INVALID_PORT)),
    ];
    for (text, address, says) in rows {
        let own = annotated(model(pod("p", 1, None), "one"), "headgate.dev/port", text);
        let mut carried = deployment("p", 1, &[1]);
        carried[0] = annotated(model(carried[0].clone(), "one"), "headgate.dev/port", text);
        for (objects, identity) in [(vec![own], "pod/p"), (carried, "deployment/p")] {
            let state = store(&objects);
            let it = carrier(&state, identity);
            assert_eq!(it.pods[0].address.to_string(), address, "{text:?}");
            assert_eq!(
                reasons(&state.findings()),
                says.into_iter().collect::<Vec<_>>(),
                "{text:?}"
            );
        }
    }
}

#[test]
fn endpoints_listed_on_another_object_are_ignored_and_reported() {
    let mut all = deployment("a", 1, &[1]);
    all[0] = annotated(
        model(all[0].clone(), "one"),
        "headgate.dev/endpoints",
        "127.0.0.1:9",
    );
    let state = store(&all);
    assert_eq!(carriers(&state), ["deployment/a 1"]);
    let findings = state.findings();
    assert_eq!(reasons(&findings), [reason::ENDPOINTS_IGNORED]);
    assert!(
        findings[0]
            .message
            .contains("kubectl annotate deployment/a -n default headgate.dev/endpoints-")
    );
    assert_eq!(findings[0].object.to_string(), "deployment default/a");
}

#[test]
fn labels_and_annotations_without_effect_are_reported_once_on_the_object_a_person_wrote() {
    let slip = |object, key| annotated(object, key, "8000");
    // A ReplicaSet has the annotations of its Deployment, and every pod those of the template.
    let mut all = deployment("a", 1, &[1, 2]);
    all[0] = model(all[0].clone(), "one");
    for object in &mut all[..2] {
        *object = slip(object.clone(), "headgate.dev/endpoint");
    }
    for pod in &mut all[2..] {
        *pod = slip(pod.clone(), "headgate.dev/ports");
    }
    // No object names a model here, so this is not a carrier.
    let weighted = json!({"model-version": "two", "canary-weight": "10"});
    let mut other = deployment("b", 2, &[3]);
    for object in &mut other {
        *object = labelled(object.clone(), &weighted);
    }
    let front = slip(service("front", json!({"app": "x"})), "headgate.dev/poort");
    let mut state = store(&[all, other.clone(), vec![front]].concat());
    let messages: Vec<String> = state
        .findings()
        .iter()
        .map(|f| format!("{}: {}", f.origin, f.message))
        .collect();
    let parts = [
        (
            "Deployment default/a: annotation `headgate.dev/endpoint` is unknown and has no effect",
            "deployment/a -n default headgate.dev/endpoint-",
        ),
        (
            "Deployment default/a: annotation `headgate.dev/ports` of its pods",
            "kubectl edit deployment/a -n default",
        ),
        (
            "Deployment default/b: has the labels",
            "kubectl label deployment/b -n default model-name=MODEL --overwrite",
        ),
        (
            "Service default/front: annotation `headgate.dev/poort` is unknown and has no effect",
            "did you mean `headgate.dev/port`?",
        ),
    ];
    assert_eq!(messages.len(), parts.len(), "{messages:#?}");
    for (begin, part) in parts {
        let found = messages
            .iter()
            .any(|messages| messages.starts_with(begin) && messages.contains(part));
        assert!(found, "{begin} … {part} in {messages:#?}");
    }
    apply(&mut state, &model(other[0].clone(), "two"));
    state.reconcile();
    assert_eq!(
        state.findings().len(),
        parts.len() - 1,
        "it names its model now"
    );
}

#[test]
fn an_unreadable_field_is_reported_and_the_rest_of_the_object_counts() {
    let mut all = deployment("a", 1, &[1, 2]);
    all[0] = model(all[0].clone(), "one");
    all[0]["spec"]["replicas"] = "three".into();
    all[0]["metadata"]["labels"]["odd"] = json!(7);
    all[3]["status"]["podIP"] = "no address".into();
    let state = store(&all);
    assert_eq!(carriers(&state), ["deployment/a 1"]);
    assert_eq!(
        carrier(&state, "deployment/a").desired,
        2,
        "what its ReplicaSet wants"
    );
    let findings = state.findings();
    assert_eq!(reasons(&findings), [reason::UNREADABLE; 3]);
    assert!(findings.iter().all(|f| f.severity == Severity::Error));
    let messages: Vec<&str> = findings.iter().map(|f| f.message.as_str()).collect();
    assert!(messages.iter().any(|m| m.starts_with("spec.replicas is \"three\", which is not a number of replicas")), "{messages:?}");
    let mut mended = all[0].clone();
    mended["spec"]["replicas"] = 3.into();
    mended["metadata"]["labels"]
        .as_object_mut()
        .unwrap()
        .remove("odd");
    let mut state = state;
    apply(&mut state, &mended);
    state.reconcile();
    assert_eq!(state.findings().len(), 1);
}

#[test]
fn a_change_is_churn_if_pods_are_added_and_a_loss_if_one_becomes_unready() {
    let mut all = deployment("a", 1, &[1, 2]);
    all[0] = model(all[0].clone(), "one");
    let mut state = store(&all);
    let mut step = |object: &Value| {
        apply(&mut state, object);
        (state.reconcile().change, carriers(&state).join(" "))
    };
    assert_eq!(
        step(&ready(all[2].clone(), false)),
        (Some(Change::Loss), "deployment/a 2".into())
    );
    assert_eq!(
        step(&terminating(all[3].clone())),
        (Some(Change::Loss), "deployment/a".into())
    );
    assert_eq!(
        step(&all[2]),
        (Some(Change::Churn), "deployment/a 1".into())
    );
    let weighed = labelled(all[0].clone(), &json!({"canary-weight": "5"}));
    assert_eq!(
        step(&weighed),
        (Some(Change::Intent), "deployment/a 1".into())
    );
    assert_eq!(step(&weighed), (None, "deployment/a 1".into()));
    let mut status = weighed.clone();
    status["status"] = json!({"readyReplicas": 1});
    status["metadata"]["resourceVersion"] = "2".into();
    assert_eq!(step(&status), (None, "deployment/a 1".into()));
    assert_eq!(
        step(&replicas(weighed, 9)),
        (Some(Change::Intent), "deployment/a 1".into())
    );
}

#[test]
fn nothing_is_synced_before_pods_and_services_have_listed_once() {
    let all = watches();
    let (optional, needed): (Vec<_>, Vec<_>) =
        all.iter().cloned().partition(|id| id.kind.is_optional());
    let mut store = Store::new(kinds(), Default::default(), all);
    for id in optional.iter().chain(&needed) {
        assert!(!store.synced());
        store.reduce(id, Event::Init);
        assert!(!store.synced());
        store.reduce(id, Event::InitDone);
    }
    assert!(store.synced());
    store.reduce(&needed[0], Event::Init);
    assert!(store.synced(), "another list takes nothing back");
}

#[test]
fn an_unread_kind_holds_back_only_its_own_pods() {
    let all = watches();
    let sets = kinds().iter().position(|k| k.kind == "InferenceService");
    let sets = WatchedKind::Owners(sets.unwrap());
    let mut store = Store::new(kinds(), Default::default(), all.clone());
    for id in all.iter().filter(|id| id.kind != sets) {
        store.reduce(id, Event::Init);
        store.reduce(id, Event::InitDone);
    }
    let mut others = deployment("a", 1, &[1]);
    others[0] = model(others[0].clone(), "one");
    for object in &others {
        apply(&mut store, object);
    }
    let set = object("InferenceService", "w", 1, None);
    apply(&mut store, &model(pod("w-0", 9, Some(&set)), "one"));
    store.reconcile();
    assert!(store.synced());
    assert_eq!(carriers(&store), ["deployment/a 1"]);
    let id = all.iter().find(|id| id.kind == sets).unwrap();
    store.reduce(id, Event::Absent);
    store.reconcile();
    assert_eq!(carriers(&store), ["deployment/a 1", "pod/w-0 9"]);
}

#[test]
fn a_recreated_object_of_the_same_name_is_another_object() {
    let mut all = deployment("a", 1, &[1]);
    all[0] = model(all[0].clone(), "one");
    let mut state = store(&all);
    let mut later = all[0].clone();
    later["metadata"]["uid"] = "another".into();
    apply(&mut state, &later);
    state.reconcile();
    assert_eq!(
        carriers(&state),
        ["deployment/a"],
        "the pods are not its own"
    );
    delete(&mut state, &all[0]);
    state.reconcile();
    assert_eq!(
        carriers(&state),
        ["deployment/a"],
        "the one that was deleted is another"
    );
}
