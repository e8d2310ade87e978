//! Inside an Istio mesh: the namespace by the host, hosts that serve no model, and the version that served.

use headgate_core::effects::{Effect, Flow, Step};
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;

use crate::proxy::{Proxy, counted, reply, request_header, response_header, tokens};

/// Two namespaces with hosts, each with a model `m` in a version of its own, and this role.
fn mesh(role: &str) -> Proxy {
    let namespace = |name: &str, hosts: &str, version: &str| {
        let bucket = tokens(10_000, "1", "");
        format!(
            r#""{name}":{{"hosts":[{hosts}],"models":{{"m":{{
            "base":[{{"carrier":"deployment/m","weight":1,"versions":[{{"version":"{version}","endpoints":1}}]}}]}}}},
            "buckets":[{bucket}]}}"#
        )
    };
    let a = namespace(
        "a",
        r#""m.a.svc.cluster.local","*.example.com","*","fd00::1""#,
        "va",
    );
    let b = namespace("b", r#""m.b.svc.cluster.local""#, "vb");
    Proxy::new(&format!(
        r#"{{"role":"{role}","versionLabel":"release","namespaces":{{{a},{b}}}}}"#
    ))
}

fn at(proxy: &mut Proxy, virtual_host: &str) {
    proxy.host.virtual_host.replace(Some(virtual_host.into()));
}

fn istio(proxy: &Proxy, property: &str, value: &str) {
    let mut known = proxy.host.istio.borrow_mut();
    known.insert(property.into(), value.into());
}

/// A chat request that names the model in its body alone.
fn chat(proxy: &mut Proxy) -> (Stream, Step) {
    proxy.chat(&[("x-headgate-mine", "1")], r#"{"model":"m"}"#)
}

#[test]
fn the_host_of_the_virtual_host_determines_the_namespace() {
    let mut proxy = mesh("decide");
    for (virtual_host, version) in [
        ("m.a.svc.cluster.local:8000", "va"),
        ("M.A.svc.Cluster.local.:80", "va"),
        ("m.b.svc.cluster.local:8000", "vb"),
        ("m.b.svc.cluster.local", "vb"),
        ("*.example.com:443", "va"),
        ("x.example.com:443", "va"),
        ("*:8080", "va"),
        ("[fd00::1]:8000", "va"),
        ("model-serving/b", "vb"),
    ] {
        at(&mut proxy, virtual_host);
        let (_, step) = chat(&mut proxy);
        let picked = request_header(&step, "x-model-version");
        assert_eq!(picked, Some(version), "{virtual_host}");
    }
}

#[test]
fn one_namespace_with_hosts_has_only_their_virtual_hosts() {
    let config = |hosts: &str| {
        format!(
            r#"{{"namespaces":{{"a":{{{hosts}"models":{{"m":{{"base":[{{"carrier":"d/m","weight":1,"versions":[{{"version":"v1","endpoints":1}}]}}]}}}}}}}}}}"#
        )
    };
    for (hosts, virtual_host, tagged) in [
        ("", "anything", true),
        (r#""hosts":["m.a.svc"],"#, "m.a.svc:80", true),
        (r#""hosts":["m.a.svc"],"#, "anything", false),
    ] {
        let mut proxy = Proxy::new(&config(hosts));
        at(&mut proxy, virtual_host);
        let (_, step) = chat(&mut proxy);
        assert_eq!(
            request_header(&step, "x-model").is_some(),
            tagged,
            "{hosts} {virtual_host}"
        );
    }
}

#[test]
fn a_request_to_another_host_passes_untouched() {
    for role in ["decide", "follow"] {
        let mut proxy = mesh(role);
        for virtual_host in [
            "users.a.svc.cluster.local:8000",
            "m.a.svc.cluster.local.evil:8000",
            "example.com:443",
            "x.example.org:443",
            "allow_any",
            "inbound|http|8000",
            "",
        ] {
            at(&mut proxy, virtual_host);
            for (method, path) in [
                ("POST", "/v1/chat/completions"),
                ("POST", "/v1/users"),
                ("GET", "/v1/users"),
                ("GET", "/v1/models"),
                ("GET", "/v1/models/m"),
                ("DELETE", "/v1/chat/completions"),
                ("OPTIONS", "/v1/chat/completions"),
                ("GET", "/health"),
                ("GET", "/other"),
            ] {
                let headers = Headers::from_pairs(&[
                    (":method", method),
                    (":path", path),
                    ("x-model", "theirs"),
                    ("x-headgate-tenant", "theirs"),
                    ("baggage", "headgate.tenant=theirs"),
                    ("access-control-request-method", "POST"),
                    ("content-encoding", "gzip"),
                    ("content-length", "99999999"),
                ]);
                let mut stream = Stream::new();
                let step = stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
                let context = format!("{role} {virtual_host} {method} {path}");
                assert_eq!(step.flow, Flow::Continue, "{context}");
                assert!(!stream.wants_request_body(), "{context}");
                assert!(!stream.wants_response(), "{context}");
                let touches = |e: &Effect| !matches!(e, Effect::Count(..));
                assert!(!step.effects.iter().any(touches), "{context}: {step:?}");
            }
        }
    }
}

#[test]
fn a_request_to_another_host_is_counted() {
    let mut proxy = mesh("decide");
    at(&mut proxy, "users.a.svc.cluster.local:8000");
    let (_, step) = chat(&mut proxy);
    let metric = "model_namespace=.=;.;model=.=unknown;.;version=.=;.;lane=.=;.;outcome=.=unmetered;.;headgate_requests_total";
    assert_eq!(counted(&step.effects, metric), 1);
}

#[test]
fn a_pod_receives_requests_for_the_models_of_its_namespace() {
    let mut proxy = mesh("decide");
    at(&mut proxy, "inbound|http|8000");
    istio(&proxy, "NodeNamespace", "b");
    let (_, step) = chat(&mut proxy);
    assert_eq!(request_header(&step, "x-model-version"), Some("vb"));
}

/// A model with a version of each kind: one whose name is no DNS label, and a carrier in the middle of a rolling update.
fn serving(role: &str) -> Proxy {
    Proxy::new(&format!(
        r#"{{"role":"{role}","versionLabel":"release","namespaces":{{"default":{{"models":{{"m":{{
        "canaries":[{{"carrier":"deployment/m-canary","weight":5,"versions":[{{"version":"v3","endpoints":1}}]}}],
        "base":[{{"carrier":"deployment/m-stable","weight":1,"versions":[{{"version":"v2.3.1-cuda118","endpoints":1}}]}},
                {{"carrier":"deployment/m-rolling","weight":1,"versions":[{{"version":"v1","endpoints":1}},{{"version":"v2","endpoints":1}}]}}],
        "dark":[{{"carrier":"statefulset/m-dark","versions":[{{"version":"v0","endpoints":0}}]}},
                {{"carrier":"statefulset/m-canary","versions":[{{"version":"v3","endpoints":0}}]}}]}}}}}}}}}}"#
    ))
}

