//! The choice of a port, as tables of the ports that published charts and operators create.
#![allow(clippy::unwrap_used)]

mod other_services;
mod services;

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
            number: 80,
            target,
            app_protocol,
        }
    };
    ports.iter().map(read).collect()
}

/// The chosen port in short: `8000 http1 service/a`.
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
                "{candidates}; decided by {}",
                deciding_services.join(" or ")
            )
        }
    }
}

#[test]
fn without_a_service_a_port_serves_by_its_name_or_as_the_only_port() {
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
            "HTTP before HTTP/2 is not reported",
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
    for (what, ports, expected) in rows {
        assert_eq!(shown(choose(&pod(ports), &[])), expected, "{what}");
    }
}

#[test]
fn services_may_agree_on_one_port_and_labelled_services_take_precedence() {
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
        "service/a leads to 8000, and inferencepool/p leads to 9000; decided by a"
    );
    // An offer of several ports does not count if another offer leads to one.
    assert_eq!(
        chosen(&[vec![offer("a", &both), offer("b", &second)]]),
        "9000 http1 service/b"
    );
    // A labelled Service without ports, as a headless one may be.
    assert_eq!(
        chosen(&[vec![offer("a", &[])], vec![offer("b", &second)]]),
        "9000 http1 service/b"
    );
    // Two Services that declare different protocols for one port.
    let (http, grpc) = (leads(&["http>8000"]), leads(&["grpc>8000"]));
    assert_eq!(
        chosen(&[vec![offer("a", &http)], vec![offer("b", &grpc)]]),
        "8000 client service/a"
    );
}

#[test]
fn an_undeclared_port_number_is_valid_only_on_the_carrier() {
    let ports = pod(&["http:8000", ":8001"]);
    for (text, by_carrier, expected) in [
        ("http", false, Some(8000)),
        ("8001", false, Some(8001)),
        ("9000", false, None),
        ("9000", true, Some(9000)),
        ("0", true, None),
        ("other", true, None),
        ("", true, None),
    ] {
        assert_eq!(annotated(&ports, text, by_carrier), expected, "{text:?}");
    }
}
