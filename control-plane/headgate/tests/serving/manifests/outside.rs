//! Services without a selector: servers outside the cluster.

use super::within;

#[test]
fn a_service_without_a_selector_is_a_finding_until_its_endpoints_are_written() {
    within("outside", async |place| {
        place
            .apply(include_str!("../inputs/outside-servers.yaml"))
            .await;
        let said = |seen: &super::StatusView| {
            ["service/gpu-box", "service/ext"]
                .iter()
                .all(|it| seen.says(it, "NoSelector").is_some())
        };
        let seen = place.until("that nothing leads to them", said).await;
        for (it, command) in [
            (
                "service/gpu-box",
                "kubectl annotate service/gpu-box -n outside headgate.dev/endpoints=",
            ),
            (
                "service/ext",
                "kubectl annotate service/ext -n outside headgate.dev/endpoints=",
            ),
        ] {
            let message = seen.says(it, "NoSelector").unwrap();
            assert!(message.contains(command), "{message}");
            place.told(it, "NoSelector", &[command]).await;
        }
        place
            .run("annotate service/gpu-box headgate.dev/endpoints=10.9.8.7:8000")
            .await;
        place
            .run("annotate service/ext headgate.dev/endpoints=api.provider.example:443")
            .await;
        let serves = |seen: &super::StatusView| {
            seen.endpoints("gpubox") == [(1, 1)]
                && seen.endpoints("extname") == [(1, 1)]
                && seen.problems.is_empty()
        };
        place.until("both of them", serves).await;
        // What could lead to a neighbour's secrets is refused, and what served before is not put in its place.
        place
            .run("annotate service/gpu-box --overwrite headgate.dev/endpoints=169.254.169.254:80")
            .await;
        let refused =
            |seen: &super::StatusView| seen.says("service/gpu-box", "EndpointRefused").is_some();
        let seen = place.until("the refusal", refused).await;
        assert_eq!(seen.endpoints("extname"), [(1, 1)]);
        assert!(
            seen.endpoints("gpubox").iter().all(|ready| ready.0 == 0),
            "{seen:?}"
        );
    });
}
