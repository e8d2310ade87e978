//! Files → objects, without a file system: bytes and times in, observations out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod inputs;
mod quotes;
mod services;

use headgate_contract::{
    Attribute, PolicySpec as _, Target, TokenBucketPolicySpec, TrafficTagPolicySpec,
};
use headgate_model::Change;
use headgate_model::Observed;
use headgate_model::{CarrierKey, LabelKeys, PolicyId};
use headgate_source::files::Reducer;
use proptest::prelude::*;

const LLAMA: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: llama-v2
  creationTimestamp: "2026-01-31T12:00:00Z"
  labels: {model-name: llama, model-version: v2, canary-weight: "10", team: red}
  annotations:
    headgate.dev/endpoints: "127.0.0.1:8101, [::1]:8102,127.0.0.1:8101"
spec:
  replicas: 3
"#;

const TENANTS: &str = r"
apiVersion: headgate.dev/v1alpha1
kind: TokenBucketPolicy
metadata: {name: tenants, generation: 7}
spec:
  models: [llama]
  buckets:
    - {name: fair, key: [tenant, 'header:x-team'], profile: tokens, tokens: {capacity: 1000, refillPerSecond: 0.3}}
";

const TAGS: &str = r"
apiVersion: headgate.dev/v1alpha1
kind: TrafficTagPolicy
metadata: {name: tags, namespace: prod}
spec: {tenantFrom: ['header:x-team']}
";

/// A deployment of one line each.
fn deployment(name: &str, endpoint: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, labels: {{model-name: m, model-version: v}}, \
         annotations: {{headgate.dev/endpoints: '{endpoint}'}}}}}}\n"
    )
}

fn key(name: &str) -> CarrierKey {
    CarrierKey {
        namespace: "default".into(),
        kind: "deployment".into(),
        name: name.into(),
    }
}

fn reducer() -> Reducer {
    Reducer::new("default", LabelKeys::default())
}

fn observe(files: &[(&str, &str)]) -> Observed {
    let mut reducer = reducer();
    for (file, text) in files {
        reducer.apply(file, text.as_bytes(), 100);
    }
    reducer.observe(&Observed::default()).unwrap()
}

