//! Fields that are kept of the JSON of each watched kind.

use headgate_contract::names;

use headgate_kubernetes::object::IDENTITY;
use headgate_kubernetes::pruning::{Keep, Shape};

/// Prefix of Headgate's annotations; others are not kept.
const ANNOTATIONS: &str = names::ANNOTATION_PREFIX;

const METADATA: Keep = Keep::Joined(
    IDENTITY,
    &[
        ("deletionTimestamp", Keep::Scalar),
        ("labels", Keep::Prefixed("")),
        ("annotations", Keep::Prefixed(ANNOTATIONS)),
        (
            "ownerReferences",
            Keep::Fields(&[
                ("apiVersion", Keep::Scalar),
                ("kind", Keep::Scalar),
                ("uid", Keep::Scalar),
                ("controller", Keep::Scalar),
            ]),
        ),
    ],
);

/// A probe: the port of its HTTP request.
const PROBE: Keep = Keep::Fields(&[("httpGet", Keep::Fields(&[("port", Keep::Scalar)]))]);

const CONTAINERS: Keep = Keep::Fields(&[
    ("name", Keep::Scalar),
    ("restartPolicy", Keep::Scalar),
    ("readinessProbe", PROBE),
    ("startupProbe", PROBE),
    ("livenessProbe", PROBE),
    (
        "ports",
        Keep::Fields(&[
            ("name", Keep::Scalar),
            ("containerPort", Keep::Scalar),
            ("protocol", Keep::Scalar),
        ]),
    ),
]);

/// A container: its state and its last termination.
const CONTAINER_STATUSES: Keep =
    Keep::Fields(&[("state", Keep::Maps(2)), ("lastState", Keep::Maps(2))]);

/// A pod's JSON.
#[derive(Debug, Clone)]
pub(crate) struct PodShape;
impl Shape for PodShape {
    const KEEP: Keep = Keep::Fields(&[
        ("metadata", METADATA),
        (
            "spec",
            Keep::Fields(&[("containers", CONTAINERS), ("initContainers", CONTAINERS)]),
        ),
        (
            "status",
            Keep::Fields(&[
                ("phase", Keep::Scalar),
                ("podIP", Keep::Scalar),
                (
                    "conditions",
                    Keep::Fields(&[
                        ("type", Keep::Scalar),
                        ("status", Keep::Scalar),
                        ("reason", Keep::Scalar),
                        ("message", Keep::Scalar),
                        ("lastTransitionTime", Keep::Scalar),
                    ]),
                ),
                ("containerStatuses", CONTAINER_STATUSES),
                ("initContainerStatuses", CONTAINER_STATUSES),
            ]),
        ),
    ]);
}

/// A Service's JSON.
#[derive(Debug, Clone)]
pub(crate) struct ServiceShape;
impl Shape for ServiceShape {
    const KEEP: Keep = Keep::Fields(&[
        ("metadata", METADATA),
        (
            "spec",
            Keep::Fields(&[
                ("selector", Keep::Prefixed("")),
                ("type", Keep::Scalar),
                ("externalName", Keep::Scalar),
                ("clusterIP", Keep::Scalar),
                (
                    "ports",
                    Keep::Fields(&[
                        ("name", Keep::Scalar),
                        ("port", Keep::Scalar),
                        ("targetPort", Keep::Scalar),
                        ("protocol", Keep::Scalar),
                        ("appProtocol", Keep::Scalar),
                    ]),
                ),
            ]),
        ),
    ]);
}

/// An InferencePool's JSON.
#[derive(Debug, Clone)]
pub(crate) struct PoolShape;
impl Shape for PoolShape {
    const KEEP: Keep = Keep::Fields(&[
        ("metadata", METADATA),
        (
            "spec",
            Keep::Fields(&[
                // The older group has a map of labels here, the newer one has it in `matchLabels`.
                ("selector", Keep::Maps(2)),
                ("targetPortNumber", Keep::Scalar),
                ("targetPorts", Keep::Fields(&[("number", Keep::Scalar)])),
                ("appProtocol", Keep::Scalar),
            ]),
        ),
    ]);
}

/// The JSON of an owner of pods of any kind: its numbers are in nested maps.
#[derive(Debug, Clone)]
pub(crate) struct OwnerShape;
impl Shape for OwnerShape {
    const KEEP: Keep = Keep::Fields(&[
        ("metadata", METADATA),
        ("spec", Keep::Maps(6)),
        ("status", Keep::Maps(3)),
    ]);
}
