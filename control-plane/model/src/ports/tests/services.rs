//! Pods with one explicit Service: the port and the protocol that it determines.

use super::{leads, pod, shown};
use crate::PortSource;
use crate::ports::{Offer, choose};

#[test]
fn a_service_determines_the_port_and_the_protocol() {
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
    for (what, ports, service, expected) in rows {
        let service = leads(service);
        let offer = Offer {
            by: PortSource::Service("a".to_owned()),
            ports: &service,
            explicit: true,
            headless: false,
        };
        assert_eq!(
            shown(choose(&pod(ports), &[vec![offer]])),
            expected,
            "{what}"
        );
    }
}