fn problems(observed: &Observed) -> Vec<String> {
    observed.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_labelled_deployment_is_a_carrier_and_the_annotation_lists_its_endpoints() {
    let observed = observe(&[("models/llama.yaml", LLAMA)]);
    let carrier = &observed.objects.carriers[&key("llama-v2")];
    assert_eq!(carrier.created, Some(1_769_860_800));
    assert_eq!(carrier.desired, 3);
    assert_eq!(carrier.labels["team"], "red");
    assert_eq!(carrier.origin, "models/llama.yaml");
    let addresses: Vec<String> = carrier.pods.iter().map(|p| p.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:8101", "[::1]:8102"]);
    assert!(carrier.pods.iter().all(|p| p.ready && p.version.is_none()));
    assert_eq!(problems(&observed), Vec::<String>::new());
}

#[test]
fn any_kind_may_have_the_labels_and_pods_have_the_version_of_their_template() {
    let set = LLAMA
        .replace("kind: Deployment", "kind: LeaderWorkerSet")
        .replace("apps/v1", "leaderworkerset.x-k8s.io/v1")
        .replace(
            "  replicas: 3",
            "  template: {metadata: {labels: {model-version: v2-cuda}}}",
        );
    let observed = observe(&[("m.yaml", &set)]);
    let carrier = observed.objects.carriers.values().next().unwrap();
    assert_eq!(carrier.key.kind, "leaderworkerset");
    assert_eq!(
        carrier.desired, 2,
        "without spec.replicas, as many as endpoints"
    );
    assert_eq!(carrier.pods[0].version.as_deref(), Some("v2-cuda"));
}

#[test]
fn policies_have_the_specs_of_the_contract() {
    let observed = observe(&[(
        "p.yaml",
        &format!("{TENANTS}---\n# nothing here\n---{TAGS}"),
    )]);
    let id = |kind, namespace: &str, name: &str| PolicyId {
        kind,
        namespace: namespace.into(),
        name: name.into(),
    };
    let policy = &observed.objects.policies[&id(TokenBucketPolicySpec::KIND, "default", "tenants")];
    assert_eq!(policy.generation, 7);
    let spec = policy.spec.get::<TokenBucketPolicySpec>().unwrap();
    assert!(matches!(&spec.target, Target::Models(m) if m[0].as_str() == "llama"));
    assert_eq!(spec.buckets[0].key.len(), 2);
    assert_eq!(spec.buckets[0].key[0], Attribute::Tenant);
    let tags = &observed.objects.policies[&id(TrafficTagPolicySpec::KIND, "prod", "tags")];
    let tags = tags.spec.get::<TrafficTagPolicySpec>().unwrap();
    let sources = tags.tagging.tenant_from.iter().cloned();
    assert_eq!(
        sources.map(String::from).collect::<Vec<_>>(),
        ["header:x-team"]
    );
    assert_eq!(problems(&observed), Vec::<String>::new());
}

#[test]
fn lists_and_json_are_read_like_single_documents() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- ".to_owned()
        + &deployment("a", "127.0.0.1:1")
        + "- "
        + &deployment("b", "127.0.0.1:2");
    let json = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"c","labels":{"model-name":"m","model-version":"v"}}}
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"d","labels":{"model-name":"m","model-version":"v"}}}"#;
    let observed = observe(&[("list.yml", &list), ("two.json", json)]);
    let kinds: Vec<_> = observed
        .objects
        .carriers
        .keys()
        .map(CarrierKey::identity)
        .collect();
    assert_eq!(
        kinds,
        ["deployment/a", "deployment/b", "pod/d", "service/c"]
    );
    assert_eq!(problems(&observed), Vec::<String>::new());
}

#[test]
fn a_kind_whose_name_ends_in_list_is_not_a_list() {
    let allow = deployment("a", "127.0.0.1:1").replace("kind: Deployment", "kind: AllowList");
    let typo = "{apiVersion: v1, kind: List, itmes: []}\n";
    let observed = observe(&[("m.yaml", &(allow + "---\n" + typo))]);
    assert_eq!(observed.objects.carriers.len(), 1);
    let messages = problems(&observed);
    assert!(
        messages[0].starts_with("m.yaml (document 2): metadata.name"),
        "{messages:?}"
    );
}

#[test]
fn the_output_of_kubectl_label_local_is_read() {
    let written = LLAMA.replace("\"2026-01-31T12:00:00Z\"", "null").replace(
        "  replicas: 3\n",
        "  replicas: 3\n  strategy: {}\nstatus: {}\n",
    );
    let observed = observe(&[("m.yaml", &written)]);
    assert_eq!(observed.objects.carriers[&key("llama-v2")].created, None);
    assert_eq!(problems(&observed), Vec::<String>::new());
}

#[test]
fn several_objects_in_the_output_of_kubectl_are_read_without_separators() {
    let object = |name: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  labels:\n    model-name: m\n    model-version: {name}\n  name: {name}\nspec: {{}}\n"
        )
    };
    let text = object("a") + &object("b") + "---\n" + &object("c");
    let observed = observe(&[("m.yaml", &text)]);
    let names: Vec<_> = observed
        .objects
        .carriers
        .keys()
        .map(|k| k.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(problems(&observed), Vec::<String>::new());
}

