//! A scale is valid for 15 minutes after its reception, and an epoch renews it.

use headgate_core::effects::Flow;

use crate::proxy::{Proxy, SECOND, one_model, reply, reply_header, text, tokens};

const MINUTE: u64 = 60 * SECOND;

fn scaled(percent: u16, epoch: u64, extra: &str) -> String {
    let config = one_model(&tokens(1000, "0.001", ""));
    let scale = format!(r#""m":{{"scale":{{"percent":{percent},"epoch":{epoch}}},"#);
    config
        .replacen("\"m\":{", &scale, 1)
        .replacen("\"Org/M\"", &format!("\"Org/M\"{extra}"), 1)
}

/// A request that fits the whole capacity but not half of it.
fn status_of_request(proxy: &mut Proxy, tenant: &str) -> u16 {
    let (_, step) = proxy.chat(
        &[("x-tenant-id", tenant)],
        r#"{"model":"m","max_tokens":600}"#,
    );
    match step.flow {
        Flow::Continue => 200,
        _ => reply(&step).status,
    }
}

#[test]
fn half_of_the_replicas_have_half_of_the_capacity() {
    let mut proxy = Proxy::new(&scaled(50, 1, ""));
    let (_, step) = proxy.chat(&[], r#"{"model":"m","max_tokens":600}"#);
    let refused = reply(&step);
    assert_eq!(refused.status, 503);
    assert!(
        text(refused).contains(r#""code":"capacity_reduced""#),
        "{}",
        text(refused)
    );
    assert_eq!(reply_header(refused, "retry-after"), Some("10"));
    assert_eq!(
        proxy.chat(&[], r#"{"model":"m","max_tokens":500}"#).1.flow,
        Flow::Continue
    );
}

#[test]
fn a_cost_above_the_unscaled_capacity_is_refused_at_any_scale() {
    for percent in [50, 100, 1000] {
        let mut proxy = Proxy::new(&scaled(percent, 1, ""));
        let (_, step) = proxy.chat(&[], r#"{"model":"m","max_tokens":1001}"#);
        assert_eq!(reply(&step).status, 400);
        assert!(text(reply(&step)).contains("cost_exceeds_capacity"));
    }
}

#[test]
fn a_scale_expires_15_minutes_after_its_reception() {
    let mut proxy = Proxy::new(&scaled(50, 1, ""));
    proxy.host.sleep(15 * MINUTE - 1);
    assert_eq!(status_of_request(&mut proxy, "a"), 503);
    proxy.host.sleep(1);
    assert_eq!(status_of_request(&mut proxy, "a"), 200);
}

#[test]
fn an_epoch_renews_a_scale_and_an_unrelated_update_does_not() {
    let mut proxy = Proxy::new(&scaled(50, 1, ""));
    proxy.host.sleep(10 * MINUTE);
    proxy
        .vm
        .configure(scaled(50, 1, ",\"Other\"").as_bytes(), &proxy.host)
        .unwrap();
    proxy.host.sleep(6 * MINUTE);
    assert_eq!(
        status_of_request(&mut proxy, "a"),
        200,
        "16 minutes after its reception"
    );
    proxy
        .vm
        .configure(scaled(50, 2, "").as_bytes(), &proxy.host)
        .unwrap();
    assert_eq!(status_of_request(&mut proxy, "b"), 503, "renewed");
    proxy.host.sleep(14 * MINUTE);
    assert_eq!(status_of_request(&mut proxy, "b"), 503);
}