fn answered(proxy: &mut Proxy) -> (Option<String>, Option<String>) {
    proxy.host.served.replace(None);
    proxy.host.details.replace(Some("via_upstream".into()));
    let (mut stream, step) = proxy.chat(&[("x-model", "m")], r#"{"model":"m"}"#);
    assert_eq!(step.flow, Flow::Continue);
    let step = proxy.answer(&mut stream, &[(":status", "200")], "");
    let header = |name| response_header(&step, name).map(str::to_owned);
    (header("x-model"), header("x-model-version"))
}

#[test]
fn the_endpoint_tells_by_its_workload_or_its_subset_which_version_served() {
    let shared =
        |model: &str, version: &str| headgate_contract::names::shared_subset(model, version);
    let (own, of_another) = (shared("m", "v3"), shared("other", "v3"));
    for (workload, subset, expected) in [
        // Behind a Service in front of several models.
        ("", own.as_str(), Some("v3")),
        ("", of_another.as_str(), None),
        // The workload is a carrier.
        ("m-canary;default;m;;Kubernetes", "", Some("v3")),
        (
            "m-stable;default;m;v3;Kubernetes",
            "v3",
            Some("v2.3.1-cuda118"),
        ),
        ("m-dark;default;m;;c", "", Some("v0")),
        // A carrier with two versions: its canonical revision.
        ("m-rolling;default;m;v2;c", "", Some("v2")),
        ("m-rolling;default;m;;c", "", None),
        ("other;default;m;v1;c", "", Some("v1")),
        ("other;default;m;v9;c", "", None),
        // A workload of another namespace tells nothing.
        ("m-canary;elsewhere;m;v3;c", "", None),
        ("m-canary", "", None),
        ("", "v3", Some("v3")),
        ("", "v2-3-1-cuda118-7128d30d", Some("v2.3.1-cuda118")),
        ("", "v2-3-1-cuda118", None),
        (
            "other;default;m;;c",
            "v2-3-1-cuda118-7128d30d",
            Some("v2.3.1-cuda118"),
        ),
        ("", "", None),
    ] {
        let mut proxy = serving("decide");
        for (property, value) in [("Workload", workload), ("Subset", subset)] {
            if !value.is_empty() {
                istio(&proxy, property, value);
            }
        }
        let expected = expected.map(str::to_owned);
        let model = expected.as_ref().map(|_| "m".to_owned());
        assert_eq!(
            answered(&mut proxy),
            (model, expected),
            "{workload} {subset}"
        );
    }
}

#[test]
fn a_version_that_left_the_plan_is_named_by_its_subset_in_the_answers_that_it_still_gives() {
    let without = r#"{"namespaces":{"default":{"models":{"m":{
        "base":[{"carrier":"deployment/m-stable","weight":1,"versions":[{"version":"v1","endpoints":1}]}]}}}}}"#;
    let elsewhere = r#"{"namespaces":{"default":{"models":{}}}}"#;
    for config in [without, elsewhere] {
        let shared = headgate_contract::names::shared_subset("m", "v3");
        for (subset, expected) in [
            ("v3", Some("v3")),
            (&shared, Some("v3")),
            ("v4", None),
            ("", None),
        ] {
            let mut proxy = serving("decide");
            proxy.host.served.replace(None);
            istio(&proxy, "Workload", "m-canary;default;m;;c");
            istio(&proxy, "Subset", subset);
            let pinned = [("x-model", "m"), ("x-model-version", "v3")];
            let (mut stream, step) = proxy.chat(&pinned, r#"{"model":"m"}"#);
            assert_eq!(request_header(&step, "x-headgate-lane"), Some("pin"));
            proxy.vm.configure(config.as_bytes(), &proxy.host).unwrap();
            let step = proxy.answer(&mut stream, &[(":status", "200")], "");
            assert_eq!(
                response_header(&step, "x-model-version"),
                expected,
                "{subset}"
            );
        }
    }
}