#[test]
fn a_refusal_names_the_file_the_document_the_path_and_the_fix() {
    let cases = [
        (
            format!("{TAGS}---{}", TENANTS.replace("tenant,", "tenent,")),
            "f.yaml (document 2): spec.buckets[0].key[0]: unknown attribute \"tenent\": write tenant, model, version, dialect, operation, path, apiKeySha256, peerSpiffeId, sourceIp, maxTokens, stream, n, promptTokens, temperature, path:N, header:NAME, query:NAME, cookie:NAME, body:PATH, jwtClaim:NAME or sourceNetwork:IPV4_BITS/IPV6_BITS",
        ),
        (
            TENANTS.replace("models: [llama]", "modles: [llama]"),
            "f.yaml: spec.modles: unknown field `modles`, expected one of `targetRefs`, `models`, `selector`, `override`, `at`, `buckets`",
        ),
        (
            TENANTS.replace("v1alpha1", "v1"),
            "f.yaml: apiVersion: headgate.dev/v1 has no kind TokenBucketPolicy: write headgate.dev/v1alpha1",
        ),
        (
            LLAMA.replace("\"10\"", "10"),
            "f.yaml: metadata.labels.canary-weight: must be text: write \"10\", in quotes",
        ),
        (
            LLAMA.replace("model-version: v2", "model-version: 1.10"),
            "f.yaml: metadata.labels.model-version: must be text: write \"1.1",
        ),
        (
            LLAMA.replace("model-version: v2", "model-version: 'v 2'"),
            "f.yaml: metadata.labels.model-version: \"v 2\" is not a valid model version: write a Kubernetes label value",
        ),
        (
            LLAMA.replace("[::1]:8102", "localhost"),
            "f.yaml: metadata.annotations[\"headgate.dev/endpoints\"]: \"localhost\" is neither ip:port nor name:port: write it like 127.0.0.1:8101",
        ),
        (
            LLAMA.replace(
                "annotations:",
                "annotations:\n    headgate.dev/protocol: h2c",
            ),
            "f.yaml: metadata.annotations[\"headgate.dev/protocol\"]: is \"h2c\": write http1, http2, grpc or client",
        ),
        (
            LLAMA.replace("replicas: 3", "replicas: -1"),
            "f.yaml: spec.replicas: is -1: write a whole number of at least 0",
        ),
        (
            LLAMA.replace("2026-01-31T12:00:00Z", "yesterday"),
            "f.yaml: metadata.creationTimestamp: \"yesterday\" is not a time: write it like",
        ),
        (
            LLAMA.replace("name: llama-v2", "name: Llama/v2"),
            "f.yaml: metadata.name: \"Llama/v2\" is not a Kubernetes name",
        ),
        (
            LLAMA.replace("  name: llama-v2\n", ""),
            "f.yaml: metadata.name: is missing: give the object a name",
        ),
        ("kind: [".into(), "f.yaml: is not YAML: "),
        ("a: 1\na: 2".into(), "f.yaml: is not YAML: "),
        (
            "just text".into(),
            "f.yaml: is not an object: write apiVersion, kind and metadata",
        ),
        (
            "# only a comment\n".into(),
            "f.yaml: contains no object. To remove its objects, remove the file",
        ),
        (
            format!(
                "kind: List\napiVersion: v1\nitems:\n- {}- {{kind: x}}",
                deployment("a", "127.0.0.1:1")
            ),
            "f.yaml: items[1].apiVersion: is missing: every object needs `apiVersion`",
        ),
    ];
    for (text, expected) in cases {
        let messages = problems(&observe(&[("f.yaml", &text)]));
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].starts_with(expected),
            "got      {}\nexpected {expected}",
            messages[0]
        );
    }
}

