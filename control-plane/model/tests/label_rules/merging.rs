//! Duplicate declarations and labels that cannot be read.

use headgate_model::{Address, Carrier, Finding, reason};

use crate::fixtures::{Build, carrier, llama, objects, percents, planned, reasons, version};

#[test]
fn one_version_in_two_carriers_merges_endpoints_and_takes_the_oldest_weight() {
    let plan = planned(&objects([
        carrier("old", "v2").created(1).weight("10").ready(2),
        carrier("new", "v2").created(2).weight("80").ready(3),
        carrier("base", "v1").created(0),
    ]));
    let model = llama(&plan);
    assert_eq!(
        percents(model),
        [("v1".to_owned(), 90.0), ("v2".to_owned(), 10.0)].into()
    );
    let merged = &model.variants[&version("v2")];
    assert_eq!((merged.endpoints.len(), merged.total_endpoints), (5, 5));
    let brought: Vec<&str> = merged.carriers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(brought, ["old", "new"]);
    assert_eq!(reasons(&plan), [reason::VERSION_MERGED]);
    assert_eq!(
        plan.findings[0].object.to_string(),
        "deployment default/new"
    );
}

#[test]
fn merged_carriers_sum_ready_and_desired_replicas() {
    let plan = planned(&objects([
        carrier("old", "v1").created(1).unready(1).desired(2),
        carrier("new", "v1").created(2).ready(3).desired(4),
        carrier("peer", "v2").created(3).joins().desired(2),
    ]));
    assert_eq!(
        percents(llama(&plan)),
        [("v1".to_owned(), 75.0), ("v2".to_owned(), 25.0)].into()
    );
}

#[test]
fn a_client_name_claimed_twice_goes_to_the_oldest() {
    let plan = planned(&objects([
        carrier("a", "v1")
            .created(2)
            .names("meta-llama/Llama-3.1, big,, big"),
        carrier("b", "v1")
            .model("phi")
            .created(1)
            .names("big, Big, llama"),
    ]));
    let models = &plan.namespaces["default"].config.models;
    assert_eq!(
        models["phi"].names,
        ["Big", "big"],
        "case-sensitive, sorted"
    );
    assert_eq!(models["llama"].names, ["meta-llama/Llama-3.1"]);
    assert_eq!(reasons(&plan), [reason::NAME_CLAIMED, reason::NAME_CLAIMED]);
    let messages: Vec<_> = plan.findings.iter().map(|f| &f.message).collect();
    assert!(
        messages
            .iter()
            .any(|m| m.contains("is the id of model llama")),
        "{messages:?}"
    );
}

#[test]
fn namespaces_are_independent() {
    let plan = planned(&objects([
        carrier("a", "v1").created(1),
        carrier("b", "v2").created(2).namespace("other"),
    ]));
    assert_eq!(percents(llama(&plan)), [("v1".to_owned(), 100.0)].into());
    let other = &plan.namespaces["other"].models["llama"];
    assert_eq!(percents(other), [("v2".to_owned(), 100.0)].into());
    assert!(plan.findings.is_empty());
}

#[test]
fn an_invalid_version_of_a_pod_template_is_reported_once_and_the_carriers_takes_effect() {
    let plan = planned(&objects([carrier("a", "v1").ready(1).rolling("-v3", 40)]));
    assert_eq!(
        percents(llama(&plan)),
        [("v1".to_owned(), 100.0)].into(),
        "serving versions keep serving"
    );
    let [finding] = plan.findings.as_slice() else {
        panic!("{:?}", plan.findings)
    };
    assert_eq!(finding.reason, reason::INVALID_VERSION);
    for part in [
        "of its pods",
        "template",
        "kubectl edit deployment/a -n default",
    ] {
        assert!(finding.message.contains(part), "{}", finding.message);
    }
}

#[test]
fn an_invalid_label_is_reported_and_affects_nothing_else() {
    let mut service = carrier("s", "v9").label("model-name", "llama");
    service.key.kind = "service".into();
    service.labels.remove("model-version");
    let plan = planned(&objects([
        carrier("a", "v1"),
        carrier("b", "v2").model("no spaces"),
        carrier("c", "-v3").rolling("v4", 1).weight("10"),
        service,
    ]));
    assert_eq!(
        percents(llama(&plan)),
        [("v1".to_owned(), 90.0), ("v4".to_owned(), 10.0)].into()
    );
    assert_eq!(
        reasons(&plan),
        [reason::INVALID_MODEL, reason::INVALID_VERSION]
    );
}

