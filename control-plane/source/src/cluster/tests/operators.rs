//! Objects as charts and operators ship them: carriers, ports, desired replicas and advice.

use headgate_model::{PortSource, ports::Probe, reason};
use serde_json::{Value, json};

use super::world::*;
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
fn the_engine_of_the_vllm_production_stack_serves_as_shipped() {
    let alone = server(&engine());
    let with_service = [alone.clone(), vec![engine_service()]].concat();
    for (all, source) in [
        (alone, PortSource::Only),
        (
            with_service,
            PortSource::Service("vllm-engine-service".into()),
        ),
    ] {
        let seen = store(&all);
        assert_eq!(addresses(&seen, "deployment/vllm"), ["10.0.0.1:8000"]);
        assert_eq!(
            carrier(&seen, "deployment/vllm").pods[0].port_source,
            source
        );
        assert_eq!(seen.findings(), []);
    }
}

#[test]
fn of_ports_without_telling_names_the_probed_one_serves() {
    let spec = |probe: &str, port: Value| {
        json!({
            "initContainers": [{"name": "proxy", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 9000}]}],
            "containers": [{"name": "main", "ports": [{"name": "main", "containerPort": 8000}], probe: {"httpGet": {"port": port}}}],
        })
    };
    for (probe, port, wanted) in [
        ("readinessProbe", json!(8000), Some(Probe::Readiness)),
        ("readinessProbe", json!("main"), Some(Probe::Readiness)),
        ("startupProbe", json!(8000), Some(Probe::Startup)),
        ("livenessProbe", json!("main"), Some(Probe::Liveness)),
        ("readinessProbe", json!("side"), None),
        ("readinessProbe", json!(1), None),
    ] {
        let seen = store(&server(&spec(probe, port.clone())));
        let source = carrier(&seen, "deployment/vllm")
            .pods
            .first()
            .map(|pod| pod.port_source.clone());
        assert_eq!(source, wanted.map(PortSource::Probe), "{probe} {port}");
        let said = if wanted.is_some() {
            vec![]
        } else {
            vec![reason::AMBIGUOUS_PORT]
        };
        assert_eq!(reasons(&seen.findings()), said, "{probe} {port}");
    }
    // A probe that is no HTTP request says nothing.
    let mut tcp = spec("readinessProbe", json!(8000));
    tcp["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 8000}});
    assert_eq!(
        reasons(&store(&server(&tcp)).findings()),
        [reason::AMBIGUOUS_PORT]
    );
}

#[test]
fn a_service_that_leads_to_several_ports_is_not_the_one_that_is_advised() {
    let spec = json!({"containers": [{"name": "main", "ports": [{"containerPort": 8000}, {"containerPort": 9000}]}]});
    let both = leads(
        "both",
        &json!([{"name": "a", "port": 8000}, {"name": "b", "port": 9000}]),
    );
    let one = |name: &str, port: u16| leads(name, &json!([{"port": port}]));
    let said = |services: &[Value]| {
        let seen = store(&[server(&spec), services.to_vec()].concat());
        let findings = seen.findings();
        assert_eq!(reasons(&findings), [reason::AMBIGUOUS_PORT]);
        findings[0].message.clone()
    };
    for services in [&[][..], std::slice::from_ref(&both)] {
        let message = said(services);
        assert!(message.contains("headgate.dev/port=PORT"), "{message}");
        assert!(!message.contains("headgate.dev/service"), "{message}");
    }
    let message = said(&[one("first", 8000), one("second", 9000)]);
    let command = "kubectl annotate deployment/vllm -n default headgate.dev/service=first";
    assert!(message.contains(command), "{message}");
    // What it advises settles it.
    let mut all = [server(&spec), vec![one("first", 8000), one("second", 9000)]].concat();
    all[0] = annotated(all[0].clone(), "headgate.dev/service", "first");
    let seen = store(&all);
    assert_eq!(addresses(&seen, "deployment/vllm"), ["10.0.0.1:8000"]);
    assert_eq!(seen.findings(), []);
}

