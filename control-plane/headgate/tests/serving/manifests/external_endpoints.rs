//! Services without a selector: servers outside the cluster.

use super::within;

#[test]
fn a_service_without_a_selector_is_a_finding_until_its_endpoints_are_written() {
    within("outside", async |namespace| {
        namespace
            .apply(include_str!("../inputs/external-servers.yaml"))
            .await;
        let reported = |view: &super::StatusView| {
            ["service/gpu-box", "service/ext"]
                .iter()
                .all(|it| view.message(it, "NoSelector").is_some())
        };
        let view = namespace
            .until("the finding about missing endpoints", reported)
            .await;
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
            let message = view.message(it, "NoSelector").unwrap();
            assert!(message.contains(command), "{message}");
            namespace.event(it, "NoSelector", &[command]).await;
        }
        namespace
            .run("annotate service/gpu-box headgate.dev/endpoints=10.9.8.7:8000")
            .await;
        namespace
            .run("annotate service/ext headgate.dev/endpoints=api.provider.example:443")
            .await;
        let serves = |view: &super::StatusView| {
            view.endpoints("gpubox") == [(1, 1)]
                && view.endpoints("extname") == [(1, 1)]
                && view.problems.is_empty()
        };
        namespace.until("both of them", serves).await;
        // An address that could expose secrets is refused, and the previous address does not serve in its place.
        namespace
            .run("annotate service/gpu-box --overwrite headgate.dev/endpoints=169.254.169.254:80")
            .await;
        let refused =
            |view: &super::StatusView| view.message("service/gpu-box", "EndpointRefused").is_some();
        let view = namespace.until("the refusal", refused).await;
        assert_eq!(view.endpoints("extname"), [(1, 1)]);
        assert!(
            view.endpoints("gpubox").iter().all(|ready| ready.0 == 0),
            "{view:?}"
        );
    });
}
