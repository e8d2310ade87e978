//! The choice of a port, as a table of what published charts and operators leave behind.
#![allow(clippy::unwrap_used)]

mod beside;

use super::{
    ChosenPort, Offer, PodPort, PortError, Probe, ServicePort, TargetPort, annotated, choose,
};
use crate::{PortSource, Protocol};

/// `name:number`; without a name, `:number`; with a probe, `name:number?readiness`.
fn pod(ports: &[&str]) -> Vec<PodPort> {
    let read = |text: &&str| {
        let (name, rest) = text.split_once(':').unwrap();
        let (number, probe) = rest.split_once('?').unwrap_or((rest, ""));
        PodPort {
            name: name.to_owned(),
            number: number.parse().unwrap(),
            probe: match probe {
                "readiness" => Some(Probe::Readiness),
                "startup" => Some(Probe::Startup),
                "liveness" => Some(Probe::Liveness),
                _ => None,
            },
        }
    };
    ports.iter().map(read).collect()
}

/// `name>target`, or `name>target@appProtocol`.
fn leads(ports: &[&str]) -> Vec<ServicePort> {
    let read = |text: &&str| {
        let (rest, app_protocol) = match text.split_once('@') {
            Some((rest, protocol)) => (rest, Some(protocol.to_owned())),
            None => (*text, None),
        };
        let (name, target) = rest.split_once('>').unwrap();
        let target = target
            .parse()
            .map_or_else(|_| TargetPort::Name(target.to_owned()), TargetPort::Number);
        ServicePort {
            name: name.to_owned(),
            target,
            app_protocol,
        }
    };
    ports.iter().map(read).collect()
}

/// What is chosen, in short: `8000 http1 service/a`.
fn shown(chosen: Result<ChosenPort, PortError>) -> String {
    match chosen {
        Ok(ChosenPort {
            number,
            protocol,
            source,
            class,
        }) => {
            let protocol = match protocol {
                Protocol::Http1 => "http1",
                Protocol::Http2 => "http2",
                Protocol::Client => "client",
            };
            let source = match source {
                PortSource::Annotation => "annotation".to_owned(),
                PortSource::Service(name) => format!("service/{name}"),
                PortSource::Pool(name) => format!("pool/{name}"),
                PortSource::Name(name) => format!("named {name}"),
                PortSource::Probe(probe) => format!("{probe} probe"),
                PortSource::Only => "only".to_owned(),
            };
            let tls = if class.is_tls() { " tls" } else { "" };
            format!("{number} {protocol}{tls} {source}")
        }
        Err(PortError::NoPort) => "nothing".to_owned(),
        Err(PortError::Ambiguous {
            candidates,
            deciding_services,
        }) if deciding_services.is_empty() => candidates,
        Err(PortError::Ambiguous {
            candidates,
            deciding_services,
        }) => {
            format!(
                "{candidates}; settled by {}",
                deciding_services.join(" or ")
            )
        }
    }
}

#[test]
fn without_a_service_a_port_serves_by_its_name_or_as_the_only_one() {
    let rows: [(&str, &[&str], &str); 31] = [
        ("TGI, Ollama", &["http:80"], "80 http1 named http"),
        (
            "Triton",
            &["http:8000", "grpc:8001", "metrics:8002"],
            "8000 http1 named http",
        ),
        (
            "Triton without HTTP",
            &["grpc:8001", "metrics:8002"],
            "8001 http2 named grpc",
        ),
        ("NIM", &["api:8000"], "8000 http1 named api"),
        (
            "NIM with gRPC",
            &["api:8000", "grpc:50051"],
            "8000 http1 named api",
        ),
        ("KServe, raw", &["http1:8080"], "8080 http1 named http1"),
        ("KServe, h2c", &["h2c:8081"], "8081 http2 named h2c"),
        ("http2", &["http2:8081"], "8081 http2 named http2"),
        (
            "a suffix",
            &["http-openai:8000"],
            "8000 http1 named http-openai",
        ),
        (
            "a suffix of grpc",
            &["grpc-triton:8001"],
            "8001 http2 named grpc-triton",
        ),
        (
            "the plain name before one with a suffix",
            &["http-alt:9000", "http:8000"],
            "8000 http1 named http",
        ),
        ("no such word", &["httpserver:8000"], "8000 http1 only"),
        ("LWS examples", &[":8080"], "8080 http1 only"),
        (
            "one of any name",
            &["container-port:8000"],
            "8000 http1 only",
        ),
        (
            "vLLM production stack",
            &["container-port:8000", "zmq-port:55555", "ucx-port:9999"],
            "8000 http1 only",
        ),
        (
            "two without a name",
            &[":8000", ":8001"],
            "they declare 8000 and 8001",
        ),
        (
            "two of HTTP",
            &["http-a:8000", "http-b:8001"],
            "they declare 8000 and 8001",
        ),
        (
            "one port twice",
            &["http-a:8000", "http-b:8000"],
            "8000 http1 named http-a",
        ),
        (
            "HTTP before HTTP/2 is not told",
            &["http1:8080", "h2c:8081"],
            "they declare 8080 and 8081",
        ),
        (
            "beside metrics",
            &[":8000", "metrics:9090"],
            "8000 http1 only",
        ),
        ("metrics of HTTP", &["http-metrics:9090"], "nothing"),
        (
            "TensorFlow Serving, OpenVINO",
            &["grpc:8500", "rest:8501"],
            "8501 http1 named rest",
        ),
        (
            "a proxy's statistics",
            &[":8000", "http-envoy-prom:15090"],
            "8000 http1 only",
        ),
        (
            "a proxy's statistics, beside a name that says nothing",
            &["container-port:8000", "http-envoy-prom:15090"],
            "8000 http1 only",
        ),
        ("Prometheus", &["prometheus-http:9090"], "nothing"),
        (
            "a word that only begins so",
            &["http-prompt:8000", "prom:9090"],
            "8000 http1 named http-prompt",
        ),
        (
            "Knative",
            &["http-usermetric:9091", "http-queueadm:8022", "http:8012"],
            "8012 http1 named http",
        ),
        ("health of gRPC", &["grpc-health:9003"], "nothing"),
        (
            "admin, probe, status",
            &["admin:1", "http-probe:2", "status-port:3"],
            "nothing",
        ),
        (
            "endpoint picker",
            &["grpc:9002", "grpc-health:9003", "metrics:9090"],
            "9002 http2 named grpc",
        ),
        ("none", &[], "nothing"),
    ];
    for (what, ports, wanted) in rows {
        assert_eq!(shown(choose(&pod(ports), &[])), wanted, "{what}");
    }
}

