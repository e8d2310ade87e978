//! Service meshes.

use headgate_model::reason;

use super::{ERROR, Explanation, INFO, WARNING, row};

/// The rows.
pub(super) const ROWS: &[Explanation] = &[
    row(
        reason::NO_MESH_ROUTE,
        WARNING,
        "No Service selects all pods of a version, no labels distinguish them from other pods, or the Service is headless, not for HTTP or \
         has no port for them. So the mesh has no route to the version. A canary gets no sessions from the mesh, and requests of a base go \
         on without a version.",
        "Change the Service or the labels of the pods as the message says.",
    ),
    row(
        reason::SERVICE_BYPASSES_FILTER,
        INFO,
        "A Service of a model is headless, or a port of it is declared as another protocol than HTTP. Proxies of clients do not run the filter \
         for requests to it: they have no tag, no version and no budget but those of policies with `at: inbound`.",
        "Let clients use the Service in the message.",
    ),
    row(
        reason::NOT_CHARGED_INBOUND,
        WARNING,
        "A policy has `at: inbound`, but the pods of a model have no labels by which their sidecars can be selected, so nobody charges it there.",
        "Give the workload a `spec.selector.matchLabels`, or its pods the model label.",
    ),
    row(
        reason::GATEWAY_HOST_WITHOUT_DOMAIN,
        WARNING,
        "A VirtualService or HTTPRoute routes a host of a gateway to a model, but no domain contains the host, so the filter does not run for it.",
        "Start the control plane with the `--domain` in the message. The name of a Service, and a host of several namespaces, need other hosts first.",
    ),
    row(
        reason::MESH_NAME_TAKEN,
        ERROR,
        "A DestinationRule or EnvoyFilter of another person, or of another installation, has a name that Headgate needs.",
        "Delete or rename it with the command in the message.",
    ),
    row(
        reason::VIRTUAL_SERVICE_SPLITS,
        INFO,
        "A VirtualService splits the requests of a host of models by weight. Requests for a model follow the labels instead.",
        "Set weights by labels, and remove those of the VirtualService.",
    ),
    row(
        reason::SUBSETS_HIDDEN,
        ERROR,
        "A DestinationRule of another person takes the subsets of versions from proxies of the mesh. The versions leave the plan of all proxies \
         of the mesh; their requests follow other routes, without a version.",
        "Move or change the DestinationRule as the message says.",
    ),
    row(
        reason::POLICY_DISPLACED,
        WARNING,
        "A DestinationRule for a wildcard, or of Istio's root namespace, has a traffic policy that does not apply to a host of models, because \
         Headgate's DestinationRule names the host exactly.",
        "Add a DestinationRule for the host with this traffic policy in the namespace of the Service.",
    ),
    row(
        reason::ROUTE_SETTINGS_BYPASSED,
        WARNING,
        "A VirtualService rewrites, mirrors, delays or otherwise changes requests to a host of models. This does not apply to requests for a \
         model, because the routes of versions come first.",
        "Set them at the model servers, or by an EnvoyFilter on the virtual host, and remove them from the VirtualService.",
    ),
    row(
        reason::HOST_IGNORED,
        WARNING,
        "`spec.hosts` of a ServedModel has a host that no domain of its namespace contains, that another namespace owns, or that names a Service.",
        "Start the control plane with a `--domain` for it, or remove the host. The host of a Service can only be removed.",
    ),
];
