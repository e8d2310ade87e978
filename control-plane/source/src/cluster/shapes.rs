//! Which fields are kept of the JSON of each kind of object.

use headgate_contract::names;

use headgate_kubernetes::pruning::{Keep, Shape};

/// Where headgate's annotations begin; no other is kept.
const ANNOTATIONS: &str = names::ANNOTATION_PREFIX;

const METADATA: Keep = Keep::Fields(&[
    ("name", Keep::Scalar),
    ("namespace", Keep::Scalar),
    ("uid", Keep::Scalar),
    ("resourceVersion", Keep::Scalar),
    ("creationTimestamp", Keep::Scalar),
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
]);

/// Of a probe the port that it asks over HTTP.
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

/// What a container waits for, and how it ended last.
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
                // A map of labels, or one of them in a field of it: so is the shape of the older group, and of the newer.
                ("selector", Keep::Maps(2)),
                ("targetPortNumber", Keep::Scalar),
                ("targetPorts", Keep::Fields(&[("number", Keep::Scalar)])),
                ("appProtocol", Keep::Scalar),
            ]),
        ),
    ]);
}

/// The JSON of an owner of pods, whatever its kind: its numbers lie in maps.
#[derive(Debug, Clone)]
pub(crate) struct OwnerShape;
impl Shape for OwnerShape {
    const KEEP: Keep = Keep::Fields(&[
        ("metadata", METADATA),
        ("spec", Keep::Maps(6)),
        ("status", Keep::Maps(3)),
    ]);
}