#[test]
fn a_service_says_the_port_and_how_it_is_spoken_to() {
    let vllm: &[&str] = &["container-port:8000", "zmq-port:55555", "ucx-port:9999"];
    let triton: &[&str] = &["http-triton:8000", "grpc-triton:8001", "metrics:8002"];
    let rows: [(&str, &[&str], &[&str], &str); 31] = [
        (
            "vLLM production stack",
            vllm,
            &["service-port>container-port"],
            "8000 http1 service/a",
        ),
        (
            "a number that is not declared",
            &[],
            &[">8000"],
            "8000 http1 service/a",
        ),
        (
            "a name that is not declared",
            &[":8000"],
            &["http>web"],
            "8000 http1 only",
        ),
        (
            "two without a name",
            &[":8000", ":8001"],
            &["http>8000@http", "http-metrics>8001"],
            "8000 http1 service/a",
        ),
        (
            "metrics by the pod's name",
            &["metrics:9090", ":8000"],
            &["x>metrics"],
            "8000 http1 only",
        ),
        (
            "Triton",
            triton,
            &["http>http-triton", "grpc>grpc-triton", "metrics>metrics"],
            "8000 http1 service/a",
        ),
        (
            "NIM with gRPC",
            &["api:8000", "grpc:50051"],
            &["api>api", "grpc>grpc"],
            "8000 http1 service/a",
        ),
        (
            "appProtocol before the name",
            &[":1", ":2"],
            &["http>1@grpc", "grpc>2@http"],
            "2 http1 service/a",
        ),
        (
            "kubernetes.io/h2c",
            &[":8001"],
            &["x>8001@kubernetes.io/h2c"],
            "8001 http2 service/a",
        ),
        (
            "NIM with gRPC, as KServe leads to it",
            &["api:8000", "grpc:50051"],
            &["api>api", "grpc>grpc@kubernetes.io/h2c"],
            "8000 http1 service/a",
        ),
        (
            "HTTP and gRPC, as KServe leads to them",
            &["http1:8080", "grpc:9000"],
            &["http1>8080", "grpc>9000@kubernetes.io/h2c"],
            "8080 http1 service/a",
        ),
        (
            "gRPC by the pod's name, over HTTP/2",
            &["http1:8080", "grpc-x:9000"],
            &["llama-predictor>8080", "other>9000@http2"],
            "8080 http1 service/a",
        ),
        (
            "gRPC over HTTP/2 alone",
            &["grpc:9000"],
            &["grpc>9000@kubernetes.io/h2c"],
            "9000 http2 service/a",
        ),
        (
            "gRPC over TLS stays so",
            &[":9000"],
            &["grpcs-x>9000@h2c"],
            "9000 http2 tls service/a",
        ),
        (
            "HTTP/2 by the Service's name before the pod's",
            &["grpc:9000", "api:8000"],
            &["http2>9000@h2c", "api>api"],
            "9000 http2 service/a",
        ),
        (
            "HTTP/2 before an API",
            &[":9000", ":8000"],
            &["x>9000@h2c", "api>8000"],
            "9000 http2 service/a",
        ),
        (
            "HTTP/1 by appProtocol, whatever the name",
            &["grpc:9000"],
            &["grpc>9000@http"],
            "9000 http1 service/a",
        ),
        (
            "gRPC by both",
            &["api:8000", ":9000"],
            &["api>api", "grpcs>9000@grpc"],
            "8000 http1 service/a",
        ),
        (
            "gRPC by appProtocol",
            &[":8001"],
            &["x>8001@GRPC"],
            "8001 http2 service/a",
        ),
        (
            "gRPC by the Service's name",
            &[":8001"],
            &["grpc>8001"],
            "8001 http2 service/a",
        ),
        (
            "gRPC by the pod's name",
            &["grpc:8001"],
            &["x>8001"],
            "8001 http2 service/a",
        ),
        (
            "the Service's word before the pod's",
            &["grpc:8001"],
            &["http>8001"],
            "8001 http1 service/a",
        ),
        (
            "TLS is another matter",
            &[":443"],
            &["x>443@https"],
            "443 http1 tls service/a",
        ),
        (
            "HTTP and gRPC on one port",
            &[":8000"],
            &["http>8000", "grpc>8000"],
            "8000 client service/a",
        ),
        (
            "HTTP and HTTP/2 on one port",
            &["http:8000"],
            &["x>8000@http", "y>8000@h2c"],
            "8000 client service/a",
        ),
        (
            "an unknown word",
            &["http:8000"],
            &["x>8000@tcp"],
            "8000 http1 service/a",
        ),
        (
            "Ray Serve's head",
            &["serve:8000", "gcs-server:6379", "dashboard:8265"],
            &[
                "serve>8000@tcp",
                "gcs-server>6379@tcp",
                "dashboard>8265@tcp",
            ],
            "8000 http1 service/a",
        ),
        (
            "several, and the pod's own http",
            &["http:8000", ":9000"],
            &["http-a>8000", "http-b>9000"],
            "8000 http1 named http",
        ),
        (
            "several",
            &[":8000", ":9000"],
            &["a>8000", "b>9000"],
            "service/a leads to 8000 and 9000",
        ),
        (
            "two names for one port",
            &["x:8000"],
            &["a>8000", "b>x"],
            "8000 http1 service/a",
        ),
        (
            "no ports, as of a headless Service",
            &["http:8000"],
            &[],
            "8000 http1 named http",
        ),
    ];
    for (what, ports, service, wanted) in rows {
        let service = leads(service);
        let offer = Offer {
            by: PortSource::Service("a".to_owned()),
            ports: &service,
            explicit: true,
            headless: false,
        };
        assert_eq!(shown(choose(&pod(ports), &[vec![offer]])), wanted, "{what}");
    }
}

