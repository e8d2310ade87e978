//! The control plane: its proxies, its stored state, and its own problems.

use headgate_model::reason;

use super::{ANY, ERROR, EVENT, Explanation, NONE, WARNING, row};
use crate::reason as global;

/// The rows.
pub(super) const ROWS: &[Explanation] = &[
    // Proxies.
    row(
        reason::REFUSED,
        EVENT,
        "A proxy rejected the resources that follow from an object.",
        "The message is the error of Envoy; `headgate status` names the proxy. Correct the object.",
    ),
    row(
        reason::UNREACHABLE,
        WARNING,
        "Load reports show that proxies cannot connect to a version although its endpoints are ready.",
        "Check that the pods listen on the port, and add a readiness probe.",
    ),
    row(
        reason::REACHABLE,
        EVENT,
        "All proxies can connect to the version again.",
        NONE,
    ),
    // Stored state.
    row(
        reason::UNREADABLE,
        ERROR,
        "A field of an object cannot be read. The rest of the object is in effect.",
        "Correct the field that the message names.",
    ),
    row(
        reason::STATUS_NOT_STORED,
        WARNING,
        "ServedModels cannot be read or written, so the base of a model is not stored.",
        "Install the CustomResourceDefinition, or grant the permission in the message.",
    ),
    row(
        reason::MODEL_GIVEN_TWICE,
        WARNING,
        "Two ServedModels describe the same model. The older one applies.",
        "Delete one of them.",
    ),
    // Problems of the control plane.
    row(
        global::FILE,
        ANY,
        "A file of `--models` or `--policies` cannot be read, or a part of it has no effect. The last good content stays in effect.",
        "Correct the file; `headgate validate -f FILE` checks it.",
    ),
    row(
        global::MODULE,
        ERROR,
        "A wasm module cannot be read. The last good one is served.",
        "Replace the file: write to a temporary file and rename it.",
    ),
    row(
        global::KUBERNETES_API,
        ERROR,
        "The API server does not answer. The last known objects stay in effect.",
        "Check the API server and the network; nothing is lost, and updates resume by themselves.",
    ),
    row(
        global::KIND_UNREAD,
        ERROR,
        "One kind cannot be read, while others can.",
        "Grant the permission, or check the conversion webhook of the kind.",
    ),
    row(
        global::KUBERNETES_WRITE,
        WARNING,
        "Status, Events, the Lease or the proxy counts cannot be written. Proxies are served all the same.",
        "Grant the permission in the message, or wait until the API server answers.",
    ),
    row(
        global::STATE_WRITE,
        WARNING,
        "The directory of `--state` cannot be written, so the base of a model is lost at a restart.",
        "Make the directory writable.",
    ),
    row(
        global::XDS_CERTIFICATE,
        ERROR,
        "The certificate, key or trust bundles of the xDS port cannot be read, do not fit together, or are not there yet. The last good \
         ones stay in effect. If there were none, no proxy can connect.",
        "Correct the file that the message names, or check the SPIFFE agent and the registration of this workload. Nothing needs a restart.",
    ),
    row(
        global::ADMIN_CERTIFICATE,
        ERROR,
        "The certificate, key or trust bundles of the admin port cannot be read, do not fit together, or are not there yet. The last good \
         ones stay in effect. If there were none, probes and clients cannot connect.",
        "Correct the file that the message names, or check the SPIFFE agent and the registration of this workload. Nothing needs a restart.",
    ),
    row(
        global::LISTENER_CERTIFICATE,
        ERROR,
        "Certificate, key or trust bundles of `--listener-tls` cannot be read, or do not fit together. The last good ones stay in effect on all proxies.",
        "Correct the file that the message names. Nothing needs a restart.",
    ),
    row(
        global::SCOPE_FILE,
        ERROR,
        "The file of `--scopes` cannot be read, or a rule in it is invalid. The last good rules stay in effect.",
        "Correct the line that the message names.",
    ),
    row(
        global::MISSING_PERMISSION,
        ERROR,
        "The ServiceAccount lacks a permission that the control plane uses.",
        "Apply the output of `headgate schema rbac`; the message has the command.",
    ),
    row(
        global::NO_DEFINITION,
        WARNING,
        "The API server does not have a kind, or no longer has it.",
        "Apply the output of `headgate schema crds`, or install the kind.",
    ),
    row(
        global::NOT_TRANSLATED,
        ERROR,
        "The plan cannot be translated for a scope. Its last good snapshot is served.",
        "Correct the object in the message.",
    ),
    row(
        global::LEFT_OUT,
        ERROR,
        "A model, bucket or host is excluded because proxies would reject it. Everything else is served.",
        "Correct the object in the message.",
    ),
    row(
        global::NO_DOMAIN,
        WARNING,
        "A namespace has models and no domain, so no proxy serves it.",
        "Start the control plane with `--domain NAMESPACE=DOMAIN`.",
    ),
    row(
        global::REPLICAS_DIFFER,
        WARNING,
        "Two replicas plan different weights for a model: one of them has not read the newest objects, or their flags differ.",
        "If it persists, compare the flags of the replicas and their access to the API server.",
    ),
];
