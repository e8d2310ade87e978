//! Pods with Services that are not explicit: side channels, TLS, and probes.

use super::{leads, pod, shown};
use crate::PortSource;
use crate::ports::{Offer, ServicePort, all_tls, choose};

/// A description, the pod's ports, the ports of each Service, and the chosen port.
type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a [&'a str]], &'a str);

/// The first word of a headless Service.
const HEADLESS: &str = "headless";

/// The chosen port of a pod with Services that are not explicit, named `a`, `b` and so on.
fn with_services(ports: &[&str], services: &[&[&str]]) -> String {
    let read = |words: &&[&str]| match words {
        [HEADLESS, ports @ ..] => (leads(ports), true),
        ports => (leads(ports), false),
    };
    let services: Vec<(Vec<ServicePort>, bool)> = services.iter().map(read).collect();
    let services = services.iter().zip('a'..);
    let offers = services.map(|((ports, headless), name)| Offer {
        by: PortSource::Service(name.to_string()),
        ports,
        explicit: false,
        headless: *headless,
    });
    shown(choose(&pod(ports), &[offers.collect()]))
}

#[test]
fn a_port_with_an_uninformative_name_does_not_count_on_a_service_that_is_not_explicit() {
    let rows: [Row<'_>; 17] = [
        (
            "where ranks meet",
            &["http:8000"],
            &[&["torch-master>29500"]],
            "8000 http1 named http",
        ),
        (
            "a shell",
            &["http:8000"],
            &[&["ssh>22"]],
            "8000 http1 named http",
        ),
        (
            "any name",
            &["http:8000"],
            &[&[HEADLESS, "coordinator>29400"]],
            "8000 http1 named http",
        ),
        (
            "any name, beside an API",
            &["api:8000"],
            &[&[HEADLESS, "coordinator>29400"]],
            "8000 http1 named api",
        ),
        (
            "beside a Service that says it",
            &[":8000", ":29400"],
            &[&["coordinator>29400"], &["http>8000"]],
            "8000 http1 service/b",
        ),
        (
            "beside it in one Service",
            &[":8000", ":29400"],
            &[&["coordinator>29400", "http>8000"]],
            "8000 http1 service/a",
        ),
        (
            "an address of its own, beside what a sidecar calls http",
            &["container-port:8000", "http:2020"],
            &[&["service-port>container-port"]],
            "8000 http1 service/a",
        ),
        (
            "without an address",
            &["container-port:8000", "http:2020"],
            &[&[HEADLESS, "service-port>container-port"]],
            "2020 http1 named http",
        ),
        (
            "beside a Service that leads to what the sidecar calls http",
            &["container-port:8000", "http:2020"],
            &[&["service-port>container-port"], &["logs>http"]],
            "2020 http1 service/b",
        ),
        (
            "without an address, where nothing says more",
            &["container-port:8000"],
            &[&[HEADLESS, "service-port>container-port"]],
            "8000 http1 service/a",
        ),
        (
            "without an address, and with a protocol",
            &["main:8000", "http:2020"],
            &[&[HEADLESS, "api>main"]],
            "8000 http1 service/a",
        ),
        (
            "a port that the pod calls http",
            &["http:8000", ":9000"],
            &[&["web>8000"]],
            "8000 http1 service/a",
        ),
        (
            "without a name",
            &["http:8000"],
            &[&[">9000"]],
            "9000 http1 service/a",
        ),
        (
            "an appProtocol",
            &["http:8000"],
            &[&["web>9000@http"]],
            "9000 http1 service/a",
        ),
        (
            "where no other says it",
            &["main:8000", "other:9000"],
            &[&["web>8000"]],
            "8000 http1 service/a",
        ),
        (
            "a side channel alone",
            &["main:8000"],
            &[&["nccl>29500"]],
            "8000 http1 only",
        ),
        (
            "a port that is for metrics says nothing of others",
            &["http-metrics:9090", "main:8000"],
            &[&["web>8000"]],
            "8000 http1 service/a",
        ),
    ];
    for (what, ports, services, expected) in rows {
        assert_eq!(with_services(ports, services), expected, "{what}");
    }
    // An explicit Service counts.
    let ports = leads(&["web>9000"]);
    let offer = Offer {
        by: PortSource::Service("a".to_owned()),
        ports: &ports,
        explicit: true,
        headless: false,
    };
    assert_eq!(
        shown(choose(&pod(&["http:8000"]), &[vec![offer]])),
        "9000 http1 service/a"
    );
}

