//! Objects as charts and operators ship them: carriers, ports, desired replicas and advice.

use headgate_model::{PortSource, ports::Probe, reason};
use serde_json::{Value, json};

use super::fixtures::*;
use crate::cluster::store::Store;

pub(super) fn addresses(store: &Store, identity: &str) -> Vec<String> {
    let pods = carrier(store, identity).pods;
    pods.iter().map(|pod| pod.address.to_string()).collect()
}

/// A Deployment of one pod with this spec, which carries.
pub(super) fn server(spec: &Value) -> Vec<Value> {
    let mut all = deployment("vllm", 1, &[1]);
    all[0] = model(all[0].clone(), "v1");
    all[2]["spec"] = spec.clone();
    all
}

pub(super) fn leads(name: &str, ports: &Value) -> Value {
    let mut service = service(name, json!({"app": "vllm"}));
    service["spec"]["ports"] = ports.clone();
    service
}

/// The engine of the vLLM production stack.
pub(super) fn engine() -> Value {
    let health = json!({"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 10});
    json!({"containers": [{
        "name": "vllm", "startupProbe": health, "livenessProbe": health, "readinessProbe": health,
        "ports": [
            {"name": "container-port", "containerPort": 8000}, {"name": "zmq-port", "containerPort": 55555},
            {"name": "ucx-port", "containerPort": 9999},
        ],
    }]})
}

pub(super) fn engine_service() -> Value {
    let to = |name: &str, target: &str, port: u16| json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"});
    leads(
        "vllm-engine-service",
        &json!([
            to("service-port", "container-port", 80),
            to("zmq-port", "zmq-port", 55555),
            to("ucx-port", "ucx-port", 9999),
            to("pd-port-1", "pd-port-1", 7100),
            to("pd-port-2", "pd-port-2", 7200),
        ]),
    )
}

#[test]
fn the_engine_of_the_vllm_production_stack_serves_unmodified() {
    let alone = server(&engine());
    let with_service = [alone.clone(), vec![engine_service()]].concat();
    for (all, source) in [
        (alone, PortSource::Only),
        (
            with_service,
            PortSource::Service("vllm-engine-service".into()),
        ),
    ] {
        let state = store(&all);
        assert_eq!(addresses(&state, "deployment/vllm"), ["10.0.0.1:8000"]);
        assert_eq!(
            carrier(&state, "deployment/vllm").pods[0].port_source,
            source
        );
        assert_eq!(state.findings(), []);
    }
}

#[test]
fn of_ports_with_uninformative_names_the_probed_one_serves() {
    let spec = |probe: &str, port: Value| {
        json!({
            "initContainers": [{"name": "proxy", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 9000}]}],
            "containers": [{"name": "main", "ports": [{"name": "main", "containerPort": 8000}], probe: {"httpGet": {"port": port}}}],
        })
    };
    for (probe, port, expected) in [
        ("readinessProbe", json!(8000), Some(Probe::Readiness)),
        ("readinessProbe", json!("main"), Some(Probe::Readiness)),
        ("startupProbe", json!(8000), Some(Probe::Startup)),
        ("livenessProbe", json!("main"), Some(Probe::Liveness)),
        ("readinessProbe", json!("side"), None),
        ("readinessProbe", json!(1), None),
    ] {
        let state = store(&server(&spec(probe, port.clone())));
        let source = carrier(&state, "deployment/vllm")
            .pods
            .first()
            .map(|pod| pod.port_source.clone());
        assert_eq!(source, expected.map(PortSource::Probe), "{probe} {port}");
        let expected_reasons = if expected.is_some() {
            vec![]
        } else {
            vec![reason::AMBIGUOUS_PORT]
        };
        assert_eq!(
            reasons(&state.findings()),
            expected_reasons,
            "{probe} {port}"
        );
    }
    // A probe without an HTTP request does not choose a port.
    let mut tcp = spec("readinessProbe", json!(8000));
    tcp["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 8000}});
    assert_eq!(
        reasons(&store(&server(&tcp)).findings()),
        [reason::AMBIGUOUS_PORT]
    );
}

#[test]
fn a_service_with_several_ports_is_not_advised() {
    let spec = json!({"containers": [{"name": "main", "ports": [{"containerPort": 8000}, {"containerPort": 9000}]}]});
    let both = leads(
        "both",
        &json!([{"name": "a", "port": 8000}, {"name": "b", "port": 9000}]),
    );
    let one = |name: &str, port: u16| leads(name, &json!([{"port": port}]));
    let message_of = |services: &[Value]| {
        let state = store(&[server(&spec), services.to_vec()].concat());
        let findings = state.findings();
        assert_eq!(reasons(&findings), [reason::AMBIGUOUS_PORT]);
        findings[0].message.clone()
    };
    for services in [&[][..], std::slice::from_ref(&both)] {
        let message = message_of(services);
        assert!(message.contains("headgate.dev/port=PORT"), "{message}");
        assert!(!message.contains("headgate.dev/service"), "{message}");
    }
    let message = message_of(&[one("first", 8000), one("second", 9000)]);
    let command = "kubectl annotate deployment/vllm -n default headgate.dev/service=first";
    assert!(message.contains(command), "{message}");
    // The advice ends the finding.
    let mut all = [server(&spec), vec![one("first", 8000), one("second", 9000)]].concat();
    all[0] = annotated(all[0].clone(), "headgate.dev/service", "first");
    let state = store(&all);
    assert_eq!(addresses(&state, "deployment/vllm"), ["10.0.0.1:8000"]);
    assert_eq!(state.findings(), []);
}

#[test]
fn a_headless_service_for_other_purposes_does_not_change_the_port() {
    let spec = json!({"containers": [{"name": "main", "ports": [{"name": "http", "containerPort": 8000}]}]});
    for (name, port) in [("torch-master", 29500), ("ssh", 22), ("coordinator", 29400)] {
        let mut headless = leads("headless", &json!([{"name": name, "port": port}]));
        headless["spec"]["clusterIP"] = "None".into();
        let state = store(&[server(&spec), vec![headless.clone()]].concat());
        assert_eq!(
            addresses(&state, "deployment/vllm"),
            ["10.0.0.1:8000"],
            "{name}"
        );
        let source = carrier(&state, "deployment/vllm").pods[0]
            .port_source
            .clone();
        assert_eq!(source, PortSource::Name("http".into()), "{name}");
        // A labelled headless Service counts, unless its port is for traffic between servers.
        let mut all = [server(&spec), vec![headless]].concat();
        all[0] = annotated(all[0].clone(), "headgate.dev/service", "headless");
        let expected = if name == "coordinator" { 29400 } else { 8000 };
        assert_eq!(
            addresses(&store(&all), "deployment/vllm"),
            [format!("10.0.0.1:{expected}")],
            "{name}"
        );
    }
}

#[test]
fn a_tls_port_is_reported_until_an_annotation_declares_the_protocol() {
    let unnamed = json!({"containers": [{"name": "main", "ports": [{"containerPort": 8443}]}]});
    let named = json!({"containers": [{"name": "main", "ports": [{"name": "https-web", "containerPort": 8443}]}]});
    let by_name = leads(
        "front",
        &json!([{"name": "https", "port": 443, "targetPort": 8443}]),
    );
    let by_protocol = leads(
        "front",
        &json!([{"name": "web", "port": 443, "targetPort": 8443, "appProtocol": "https"}]),
    );
    for (spec, service) in [
        (&unnamed, Some(by_name)),
        (&unnamed, Some(by_protocol)),
        (&named, None),
    ] {
        let mut all = server(spec);
        all.extend(service);
        let findings = store(&all).findings();
        assert_eq!(reasons(&findings), [reason::TLS_PORT]);
        let message = &findings[0].message;
        for part in [
            "port 8443",
            "kubectl annotate deployment/vllm -n default headgate.dev/tls=true",
            "--upstream-ca",
        ] {
            assert!(message.contains(part), "{message}");
        }
        // Also with an annotation of the port and none of the protocol.
        let mut written = all.clone();
        written[0] = annotated(written[0].clone(), "headgate.dev/port", "8443");
        assert_eq!(reasons(&store(&written).findings()), [reason::TLS_PORT]);
        for at in [0, 2] {
            let mut annotated_objects = all.clone();
            annotated_objects[at] =
                annotated(annotated_objects[at].clone(), "headgate.dev/tls", "false");
            let findings = store(&annotated_objects).findings();
            assert!(
                !reasons(&findings).contains(&reason::TLS_PORT),
                "{findings:?}"
            );
        }
    }
    // A Service that lists its endpoints.
    let mut outside = model(service("outside", json!({})), "v1");
    outside["spec"]["ports"] = json!([{"name": "https", "port": 443}]);
    outside = annotated(outside, "headgate.dev/endpoints", "10.9.8.7:443");
    assert_eq!(
        reasons(&store(std::slice::from_ref(&outside)).findings()),
        [reason::TLS_PORT]
    );
    let annotated_service = annotated(outside, "headgate.dev/tls", "true");
    assert_eq!(store(&[annotated_service]).findings(), []);
}

/// The objects that Knative creates for a revision of a KServe predictor: a Deployment with its pods, and Services.
fn revision(isvc: &str, number: usize, version: &str, ips: &[u8]) -> Vec<Value> {
    let name = format!("{isvc}-predictor-{number:05}");
    let revision = object("Revision", &name, 1, None);
    // Knative copies the labels from KServe to every object.
    let labels = json!({
        "app": name, "component": "predictor", "serving.kserve.io/inferenceservice": isvc,
        "serving.knative.dev/revision": name, "serving.knative.dev/revisionUID": format!("uid-{name}"),
        "model-name": "llama", "model-version": version, "canary-weight": "10",
    });
    let count = u32::try_from(ips.len()).unwrap();
    let mut deployment = replicas(
        labelled(
            object(
                "Deployment",
                &format!("{name}-deployment"),
                1,
                Some(&revision),
            ),
            &labels,
        ),
        count,
    );
    deployment["spec"]["template"]["metadata"]["labels"] = labels.clone();
    let mut set = replicas(
        labelled(
            object(
                "ReplicaSet",
                &format!("{name}-deployment-5d"),
                1,
                Some(&deployment),
            ),
            &labels,
        ),
        count,
    );
    set["spec"]["template"]["metadata"]["labels"] = labels.clone();
    let port =
        |name: &str, number: u16| json!({"name": name, "containerPort": number, "protocol": "TCP"});
    let pods = ips.iter().map(|ip| {
        let mut pod = labelled(pod(&format!("{name}-{ip}"), *ip, Some(&set)), &labels);
        pod["spec"] = json!({"containers": [
            {"name": "kserve-container", "ports": [port("user-port", 8080)]},
            {"name": "queue-proxy", "readinessProbe": {"httpGet": {"path": "/", "port": 8012}}, "ports": [
                port("http-queueadm", 8022), port("http-autometric", 9090), port("http-usermetric", 9091), port("queue-port", 8012),
                port("https-port", 8112),
            ]},
        ]});
        pod
    });
    let pods: Vec<Value> = pods.collect();
    let sks = object("ServerlessService", &name, 1, None);
    let front = |name: &str, selector: Value| {
        let mut made = labelled(object("Service", name, 1, Some(&sks)), &labels);
        made["spec"] = json!({"selector": selector, "ports": [
            {"name": "http", "port": 80, "targetPort": 8012}, {"name": "https", "port": 443, "targetPort": 8112},
            {"name": "http-autometric", "port": 9090, "targetPort": "http-autometric"},
            {"name": "http-usermetric", "port": 9091, "targetPort": "http-usermetric"},
            {"name": "http-queueadm", "port": 8022, "targetPort": 8022}, {"name": "http-istio", "port": 8012, "targetPort": 8012},
        ]});
        made
    };
    let selector = json!({"serving.knative.dev/revisionUID": format!("uid-{name}")});
    let services = vec![
        front(&name, Value::Null),
        front(&format!("{name}-private"), selector),
    ];
    [vec![deployment, set], pods, services].concat()
}

/// The InferenceService, and the Service that Knative's Route keeps for its name.
fn serverless(isvc: &str) -> Vec<Value> {
    let owner = labelled(
        model(object("InferenceService", isvc, 1, None), "v1"),
        &json!({"canary-weight": "10"}),
    );
    let route = object("Route", &format!("{isvc}-predictor"), 1, None);
    let mut placeholder = object("Service", &format!("{isvc}-predictor"), 1, Some(&route));
    placeholder = labelled(
        model(placeholder, "v1"),
        &json!({"serving.knative.dev/route": "x"}),
    );
    placeholder["spec"] = json!({
        "type": "ExternalName", "externalName": "knative-local-gateway.istio-system.svc.cluster.local",
        "ports": [{"name": "http2", "port": 80, "targetPort": 80}],
    });
    vec![owner, placeholder]
}

#[test]
fn the_inference_service_owns_the_objects_that_knative_creates_for_kserve() {
    let all = [serverless("llama"), revision("llama", 1, "v1", &[1, 2])].concat();
    let mut state = store(&all);
    assert_eq!(carriers(&state).len(), 1, "{:?}", carriers(&state));
    let it = "inferenceservice/llama";
    assert_eq!(addresses(&state, it), ["10.0.0.1:8012", "10.0.0.2:8012"]);
    assert_eq!(carrier(&state, it).desired, 2);
    assert_eq!(state.findings(), []);

    // The next revision runs while the previous one is scaled to zero; the old copied label has no effect.
    let next = revision("llama", 2, "v1", &[3]);
    next.iter().for_each(|object| apply(&mut state, object));
    apply(
        &mut state,
        &labelled(all[0].clone(), &json!({"canary-weight": "20"})),
    );
    state.reconcile();
    assert_eq!(carrier(&state, it).desired, 3);
    assert_eq!(state.findings(), []);
    let emptied = replicas(all[2].clone(), 0);
    apply(&mut state, &emptied);
    all[4..6].iter().for_each(|pod| delete(&mut state, pod));
    state.reconcile();
    assert_eq!(carrier(&state, it).desired, 1);
    assert_eq!(addresses(&state, it), ["10.0.0.3:8012"]);
}

#[test]
fn a_serverless_model_scaled_to_zero_is_declared_with_zero_desired_replicas() {
    let all = [serverless("llama"), revision("llama", 1, "v1", &[])].concat();
    let state = store(&all);
    assert_eq!(carriers(&state), ["inferenceservice/llama"]);
    assert_eq!(carrier(&state, "inferenceservice/llama").desired, 0);
    assert_eq!(state.findings(), []);
}

#[test]
fn pods_wait_for_an_owner_in_a_label_until_its_kind_is_listed() {
    let all = [serverless("llama"), revision("llama", 1, "v1", &[1])].concat();
    let of_owner = watch_of(&all[0]);
    let others: Vec<_> = watches().into_iter().filter(|id| *id != of_owner).collect();
    let mut state = Store::new(kinds(), Default::default(), watches());
    for id in &others {
        relist(&mut state, id, &all);
    }
    state.reconcile();
    assert_eq!(carriers(&state), Vec::<String>::new());
    relist(&mut state, &of_owner, &all[..1]);
    state.reconcile();
    assert_eq!(carriers(&state), ["inferenceservice/llama 1:8012"]);
    // Without an InferenceService of the name, its objects are carriers.
    delete(&mut state, &all[0]);
    state.reconcile();
    let alone = ["deployment/llama-predictor-00001-deployment 1:8012"];
    assert_eq!(carriers(&state), alone);
    let mut state = Store::new(kinds(), Default::default(), watches());
    for id in others.iter().chain([&of_owner]) {
        relist(&mut state, id, all[1..].iter());
        state.reconcile();
    }
    assert_eq!(carriers(&state), alone);
    apply(&mut state, &all[0]);
    state.reconcile();
    assert_eq!(carriers(&state), ["inferenceservice/llama 1:8012"]);
}

/// The RayCluster of the vLLM production stack: vLLM runs on the head.
fn ray_cluster() -> Vec<Value> {
    let owner = model(object("RayCluster", "qwen", 1, None), "v1");
    let node = |kind: &str, ip: u8, spec: Value| {
        let mut pod = labelled(
            pod(&format!("qwen-{kind}"), ip, Some(&owner)),
            &json!({"app": "vllm", "ray.io/node-type": kind, "ray.io/cluster": "qwen"}),
        );
        pod["spec"] = spec;
        pod
    };
    let head = json!({"containers": [{
        "name": "vllm-ray-head", "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
        "ports": [{"name": "container-port", "containerPort": 8000}, {"name": "metrics", "containerPort": 8080}],
    }]});
    let worker = json!({"containers": [{"name": "vllm-ray-worker", "ports": [{"name": "metrics", "containerPort": 8080}]}]});
    vec![
        owner.clone(),
        node("head", 1, head),
        node("worker", 2, worker),
    ]
}

#[test]
fn the_advice_for_a_ray_cluster_whose_head_serves_makes_it_serve() {
    let all = ray_cluster();
    let message_of = |all: &[Value]| {
        let findings = store(all).findings();
        assert_eq!(findings.len(), 1, "{findings:?}");
        (findings[0].reason, findings[0].message.clone())
    };
    let command = |name: &str| {
        format!("kubectl label service/{name} -n default model-name=llama model-version=v1")
    };
    let (reason, message) = message_of(&all);
    assert_eq!(reason, reason::NO_PORT);
    assert!(message.contains(&command("SERVICE")), "{message}");
    assert!(!message.contains("headgate.dev/port"), "{message}");
    // An explicit annotation leads to the same advice.
    let mut written = all.clone();
    written[0] = annotated(written[0].clone(), "headgate.dev/port", "8000");
    let (reason, message) = message_of(&written);
    assert_eq!(reason, reason::ROLES_UNCLEAR);
    assert!(!message.contains("headgate.dev/port=PORT"), "{message}");
    assert!(message.contains(&command("SERVICE")), "{message}");
    // With the Service of the chart, the advice names it, and following the advice ends the finding.
    let beside = [all.clone(), vec![engine_service()]].concat();
    let (reason, message) = message_of(&beside);
    assert_eq!(reason, reason::NO_PORT);
    assert!(
        message.contains(&command("vllm-engine-service")),
        "{message}"
    );
    let done = [all, vec![model(engine_service(), "v1")]].concat();
    let state = store(&done);
    let it = "service/vllm-engine-service";
    assert_eq!(addresses(&state, it), ["10.0.0.1:8000"]);
    assert_eq!(carrier(&state, it).desired, 1);
    assert_eq!(state.findings(), []);
}
