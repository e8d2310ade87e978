//! Requests that pass two hops, which have the same rules.

use headgate_core::effects::{Flow, Step};

use crate::proxy::{Proxy, at_inbound, one_model, reply, tokens};

fn send(proxy: &mut Proxy) -> Step {
    let headers = [("x-model", "m"), ("x-headgate-tenant", "acme")];
    proxy.chat(&headers, r#"{"model":"m","max_tokens":600}"#).1
}

#[test]
fn a_bucket_is_charged_by_the_hop_that_its_policy_names() {
    let config = one_model(&tokens(1000, "0.001", ""));
    for (config, charges) in [(config.clone(), "decide"), (at_inbound(&config), "follow")] {
        for role in ["decide", "follow"] {
            let mut proxy =
                Proxy::new(&config.replacen('{', &format!("{{\"role\":\"{role}\","), 1));
            assert_eq!(send(&mut proxy).flow, Flow::Continue);
            let second = send(&mut proxy);
            if role == charges {
                assert_eq!(reply(&second).status, 429, "{role}");
            } else {
                assert_eq!(second.flow, Flow::Continue, "{role}");
            }
        }
    }
}
