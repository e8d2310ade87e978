//! Upstream settings of a version, from its pods and the annotations of its carriers.

use headgate_contract::names::{
    ANNOTATION_HEALTH_CHECK, ANNOTATION_TLS, ANNOTATION_TLS_SAN, ANNOTATION_TLS_SNI,
};
use headgate_model::{Carrier, HealthCheck, Plan, Pod, Protocol, Severity, Tls, Upstream, reason};

use crate::fixtures::{Build, carrier, llama, objects, planned, reasons};

fn with_protocols(mut carrier: Carrier, protocols: &[Protocol]) -> Carrier {
    carrier = carrier.ready(u32::try_from(protocols.len()).unwrap());
    for (pod, protocol) in carrier.pods.iter_mut().zip(protocols) {
        pod.protocol = *protocol;
    }
    carrier
}

fn upstream<'a>(plan: &'a Plan, version: &str) -> &'a Upstream {
    let variants = &llama(plan).variants;
    let found = variants.iter().find(|(v, _)| v.as_str() == version);
    &found.unwrap().1.upstream
}

#[test]
fn a_version_uses_the_protocol_of_most_ready_endpoints() {
    use Protocol::{Client, Http1, Http2};
    for (pods, expected, differ) in [
        (&[Http1][..], Http1, false),
        (&[Http2, Http2], Http2, false),
        (&[Client], Client, false),
        (&[Http1, Http2, Http2], Http2, true),
        (&[Http2, Http1], Http1, true),
    ] {
        let plan = planned(&objects([with_protocols(carrier("a", "v1"), pods)]));
        assert_eq!(upstream(&plan, "v1").protocol, expected, "{pods:?}");
        let found = reasons(&plan).contains(&reason::PROTOCOLS_DIFFER);
        assert_eq!(found, differ, "{pods:?}");
    }
    let mut a = with_protocols(carrier("a", "v1"), &[Http1, Http2]);
    a.pods[0].ready = false;
    assert_eq!(upstream(&planned(&objects([a])), "v1").protocol, Http2);
}

#[test]
fn versions_with_incompatible_protocols_are_reported() {
    use Protocol::{Client, Http1, Http2};
    for (one, two, reported) in [
        (Http1, Http2, true),
        (Http1, Client, false),
        (Client, Http2, false),
        (Http2, Http2, false),
    ] {
        let carriers = [
            with_protocols(carrier("a", "v1"), &[one]),
            with_protocols(carrier("b", "v2").weight("10"), &[two]),
        ];
        let plan = planned(&objects(carriers));
        let found = plan
            .findings
            .iter()
            .find(|f| f.reason == reason::PROTOCOLS_DIFFER);
        assert_eq!(found.is_some(), reported, "{one:?} {two:?}");
        if let Some(finding) = found {
            assert_eq!(finding.severity, Severity::Info, "both versions serve");
            assert!(
                finding.message.contains("v1 http1, v2 http2"),
                "{}",
                finding.message
            );
        }
    }
}

#[test]
fn annotations_set_tls_and_health_checks_and_invalid_ones_are_reported() {
    let sni = |name: &str| Tls {
        sni: Some(name.into()),
        san: None,
    };
    let path = |path: &str| Some(HealthCheck::Http(path.into()));
    type Row<'a> = (
        &'a [(&'a str, &'a str)],
        Option<Tls>,
        Option<HealthCheck>,
        Option<&'a str>,
    );
    let rows: &[Row<'_>] = &[
        (&[], None, None, None),
        (&[(ANNOTATION_TLS, "false")], None, None, None),
        (
            &[(ANNOTATION_TLS, "true")],
            Some(Tls::default()),
            None,
            None,
        ),
        // A typing error must not disable TLS.
        (
            &[(ANNOTATION_TLS, "yes")],
            Some(Tls::default()),
            None,
            Some(ANNOTATION_TLS),
        ),
        (
            &[
                (ANNOTATION_TLS, "true"),
                (ANNOTATION_TLS_SNI, "API.example.com"),
            ],
            Some(sni("api.example.com")),
            None,
            None,
        ),
        (
            &[
                (ANNOTATION_TLS, "true"),
                (ANNOTATION_TLS_SNI, "https://api.example.com"),
            ],
            Some(Tls::default()),
            None,
            Some(ANNOTATION_TLS_SNI),
        ),
        (
            &[(ANNOTATION_TLS_SAN, "a.example.com")],
            None,
            None,
            Some(ANNOTATION_TLS_SAN),
        ),
        (
            &[(ANNOTATION_HEALTH_CHECK, "/health")],
            None,
            path("/health"),
            None,
        ),
        (
            &[(ANNOTATION_HEALTH_CHECK, "health")],
            None,
            None,
            Some(ANNOTATION_HEALTH_CHECK),
        ),
        (
            &[(ANNOTATION_HEALTH_CHECK, "/a b")],
            None,
            None,
            Some(ANNOTATION_HEALTH_CHECK),
        ),
        // The gRPC health service requires HTTP/2; a proxy rejects a cluster with another protocol.
        (
            &[(ANNOTATION_HEALTH_CHECK, "grpc")],
            None,
            None,
            Some(ANNOTATION_HEALTH_CHECK),
        ),
    ];
    for (annotations, tls, check, wrong) in rows {
        let mut a = carrier("a", "v1");
        for (key, value) in *annotations {
            a = a.annotated(key, value);
        }
        let plan = planned(&objects([a]));
        let upstream = upstream(&plan, "v1");
        assert_eq!(&upstream.tls, tls, "{annotations:?}");
        assert_eq!(&upstream.health_check, check, "{annotations:?}");
        let found: Vec<_> = plan
            .findings
            .iter()
            .filter(|f| f.reason == reason::INVALID_UPSTREAM)
            .collect();
        assert_eq!(
            found.len(),
            usize::from(wrong.is_some()),
            "{annotations:?}: {found:?}"
        );
        if let (Some(finding), Some(annotation)) = (found.first(), wrong) {
            assert!(finding.message.contains(annotation), "{}", finding.message);
            assert!(
                finding
                    .message
                    .contains("kubectl annotate deployment/a -n default"),
                "{}",
                finding.message
            );
        }
    }
    let grpc = with_protocols(carrier("a", "v1"), &[Protocol::Http2])
        .annotated(ANNOTATION_HEALTH_CHECK, "grpc");
    let plan = planned(&objects([grpc]));
    assert_eq!(upstream(&plan, "v1").health_check, Some(HealthCheck::Grpc));
}

#[test]
fn a_version_uses_dns_if_one_of_its_endpoints_has_a_dns_name() {
    let mut a = carrier("a", "v1");
    assert!(!upstream(&planned(&objects([a.clone()])), "v1").by_name);
    let address: headgate_model::Address = "api.example.com:443".parse().unwrap();
    a.pods.push(Pod {
        ready: false,
        ..Pod::at("x", address)
    });
    assert!(
        upstream(&planned(&objects([a])), "v1").by_name,
        "ready or not"
    );
}

#[test]
fn the_younger_of_two_carriers_completes_the_annotations_of_the_older() {
    let old = carrier("a", "v1")
        .created(1)
        .annotated(ANNOTATION_TLS, "true");
    let young = carrier("b", "v1")
        .created(2)
        .annotated(ANNOTATION_TLS, "false")
        .annotated(ANNOTATION_HEALTH_CHECK, "/health");
    let plan = planned(&objects([old, young]));
    let upstream = upstream(&plan, "v1");
    assert_eq!(upstream.tls, Some(Tls::default()));
    assert_eq!(
        upstream.health_check,
        Some(HealthCheck::Http("/health".into()))
    );
}
