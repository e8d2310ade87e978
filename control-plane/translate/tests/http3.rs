//! HTTP/3 is offered only by proxies that can make the same demands over QUIC.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use headgate_model::Plan;
use headgate_translate::{
    ClientCertificates, Code, Http3, ListenerCertificateSource, ListenerSecrets, ListenerTls,
    Options, ScopeSpec, snapshot,
};
use headgate_xds::Kind;

/// The names of the listeners, and whether one of them offers HTTP/3.
fn listeners(clients: ClientCertificates, asks_over_quic: bool) -> (Vec<String>, bool) {
    let secrets = ListenerSecrets {
        chain: b"chain".to_vec(),
        key: b"key".to_vec(),
        bundles: [("example.org".to_owned(), b"bundle".to_vec())].into(),
    };
    let tls = ListenerTls {
        source: ListenerCertificateSource::Ads(Arc::new(secrets)),
        clients,
        trust_domains: vec!["example.org".to_owned()],
        http3: Some(Http3 {
            advertised_port: None,
        }),
    };
    let domains = BTreeMap::from([("default".to_owned(), vec!["*".to_owned()])]);
    let options = Options {
        listener_tls: Some(tls),
        ..Options::new(Code::File("/headgate.wasm".to_owned()), domains)
    };
    let scope = ScopeSpec {
        follow: false,
        mesh: None,
        namespaces: vec!["default".to_owned()],
        listen: "127.0.0.1:10000".parse().unwrap(),
        asks_over_quic,
    };
    let translated = snapshot(&Plan::default(), &scope, &options).unwrap();
    let listeners: Vec<_> = translated.snapshot.of(Kind::Listener).collect();
    let offers = listeners.iter().any(|listener| {
        let body = listener.body();
        body.windows(7).any(|bytes| bytes == b"alt-svc")
    });
    let names = listeners.iter().map(|listener| listener.name().to_owned());
    (names.collect(), offers)
}

#[test]
fn a_proxy_that_cannot_ask_for_certificates_over_quic_offers_no_http3_where_the_listener_asks() {
    for (clients, asks_over_quic, http3) in [
        (ClientCertificates::None, true, true),
        (ClientCertificates::None, false, true),
        (ClientCertificates::Request, true, true),
        (ClientCertificates::Request, false, false),
        (ClientCertificates::Require, true, true),
        (ClientCertificates::Require, false, false),
    ] {
        let (names, offers) = listeners(clients, asks_over_quic);
        let expected = if http3 { 2 } else { 1 };
        assert_eq!(
            names.len(),
            expected,
            "{clients:?} {asks_over_quic}: {names:?}"
        );
        assert_eq!(offers, http3, "{clients:?} {asks_over_quic}");
    }
}