#[test]
fn replicas_of_two_carriers_with_the_same_pods_count_once() {
    let fronts = |overlap: bool| {
        let mut front = carrier("front", "v1").created(1).ready(2).desired(2);
        let mut headless = carrier("headless", "v1").created(2).ready(2).desired(2);
        front.key.kind = "service".into();
        headless.key.kind = "service".into();
        if overlap {
            headless.pods = front.pods.clone();
        }
        planned(&objects([front, headless]))
    };
    // A headless Service beside a ClusterIP Service: the same pods, and no finding.
    let same = fronts(true);
    let member = &llama(&same).carriers[0];
    assert_eq!((member.ready, member.desired), (2, 2));
    assert_eq!(reasons(&same), Vec::<&str>::new());
    let apart = fronts(false);
    let member = &llama(&apart).carriers[0];
    assert_eq!((member.ready, member.desired), (4, 4));
    assert_eq!(reasons(&apart), [reason::VERSION_MERGED]);
}

#[test]
fn a_pod_that_two_carriers_bring_on_different_ports_is_one_endpoint() {
    let front = carrier("front", "v1").created(1).ready(2).desired(2);
    let mut other = carrier("other", "v1").created(2).ready(3).desired(3);
    for (pod, same) in other.pods.iter_mut().zip(&front.pods) {
        let Address::Ip(mut address) = same.address.clone() else {
            panic!("{same:?}");
        };
        address.set_port(8001);
        pod.name = same.name.clone();
        pod.address = address.into();
    }
    let own = other.pods[2].address.clone();
    let known: Vec<Address> = front.pods.iter().map(|pod| pod.address.clone()).collect();
    let plan = planned(&objects([front.clone(), other.clone()]));
    let model = llama(&plan);
    let endpoints = model.variants[&version("v1")].endpoints.clone();
    assert_eq!(endpoints, known.into_iter().chain([own]).collect());
    let member = &model.carriers[0];
    assert_eq!((member.ready, member.desired), (3, 3));
    assert_eq!(reasons(&plan), [reason::VERSION_MERGED]);

    // Pods with different names on one node are different pods.
    for pod in &mut other.pods {
        pod.name = format!("{}-on-the-host", pod.name);
    }
    let plan = planned(&objects([front, other]));
    assert_eq!(llama(&plan).carriers[0].ready, 5);
}

/// The finding of a plan, if there is one; there must not be more.
#[track_caller]
fn only(carriers: &[Carrier]) -> Option<Finding> {
    let mut found = planned(&objects(carriers.to_vec())).findings;
    assert!(found.len() < 2, "{found:#?}");
    found.pop()
}

/// Applies a command `kubectl label` of a message to the carrier that it names.
#[track_caller]
fn follow(finding: &Finding, command: &str, carriers: &mut [Carrier]) {
    assert!(finding.message.contains(command), "{}", finding.message);
    let words: Vec<&str> = command.split(' ').collect();
    let ["kubectl", "label", identity, "-n", _, change, ..] = words[..] else {
        panic!("{command}");
    };
    let mut named = carriers.iter_mut().filter(|c| c.key.identity() == identity);
    let labels = &mut named.next().unwrap().labels;
    match change.split_once('=') {
        Some((label, value)) => _ = labels.insert(label.into(), value.into()),
        None => _ = labels.remove(change.trim_end_matches('-')).unwrap(),
    }
}