#[test]
fn an_invalid_file_keeps_its_last_valid_content_and_reports_since_when() {
    let mut reducer = reducer();
    reducer.apply("m.yaml", LLAMA.as_bytes(), 100);
    let valid = reducer.observe(&Observed::default()).unwrap();
    let mut observed = valid.clone();
    for (now, bad) in [
        (110, "kind: ["),
        (120, ""),
        (130, &LLAMA[..LLAMA.len() / 2]),
    ] {
        reducer.apply("m.yaml", bad.as_bytes(), now);
        observed = reducer.observe(&observed).unwrap_or(observed);
        assert_eq!(observed.objects.carriers, valid.objects.carriers, "{bad}");
        assert!(observed.objects.unread.anything, "{bad}");
        assert_eq!(
            (observed.problems.len(), observed.problems[0].since),
            (1, 110),
            "{:?}",
            observed.problems
        );
        assert!(
            observed.problems[0]
                .message
                .ends_with("the last valid content of the file is served")
        );
        let change = observed.change_since(&valid);
        assert_eq!(change, Some(Change::Churn), "nobody edited anything");
    }
    reducer.unreadable("m.yaml", "permission denied", 135);
    observed = reducer.observe(&observed).unwrap();
    assert_eq!(
        (&observed.objects.carriers, observed.problems[0].since),
        (&valid.objects.carriers, 110)
    );
    reducer.apply("m.yaml", LLAMA.replace("\"10\"", "\"30\"").as_bytes(), 140);
    let fixed = reducer.observe(&observed).unwrap();
    assert_eq!(
        fixed.objects.carriers[&key("llama-v2")].labels["canary-weight"],
        "30"
    );
    assert!(fixed.problems.is_empty());
    reducer.apply("m.yaml", b"kind: [", 150);
    assert_eq!(reducer.observe(&fixed).unwrap().problems[0].since, 150);
    reducer.remove("m.yaml");
    let gone = reducer.observe(&fixed).unwrap();
    assert!(gone.objects.carriers.is_empty() && gone.problems.is_empty());
}

#[test]
fn a_file_that_was_never_valid_reports_that_no_object_is_served() {
    let observed = observe(&[("m.yaml", "kind: [")]);
    let message = &observed.problems[0].message;
    assert!(
        message.ends_with("no object of the file is served"),
        "{message}"
    );
}

#[test]
fn the_revision_changes_only_with_the_observation() {
    let mut reducer = reducer();
    let mut last = reducer.revision();
    let mut moved = |reducer: &Reducer| std::mem::replace(&mut last, reducer.revision()) != last;
    reducer.apply("m.yaml", LLAMA.as_bytes(), 1);
    assert!(moved(&reducer));
    reducer.directory_readable("models");
    reducer.remove("never-there.yaml");
    assert!(!moved(&reducer));
    reducer.directory_unreadable("models", "gone", 2);
    assert!(moved(&reducer));
    reducer.directory_unreadable("models", "gone", 3);
    assert!(!moved(&reducer));
    reducer.directory_readable("models");
    assert!(moved(&reducer));
    reducer.unreadable("m.yaml", "permission denied", 4);
    assert!(moved(&reducer));
    reducer.remove("m.yaml");
    assert!(moved(&reducer));
}

#[test]
fn one_invalid_document_holds_back_the_whole_file_and_after_a_restart_only_itself() {
    let two = deployment("a", "127.0.0.1:1") + "---\n" + &deployment("b", "127.0.0.1:2");
    let bad = two.replace("127.0.0.1:2", "nowhere") + "---\n" + &deployment("c", "127.0.0.1:3");
    let mut long_running = reducer();
    long_running.apply("m.yaml", two.as_bytes(), 1);
    let before = long_running.observe(&Observed::default()).unwrap();
    long_running.apply("m.yaml", bad.as_bytes(), 2);
    let after = long_running.observe(&before).unwrap();
    assert_eq!(after.objects.carriers, before.objects.carriers);
    assert!(problems(&after)[0].starts_with("m.yaml (document 2): metadata.annotations"));
    let started = observe(&[("m.yaml", &bad)]);
    let names: Vec<_> = started
        .objects
        .carriers
        .keys()
        .map(|k| k.name.as_str())
        .collect();
    assert_eq!(names, ["a", "c"]);
    assert!(
        started.problems[0]
            .message
            .ends_with("the other objects of the file are served")
    );
}