#[test]
fn a_headless_service_for_other_things_does_not_move_the_port() {
    let spec = json!({"containers": [{"name": "main", "ports": [{"name": "http", "containerPort": 8000}]}]});
    for (name, port) in [("torch-master", 29500), ("ssh", 22), ("coordinator", 29400)] {
        let mut headless = leads("headless", &json!([{"name": name, "port": port}]));
        headless["spec"]["clusterIP"] = "None".into();
        let seen = store(&[server(&spec), vec![headless.clone()]].concat());
        assert_eq!(
            addresses(&seen, "deployment/vllm"),
            ["10.0.0.1:8000"],
            "{name}"
        );
        let source = carrier(&seen, "deployment/vllm").pods[0]
            .port_source
            .clone();
        assert_eq!(source, PortSource::Name("http".into()), "{name}");
        // One that is asked by name is believed, unless its port is for what servers say to each other.
        let mut all = [server(&spec), vec![headless]].concat();
        all[0] = annotated(all[0].clone(), "headgate.dev/service", "headless");
        let wanted = if name == "coordinator" { 29400 } else { 8000 };
        assert_eq!(
            addresses(&store(&all), "deployment/vllm"),
            [format!("10.0.0.1:{wanted}")],
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
        // Also where an annotation says the port, and not how it is spoken to.
        let mut written = all.clone();
        written[0] = annotated(written[0].clone(), "headgate.dev/port", "8443");
        assert_eq!(reasons(&store(&written).findings()), [reason::TLS_PORT]);
        for at in [0, 2] {
            let mut said = all.clone();
            said[at] = annotated(said[at].clone(), "headgate.dev/tls", "false");
            let findings = store(&said).findings();
            assert!(
                !reasons(&findings).contains(&reason::TLS_PORT),
                "{findings:?}"
            );
        }
    }
    // A Service that names its endpoints itself.
    let mut outside = model(service("outside", json!({})), "v1");
    outside["spec"]["ports"] = json!([{"name": "https", "port": 443}]);
    outside = annotated(outside, "headgate.dev/endpoints", "10.9.8.7:443");
    assert_eq!(
        reasons(&store(std::slice::from_ref(&outside)).findings()),
        [reason::TLS_PORT]
    );
    let said = annotated(outside, "headgate.dev/tls", "true");
    assert_eq!(store(&[said]).findings(), []);
}

/// What Knative makes of a revision of a KServe predictor: a Deployment with so many pods, and its Services.
fn revision(isvc: &str, number: usize, version: &str, ips: &[u8]) -> Vec<Value> {
    let name = format!("{isvc}-predictor-{number:05}");
    let revision = object("Revision", &name, 1, None);
    // Knative copies what KServe gave it to everything.
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
    let mut seen = store(&all);
    assert_eq!(carriers(&seen).len(), 1, "{:?}", carriers(&seen));
    let it = "inferenceservice/llama";
    assert_eq!(addresses(&seen, it), ["10.0.0.1:8012", "10.0.0.2:8012"]);
    assert_eq!(carrier(&seen, it).desired, 2);
    assert_eq!(seen.findings(), []);

    // The next revision, beside the one before, which goes to nothing; its label of an earlier day is nobody's word.
    let next = revision("llama", 2, "v1", &[3]);
    next.iter().for_each(|object| apply(&mut seen, object));
    apply(
        &mut seen,
        &labelled(all[0].clone(), &json!({"canary-weight": "20"})),
    );
    seen.reconcile();
    assert_eq!(carrier(&seen, it).desired, 3);
    assert_eq!(seen.findings(), []);
    let emptied = replicas(all[2].clone(), 0);
    apply(&mut seen, &emptied);
    all[4..6].iter().for_each(|pod| delete(&mut seen, pod));
    seen.reconcile();
    assert_eq!(carrier(&seen, it).desired, 1);
    assert_eq!(addresses(&seen, it), ["10.0.0.3:8012"]);
}

#[test]
fn a_serverless_model_scaled_to_zero_is_declared_with_zero_desired_replicas() {
    let all = [serverless("llama"), revision("llama", 1, "v1", &[])].concat();
    let seen = store(&all);
    assert_eq!(carriers(&seen), ["inferenceservice/llama"]);
    assert_eq!(carrier(&seen, "inferenceservice/llama").desired, 0);
    assert_eq!(seen.findings(), []);
}

#[test]
fn an_owner_that_only_a_label_names_is_waited_for_until_its_kind_is_listed() {
    let all = [serverless("llama"), revision("llama", 1, "v1", &[1])].concat();
    let of_owner = watch_of(&all[0]);
    let others: Vec<_> = watches().into_iter().filter(|id| *id != of_owner).collect();
    let mut seen = Store::new(kinds(), Default::default(), watches());
    for id in &others {
        relist(&mut seen, id, &all);
    }
    seen.reconcile();
    assert_eq!(carriers(&seen), Vec::<String>::new());
    relist(&mut seen, &of_owner, &all[..1]);
    seen.reconcile();
    assert_eq!(carriers(&seen), ["inferenceservice/llama 1:8012"]);
    // Where there is none of the name, what it made carries for itself.
    delete(&mut seen, &all[0]);
    seen.reconcile();
    let alone = ["deployment/llama-predictor-00001-deployment 1:8012"];
    assert_eq!(carriers(&seen), alone);
    let mut seen = Store::new(kinds(), Default::default(), watches());
    for id in others.iter().chain([&of_owner]) {
        relist(&mut seen, id, all[1..].iter());
        seen.reconcile();
    }
    assert_eq!(carriers(&seen), alone);
    apply(&mut seen, &all[0]);
    seen.reconcile();
    assert_eq!(carriers(&seen), ["inferenceservice/llama 1:8012"]);
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
fn what_is_advised_for_a_ray_cluster_whose_head_serves_makes_it_serve() {
    let all = ray_cluster();
    let said = |all: &[Value]| {
        let findings = store(all).findings();
        assert_eq!(findings.len(), 1, "{findings:?}");
        (findings[0].reason, findings[0].message.clone())
    };
    let command = |name: &str| {
        format!("kubectl label service/{name} -n default model-name=llama model-version=v1")
    };
    let (reason, message) = said(&all);
    assert_eq!(reason, reason::NO_PORT);
    assert!(message.contains(&command("SERVICE")), "{message}");
    assert!(!message.contains("headgate.dev/port"), "{message}");
    // One that is written says the same.
    let mut written = all.clone();
    written[0] = annotated(written[0].clone(), "headgate.dev/port", "8000");
    let (reason, message) = said(&written);
    assert_eq!(reason, reason::ROLES_UNCLEAR);
    assert!(!message.contains("headgate.dev/port=PORT"), "{message}");
    assert!(message.contains(&command("SERVICE")), "{message}");
    // With the chart's Service beside it, it is the one that is advised, and then all is well.
    let beside = [all.clone(), vec![engine_service()]].concat();
    let (reason, message) = said(&beside);
    assert_eq!(reason, reason::NO_PORT);
    assert!(
        message.contains(&command("vllm-engine-service")),
        "{message}"
    );
    let done = [all, vec![model(engine_service(), "v1")]].concat();
    let seen = store(&done);
    let it = "service/vllm-engine-service";
    assert_eq!(addresses(&seen, it), ["10.0.0.1:8000"]);
    assert_eq!(carrier(&seen, it).desired, 1);
    assert_eq!(seen.findings(), []);
}