#[test]
fn a_tls_port_comes_after_an_http_port_and_is_marked_as_tls() {
    let rows: [Row<'_>; 9] = [
        (
            "KServe",
            &[":8000"],
            &[&["https>8000@https"]],
            "8000 http1 tls service/a",
        ),
        (
            "by the name",
            &[":8443"],
            &[&["https-web>8443"]],
            "8443 http1 tls service/a",
        ),
        (
            "by the pod's name",
            &["https:8443"],
            &[],
            "8443 http1 tls named https",
        ),
        (
            "by the pod's name, through a Service",
            &["https:8443", ":8000"],
            &[&["web>https"]],
            "8443 http1 tls service/a",
        ),
        (
            "beside HTTP in one Service",
            &[":8012", ":8112"],
            &[&["http>8012", "https>8112"]],
            "8012 http1 service/a",
        ),
        (
            "beside HTTP in the pod",
            &["http:8000", "https:8443"],
            &[],
            "8000 http1 named http",
        ),
        (
            "HTTP and TLS to one port",
            &[":8000"],
            &[&["https>8000", "http>8000"]],
            "8000 http1 service/a",
        ),
        (
            "before gRPC",
            &["https:8443", "grpc:9000"],
            &[],
            "8443 http1 tls named https",
        ),
        (
            "of gRPC",
            &[":9000"],
            &[&["x>9000@grpcs"]],
            "9000 http2 tls service/a",
        ),
    ];
    for (what, ports, services, expected) in rows {
        assert_eq!(with_services(ports, services), expected, "{what}");
    }
    for (ports, expected) in [
        (&["https>443"][..], true),
        (&["https>443", "https-metrics>9"], true),
        (&["web>443@https", "other>1"], true),
        (&["https>443", "http>80"], false),
        (&["web>443"], false),
    ] {
        assert_eq!(all_tls(&leads(ports)), expected, "{ports:?}");
    }
}

#[test]
fn side_channels_never_serve_and_a_probe_decides_among_the_other_ports() {
    let vllm = &[
        "container-port:8000?readiness",
        "zmq-port:55555",
        "ucx-port:9999",
    ];
    let engine: &[&str] = &[
        "service-port>container-port",
        "zmq-port>zmq-port",
        "ucx-port>ucx-port",
        "pd-port-1>pd-port-1",
    ];
    assert_eq!(with_services(vllm, &[engine]), "8000 http1 service/a");
    let rows: [Row<'_>; 12] = [
        (
            "by readiness",
            &["a:1", "b:2?readiness"],
            &[],
            "2 http1 readiness probe",
        ),
        (
            "readiness first",
            &["a:1?startup", "b:2?readiness", "c:3?liveness"],
            &[],
            "2 http1 readiness probe",
        ),
        (
            "else startup",
            &["a:1?startup", "b:2?liveness"],
            &[],
            "1 http1 startup probe",
        ),
        (
            "else liveness",
            &["a:1", "b:2?liveness"],
            &[],
            "2 http1 liveness probe",
        ),
        (
            "two probes",
            &["a:1?readiness", "b:2?readiness"],
            &[],
            "they declare 1 and 2",
        ),
        (
            "of a port that never serves",
            &["a:1", "b:2", "health:3?readiness"],
            &[],
            "they declare 1 and 2",
        ),
        (
            "a name comes first",
            &["http:1", "b:2?readiness"],
            &[],
            "1 http1 named http",
        ),
        (
            "of a Service's ports",
            &["a:1", "b:2", "c:3?readiness"],
            &[&["x>1", "y>2"]],
            "service/a leads to 1 and 2",
        ),
        (
            "through a Service",
            &["a:1", "b:2?readiness"],
            &[&["x>1", "y>2"]],
            "2 http1 readiness probe",
        ),
        (
            "of two Services",
            &["a:1", "b:2?readiness"],
            &[&["x>1"], &["y>2"]],
            "2 http1 readiness probe",
        ),
        (
            "not of two that say HTTP",
            &["a:1", "b:2?readiness"],
            &[&["http-x>1"], &["http-y>2"]],
            "service/a leads to 1, and service/b leads to 2; decided by a or b",
        ),
        (
            "words, and not parts of words",
            &["torchserve:1", "http-torch:2", "distill:3"],
            &[],
            "2 http1 named http-torch",
        ),
    ];
    for (what, ports, services, expected) in rows {
        assert_eq!(with_services(ports, services), expected, "{what}");
    }
}
