//! Service meshes.

use headgate_model::reason;

use super::{ERROR, Explanation, INFO, WARNING, row};

/// The rows.
pub(super) const ROWS: &[Explanation] = &[
    row(
        reason::NO_MESH_ROUTE,
        WARNING,
        "No Service selects all pods of a version, or the Service is headless or its port is not HTTP. Proxies of the mesh cannot route requests to the version.",
        "Change the Service or the labels of the pods as the message says.",
    ),
    row(
        reason::MESH_NAME_TAKEN,
        ERROR,
        "A DestinationRule or EnvoyFilter of another person, or of another installation, has a name that Headgate needs.",
        "Rename it, or delete it with the command in the message.",
    ),
    row(
        reason::VIRTUAL_SERVICE_SPLITS,
        INFO,
        "A VirtualService splits the requests to a host of models by weight. Requests for a model follow the labels instead.",
        "Set weights by labels, and remove those of the VirtualService.",
    ),
    row(
        reason::HOST_IGNORED,
        WARNING,
        "`spec.hosts` of a ServedModel has a host that names a Service, or that is not in a domain of its namespace. The host is ignored.",
        "Do as the message says: remove the host, or start the control plane with a `--domain` for it.",
    ),
];
