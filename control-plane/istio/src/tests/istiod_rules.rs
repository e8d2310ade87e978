//! The lookup of `DestinationRule`s, against answers of istiod's own code.
//!
//! `istiod_rules.jsonl` has random rules for one host, and what `PushContext.setDestinationRules`, `PushContext.destinationRule` and
//! `SidecarScope.DestinationRule` of istiod (1.32-dev, `eed52ebb66ad`) answer for proxies of four namespaces: the subsets as `NAME=RULE`, the
//! rule with the traffic policy, and the subsets of proxies with the label `app=x`.

use super::*;
use crate::host_rule::HostRule;
use crate::lookup::{Merged, Rules};

const HOST: &str = "llama.models.svc.cluster.local";

fn rule(case: &Value) -> (ObjectKey, HostRule) {
    let text = |field: &str| case[field].as_str().unwrap();
    let subsets = case["subsets"].as_array().unwrap().iter();
    let subsets = subsets.map(|name| json!({ "name": name, "labels": { "of": case["name"] } }));
    let mut spec = json!({
        "host": case["host"],
        "exportTo": case["exportTo"],
        "subsets": subsets.collect::<Vec<_>>(),
    });
    if case["selector"] == json!(true) {
        spec["workloadSelector"] = json!({ "matchLabels": { "app": "x" } });
    }
    if case["policy"] == json!(true) {
        spec["trafficPolicy"] = json!({ "loadBalancer": { "simple": "RANDOM" } });
    }
    let key = ObjectKey {
        namespace: text("namespace").to_owned(),
        name: text("name").to_owned(),
    };
    (key, HostRule::of_spec(&spec, &case["age"].to_string()))
}

fn subsets(merged: &Merged<'_>) -> BTreeSet<String> {
    let subsets = merged.subsets.iter();
    subsets
        .map(|(name, (rule, _))| format!("{name}={}", rule.name))
        .collect()
}

fn set(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_lookup_answers_as_istiod_does() {
    let cases = include_str!("istiod_rules.jsonl").lines();
    let mut compared = 0;
    for (number, case) in cases.enumerate() {
        let case: Value = serde_json::from_str(case).unwrap();
        let rules: Vec<_> = case["rules"].as_array().unwrap().iter().map(rule).collect();
        let pairs = rules.iter().map(|(key, rule)| (key, rule));
        let index = Rules::new(pairs, "istio-system", "cluster.local");
        for answer in case["answers"].as_array().unwrap() {
            let proxies = answer["proxies"].as_str().unwrap();
            let effective = index.of(proxies, HOST, "models");
            let others = effective.others;
            let what = format!("case {number}, {proxies}: {:#}", case["rules"]);
            assert_eq!(others.is_none(), answer["none"] == json!(true), "{what}");
            let own = others.map(subsets).unwrap_or_default();
            assert_eq!(own, set(&answer["subsets"]), "{what}");
            let policy = others.and_then(|rule| rule.policy);
            let policy = policy.map_or("", |key| key.name.as_str());
            assert_eq!(policy, answer["policy"], "{what}");
            // istiod takes the first rule that selects the proxy; all of them have the same selector here.
            let selected = effective.selected.first().map(|rule| subsets(rule));
            let expected = answer["selected"].as_array().unwrap().first().map(set);
            assert_eq!(selected, expected, "{what}");
            compared += 1;
        }
    }
    assert!(compared > 400, "{compared}");
}