#[test]
fn services_that_lead_to_one_port_agree_and_the_labelled_ones_come_first() {
    let ports = pod(&[":8000", ":9000"]);
    let to = |number: u16| leads(&[&format!("x>{number}")]);
    let (first, second, both) = (to(8000), to(9000), leads(&["a>8000", "b>9000"]));
    let offer = |by: &str, ports| Offer {
        by: PortSource::Service(by.to_owned()),
        ports,
        explicit: true,
        headless: false,
    };
    let pool = |ports| Offer {
        by: PortSource::Pool("p".to_owned()),
        ports,
        explicit: true,
        headless: false,
    };
    let chosen = |levels: &[Vec<Offer<'_>>]| shown(choose(&ports, levels));
    assert_eq!(
        chosen(&[vec![offer("a", &first), offer("b", &first), pool(&first)]]),
        "8000 http1 service/a"
    );
    assert_eq!(chosen(&[vec![pool(&second)]]), "9000 http1 pool/p");
    assert_eq!(
        chosen(&[vec![offer("a", &first)], vec![offer("b", &second)]]),
        "8000 http1 service/a"
    );
    assert_eq!(
        chosen(&[vec![offer("a", &first), pool(&second)]]),
        "service/a leads to 8000, and inferencepool/p leads to 9000; settled by a"
    );
    // One that leads to several says nothing where another one leads to one.
    assert_eq!(
        chosen(&[vec![offer("a", &both), offer("b", &second)]]),
        "9000 http1 service/b"
    );
    // A labelled one without ports, as a headless one may be.
    assert_eq!(
        chosen(&[vec![offer("a", &[])], vec![offer("b", &second)]]),
        "9000 http1 service/b"
    );
    // Two Services, each of which says another protocol of one port.
    let (http, grpc) = (leads(&["http>8000"]), leads(&["grpc>8000"]));
    assert_eq!(
        chosen(&[vec![offer("a", &http)], vec![offer("b", &grpc)]]),
        "8000 client service/a"
    );
}

#[test]
fn a_number_that_no_container_declares_counts_where_the_carrier_says_it() {
    let ports = pod(&["http:8000", ":8001"]);
    for (text, by_carrier, wanted) in [
        ("http", false, Some(8000)),
        ("8001", false, Some(8001)),
        ("9000", false, None),
        ("9000", true, Some(9000)),
        ("0", true, None),
        ("other", true, None),
        ("", true, None),
    ] {
        assert_eq!(annotated(&ports, text, by_carrier), wanted, "{text:?}");
    }
}