#[test]
fn a_session_of_a_version_without_a_route_goes_on_without_one_and_its_answer_names_what_served() {
    let mut proxy = Proxy::new(
        r#"{"namespaces":{"default":{"models":{"m":{
        "canaries":[{"carrier":"deployment/m-canary","weight":0,"versions":[{"version":"v2","endpoints":1}]}],
        "base":[{"carrier":"deployment/m","weight":1,"versions":[{"version":"v1","endpoints":1}]}],
        "unrouted":["v1"]}}}}}"#,
    );
    proxy.host.served.replace(None);
    istio(&proxy, "Workload", "m-canary;default;m;;c");
    let (mut stream, step) = proxy.chat(&[], r#"{"model":"m"}"#);
    assert_eq!(step.flow, Flow::Continue);
    assert_eq!(request_header(&step, "x-model"), Some("m"));
    assert_eq!(request_header(&step, "x-model-version"), None);
    proxy.host.details.replace(Some("via_upstream".into()));
    let step = proxy.answer(&mut stream, &[(":status", "200")], "");
    assert_eq!(response_header(&step, "x-model-version"), Some("v2"));

    let pinned = |version| [("x-model", "m"), ("x-model-version", version)];
    let (_, step) = proxy.chat(&pinned("v2"), r#"{"model":"m"}"#);
    assert_eq!(request_header(&step, "x-headgate-lane"), Some("pin"));
    let (_, step) = proxy.chat(&pinned("v1"), r#"{"model":"m"}"#);
    assert_eq!(reply(&step).status, 503, "its own route would be missing");
}

#[test]
fn an_endpoint_of_headgate_tells_its_version_itself() {
    let mut proxy = serving("decide");
    istio(&proxy, "Workload", "m-canary;default;m;;c");
    proxy.host.serves("v1");
    let (mut stream, _) = proxy.chat(&[], r#"{"model":"m"}"#);
    let step = proxy.answer(&mut stream, &[(":status", "200")], "");
    assert_eq!(response_header(&step, "x-model-version"), Some("v1"));
}

#[test]
fn a_pod_tags_what_it_answers_by_its_own_labels() {
    for role in ["decide", "follow"] {
        for (virtual_host, properties, expected) in [
            (
                "inbound|http|8000",
                &[
                    (r#"NodeLabel("release")"#, "v7"),
                    ("NodeWorkload", "m-dark"),
                ][..],
                Some("v7"),
            ),
            (
                "inbound|http|8000",
                &[("NodeWorkload", "m-canary")],
                Some("v3"),
            ),
            ("inbound|http|8000", &[("NodeWorkload", "m-rolling")], None),
            (
                "inbound|http|8000",
                &[(r#"NodeLabel("model-version")"#, "v7")],
                None,
            ),
            // What a pod sends is not answered by itself.
            (
                "m.default.svc:8000",
                &[(r#"NodeLabel("release")"#, "v7")],
                None,
            ),
        ] {
            let mut proxy = serving(role);
            at(&mut proxy, virtual_host);
            for (property, value) in properties {
                istio(&proxy, property, value);
            }
            let expected = expected.map(str::to_owned);
            let (_, version) = answered(&mut proxy);
            assert_eq!(version, expected, "{role} {virtual_host} {properties:?}");
        }
    }
}

#[test]
fn a_virtual_host_of_headgate_without_its_namespace_is_refused() {
    let mut proxy = mesh("decide");
    at(&mut proxy, "model-serving/c");
    let (_, step) = chat(&mut proxy);
    assert_eq!(reply(&step).status, 404);
}