#[test]
fn of_one_object_in_two_files_the_first_file_by_name_wins() {
    let (one, two) = (
        deployment("a", "127.0.0.1:1"),
        deployment("a", "127.0.0.1:2"),
    );
    let observed = observe(&[("z.yaml", &two), ("b.yaml", &one)]);
    assert_eq!(
        observed.objects.carriers[&key("a")].pods[0].address.port(),
        1
    );
    let messages = "z.yaml: deployment default/a is also in b.yaml, which comes first and is used: remove one of the two";
    assert_eq!(problems(&observed), [messages]);
    let within = self::observe(&[("b.yaml", &(one + "---\n" + &two))]);
    assert_eq!(within.objects.carriers[&key("a")].pods[0].address.port(), 1);
    assert!(
        problems(&within)[0]
            .starts_with("b.yaml (document 2): deployment default/a is also in b.yaml")
    );
}

#[test]
fn label_keys_are_configurable() {
    let keys = LabelKeys {
        model: "ai/model".into(),
        ..LabelKeys::default()
    };
    let mut reducer = Reducer::new("prod", keys);
    reducer.apply(
        "m.yaml",
        LLAMA.replace("model-name", "ai/model").as_bytes(),
        1,
    );
    let observed = reducer.observe(&Observed::default()).unwrap();
    assert_eq!(
        observed.objects.carriers.keys().next().unwrap().namespace,
        "prod"
    );
}

#[test]
fn an_observation_distinguishes_edits_from_changes_of_endpoints() {
    let mut reducer = reducer();
    let mut step = |text: &str, before: &Observed| {
        reducer.apply("m.yaml", text.as_bytes(), 1);
        reducer.observe(before)
    };
    let one = step(LLAMA, &Observed::default()).unwrap();
    assert_eq!(one.change_since(&Observed::default()), Some(Change::Intent));
    assert_eq!(
        step(&LLAMA.replace("apps/v1", "apps/v1 # noted"), &one),
        None,
        "the same observation"
    );
    let edited = step(&LLAMA.replace("\"10\"", "\"11\""), &one).unwrap();
    assert_eq!(edited.change_since(&one), Some(Change::Intent));
    let version = "spec: {template: {metadata: {labels: {model-version: v3}}}, replicas: 3}";
    let rolled = LLAMA
        .replace("\"10\"", "\"11\"")
        .replace("spec:\n  replicas: 3", version);
    let moved = step(&rolled, &edited).unwrap();
    assert_eq!(
        moved.change_since(&edited),
        Some(Change::Loss),
        "the version before has them no more"
    );
    assert_eq!(
        moved.change_since(&one),
        Some(Change::Intent),
        "an edit that was skipped is not forgotten"
    );
}

proptest! {
    #[test]
    fn the_order_of_files_does_not_matter(
        order in Just(vec![0, 1, 2, 3, 4]).prop_shuffle(),
        noise in prop::collection::vec((0..5_usize, any::<bool>()), 0..6),
    ) {
        let files: Vec<(String, String)> = (0..5)
            .map(|i| (format!("{i}.yaml"), deployment(["a", "b", "a", "c", "b"][i], &format!("127.0.0.1:{}", i + 1))))
            .collect();
        let mut long_running = reducer();
        for (i, bad) in noise {
            long_running.apply(&files[i].0, if bad { b"kind: [" } else { b"{}" }, 1);
            long_running.remove(&files[i].0);
        }
        for i in order {
            long_running.apply(&files[i].0, files[i].1.as_bytes(), 100);
        }
        let list: Vec<(&str, &str)> = files.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect();
        prop_assert_eq!(long_running.observe(&Observed::default()).unwrap(), observe(&list));
    }

    #[test]
    fn any_invalid_bytes_are_a_problem_and_do_not_affect_a_valid_file(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut reducer = reducer();
        reducer.apply("good.yaml", LLAMA.as_bytes(), 1);
        reducer.apply("bad.yaml", &bytes, 1);
        reducer.apply("cut.yaml", &LLAMA.as_bytes()[..cut.index(LLAMA.len())], 1);
        reducer.apply("bad.json", &bytes, 1);
        let observed = reducer.observe(&Observed::default()).unwrap();
        prop_assert!(observed.objects.carriers.contains_key(&key("llama-v2")));
        prop_assert!(!observed.problems.is_empty());
    }
}