#[test]
fn a_second_service_of_the_same_pods_needs_no_weight_and_the_advice_ends_the_finding() {
    let service = |name: &str, created: i64| {
        let mut service = carrier(name, "v1").created(created);
        service.key.kind = "service".to_owned();
        service.pods = carrier("pods", "v1").ready(2).pods;
        service
    };
    let (front, headless) = (|| service("front", 1), || service("headless", 2));
    let weighted = [front().weight("10"), headless()];
    assert_eq!(only(&weighted), None);
    // On the Service that does not own the version, a weight has no effect.
    let mistaken = [front(), headless().weight("10")];
    for command in [
        "kubectl label service/front -n default canary-weight=10 --overwrite",
        "kubectl label service/headless -n default canary-weight-",
    ] {
        let mut carriers = mistaken.clone();
        let found = only(&carriers).unwrap();
        assert_eq!(found.reason, reason::VERSION_MERGED);
        assert!(!found.message.contains("another version"), "{found:?}");
        follow(&found, command, &mut carriers);
        assert_eq!(only(&carriers), None, "{command}");
    }
    let mut carriers = [front(), headless().weight("1O")];
    let found = only(&carriers).unwrap();
    let remove = "kubectl label service/headless -n default canary-weight-";
    follow(&found, remove, &mut carriers);
    assert_eq!(only(&carriers), None);
}

#[test]
fn the_advice_for_a_version_with_different_pods_ends_the_finding() {
    let mut carriers = [
        carrier("old", "v1").created(1).weight("10"),
        carrier("new", "v1").created(2).weight("20"),
        carrier("base", "v0").created(0),
    ];
    let found = only(&carriers).unwrap();
    let command = "kubectl label deployment/new -n default model-version=VERSION --overwrite";
    follow(&found, command, &mut carriers);
    assert_eq!(only(&carriers), None);
    // The version of a pod takes precedence over that of its carrier.
    let mut carriers = [
        carrier("old", "v1").created(1),
        carrier("new", "v1").created(2).ready(0).rolling("v1", 2),
    ];
    let found = only(&carriers).unwrap().message;
    let edit = "`model-version` of its pod template: kubectl edit deployment/new -n default";
    assert!(found.contains(edit), "{found}");
    carriers[1] = carrier("new", "v1")
        .created(2)
        .weight("5")
        .ready(0)
        .rolling("v2", 2);
    assert_eq!(only(&carriers), None);
    // Services that share a pod.
    let service = |mut carrier: Carrier| {
        carrier.key.kind = "service".to_owned();
        carrier
    };
    let one = service(carrier("one", "v1").created(1).ready(2));
    let mut two = service(carrier("two", "v1").created(2).ready(2));
    two.pods[0] = one.pods[0].clone();
    let found = only(&[one, two]).unwrap().message;
    assert!(found.contains("belong to one of the two only"), "{found}");
}

#[test]
fn overlapping_desired_replicas_count_once() {
    let old = carrier("old", "v1").created(1).ready(2).desired(2);
    let mut new = carrier("new", "v1").created(2).ready(3).desired(6);
    new.pods[..2].clone_from_slice(&old.pods);
    let plan = planned(&objects([old, new]));
    let member = &llama(&plan).carriers[0];
    assert_eq!((member.ready, member.desired), (3, 6));

    // A weight without effect still has a finding.
    let old = carrier("old", "v1").created(1).ready(2).desired(2);
    let mut new = carrier("new", "v1").created(2).weight("10").desired(2);
    new.pods = old.pods.clone();
    assert_eq!(
        reasons(&planned(&objects([old, new]))),
        [reason::VERSION_MERGED]
    );
}

#[test]
fn services_of_two_versions_that_select_the_same_pods_are_reported() {
    let service = |name: &str, version: &str, created: i64| {
        let mut service = carrier(name, version).created(created);
        service.key.kind = "service".to_owned();
        service.pods = carrier("pods", version).ready(2).pods;
        service
    };
    let stable = || service("stable", "v1", 1);
    let canary = || service("canary", "v2", 2).weight("25");
    let finding = |carriers: Vec<Carrier>| {
        let plan = planned(&objects(carriers));
        let mut all = plan.findings.into_iter();
        all.find(|finding| finding.reason == reason::ENDPOINTS_SHARED)
    };
    let found = finding(vec![stable(), canary()]).unwrap();
    let of = canary().key;
    assert_eq!(found.object, of.into());
    assert!(
        found
            .message
            .contains("kubectl get service/canary service/stable -n default"),
        "{}",
        found.message
    );
    // A running canary has a pod of its own.
    let mut own = canary();
    own.pods = carrier("own", "v2").ready(1).pods;
    assert_eq!(finding(vec![stable(), own]), None);
    // Nothing is selected yet.
    let mut none = [stable(), canary()];
    none.iter_mut().for_each(|service| service.pods.clear());
    assert_eq!(finding(none.to_vec()), None);
}
