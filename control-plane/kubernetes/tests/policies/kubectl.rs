//! Policies and `kubectl`: shipped policies with their printer columns, and errors.

use crate::api_server::{file, runtime, start};

#[test]
fn the_shipped_policies_apply_and_show_their_columns() {
    runtime().block_on(async {
        let kube = start().await;
        let kubectl = kube.kubectl();
        let policies = file("envoy-config/policies");
        let output = kubectl
            .run(["apply", "-f", policies.as_str()])
            .await
            .unwrap();
        assert!(
            output.contains("tokenbucketpolicy.headgate.dev/tenant-budget created"),
            "{output}"
        );
        assert!(
            output.contains("traffictagpolicy.headgate.dev/default created"),
            "{output}"
        );
        let again = kubectl
            .run(["apply", "-f", policies.as_str()])
            .await
            .unwrap();
        assert!(
            again.lines().all(|line| line.ends_with("unchanged")),
            "{again}"
        );
        for (short, columns) in [
            ("tbp", "NAME ACCEPTED PROGRAMMED AGE"),
            ("ttp", "NAME ACCEPTED PROGRAMMED AGE"),
        ] {
            let table = kubectl.run(["get", short]).await.unwrap();
            let head: Vec<&str> = table
                .lines()
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect();
            assert_eq!(head.join(" "), columns);
        }
        let wide = kubectl.run(["get", "tbp", "-o", "wide"]).await.unwrap();
        assert!(wide.lines().next().unwrap().contains("MESSAGE"), "{wide}");
        let all = kubectl
            .run(["get", "headgate", "-o", "name"])
            .await
            .unwrap();
        assert_eq!(all.lines().count(), 4, "{all}");
    });
}

#[test]
fn a_refusal_by_the_api_server_names_the_field_and_the_fix() {
    runtime().block_on(async {
        let kube = start().await;
        let kubectl = kube.kubectl();
        let policy = |spec: &str| {
            format!("apiVersion: headgate.dev/v1alpha1\nkind: TokenBucketPolicy\nmetadata: {{name: a}}\nspec: {spec}\n")
        };
        let cases = [
            (
                "{models: [m], selector: {matchLabels: {a: b}}, buckets: [{name: b, key: [], profile: semantic}]}",
                "`targetRefs`, `models` and `selector` exclude each other: keep one of them",
            ),
            (
                "{buckets: [{name: b, key: [], profile: tokens}]}",
                "spec.buckets[0]: Invalid value: `profile: tokens` needs the section `tokens`",
            ),
            (
                "{buckets: [{name: b, key: [], profile: semantic}, {name: b, key: [], profile: semantic}]}",
                "spec.buckets[1]: Duplicate value",
            ),
            (
                "{buckets: [{name: b, key: [], profile: semantic, burst: 1}]}",
                "unknown field \"spec.buckets[0].burst\"",
            ),
            (
                "{targetRefs: [{kind: Deployment, group: core, name: a}], buckets: [{name: b, key: [], profile: semantic}]}",
                "spec.targetRefs[0]",
            ),
        ];
        for (spec, expected) in cases {
            let refusal = kubectl.apply(&policy(spec)).await.unwrap_err().to_string();
            assert!(refusal.contains(expected), "{spec}\n{refusal}");
        }
    });
}
