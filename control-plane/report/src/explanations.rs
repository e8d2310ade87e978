//! Cause and fix of each reason: of problems, of Events and of conditions.

use headgate_model::reason;

use crate::reason as global;

/// Explanation of a reason.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// The reason, as in `headgate status`, Events, conditions and metrics.
    pub reason: &'static str,
    /// The severities that the problem can have; empty for a reason of Events and conditions alone.
    pub severities: &'static [&'static str],
    /// The situation.
    pub cause: &'static str,
    /// The fix.
    pub fix: &'static str,
}

const fn row(
    reason: &'static str,
    severities: &'static [&'static str],
    cause: &'static str,
    fix: &'static str,
) -> Explanation {
    Explanation {
        reason,
        severities,
        cause,
        fix,
    }
}

const ERROR: &[&str] = &["error"];
const WARNING: &[&str] = &["warning"];
const INFO: &[&str] = &["info"];
const WARNING_OR_ERROR: &[&str] = &["warning", "error"];
const ANY: &[&str] = &["info", "warning", "error"];
const EVENT: &[&str] = &[];

const NONE: &str = "None; this is for information.";

/// The explanations, by subject.
pub const EXPLANATIONS: &[Explanation] = &[
    // Service meshes.
    row(
        reason::NO_MESH_ROUTE,
        WARNING,
        "No Service selects all pods of a version and those alone by a subset, or the Service is headless or not for HTTP, so proxies of the mesh \
         cannot be routed to it. A canary takes no sessions there, and requests of a base go on without a version.",
        "Change the Service or the labels of the pods as the message says.",
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
        "Start the control plane with the `--domain` in the message.",
    ),
    row(
        reason::MESH_NAME_TAKEN,
        ERROR,
        "A DestinationRule or EnvoyFilter of another person, or of another installation, has a name that Headgate needs.",
        "Delete or rename it with the command in the message.",
    ),
    row(
        reason::SPLIT_ELSEWHERE,
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
        "Make these settings elsewhere, and remove them from the VirtualService.",
    ),
    row(
        reason::HOST_REFUSED,
        WARNING,
        "`spec.hosts` of a ServedModel has a host that no domain of its namespace contains, that another namespace owns, or that names a Service.",
        "Start the control plane with a `--domain` for it, or remove the host. The host of a Service can only be removed.",
    ),
    // Labels and versions.
    row(
        reason::VERSION_HELD,
        INFO,
        "A new version without a weight label appeared next to the base. It takes no new sessions, so that an unlabelled rollout cannot take traffic.",
        "Set the weight label: `canary-weight=10` to start a canary, `canary-weight=100` to promote it.",
    ),
    row(
        reason::INVALID_WEIGHT,
        WARNING,
        "The value of the weight label is not a whole number from 0 to 100.",
        "Correct the label with the `kubectl label` command in the message.",
    ),
    row(
        reason::INVALID_MODEL,
        ERROR,
        "The value of the model label is not a model id.",
        "Correct the label with the command in the message.",
    ),
    row(
        reason::INVALID_VERSION,
        ERROR,
        "The value of the version label is not a version.",
        "Correct the label with the command in the message.",
    ),
    row(
        reason::NO_VERSION,
        WARNING,
        "An object names a model, but neither it nor one of its pods names a version.",
        "Add the version label to the object.",
    ),
    row(
        reason::NO_MODEL,
        WARNING,
        "An object has a version or weight label and no model label.",
        "Add the model label, or remove the other labels.",
    ),
    row(
        reason::VERSION_MERGED,
        WARNING,
        "Two objects have the same model and version. Headgate merges their endpoints. The weight of an object of the stored base applies; without one, that of an object of the previous base; otherwise that of the older object.",
        "Give each object its own version, or remove the labels of one of them.",
    ),
    row(
        reason::EQUAL_AGE,
        INFO,
        "Several versions without a weight label are equally old, so none of them is the base alone. They share the base.",
        "Set a weight label on the versions that must not be the base.",
    ),
    row(
        reason::LABEL_IGNORED,
        WARNING,
        "A label or annotation has no effect, because another object is the carrier of these pods.",
        "Set it on the object that the message names.",
    ),
    row(
        reason::LABELS_ON_TEMPLATE,
        INFO,
        "The labels are on the pod template only. Changing them there restarts the pods.",
        "Set the labels on the object itself.",
    ),
    row(
        reason::OWNER_NOT_WATCHED,
        WARNING,
        "A labelled pod belongs to an object of a kind that is not watched, so each pod is a carrier of its own.",
        "Watch the kind with `--owner-kind`, or label an object of a watched kind.",
    ),
    row(
        reason::INVALID_JOIN,
        WARNING,
        "The value of `headgate.dev/join` is unknown.",
        "The only valid value is `share`.",
    ),
    row(
        reason::INVALID_CARRIER,
        WARNING,
        "The value of `headgate.dev/carrier` is unknown.",
        "Use `owner` (or `prefer owner`, which means the same), or remove the annotation.",
    ),
    row(
        reason::UNKNOWN_ANNOTATION,
        WARNING,
        "An annotation with the prefix `headgate.dev/` is unknown, often because of a typing error.",
        "Correct the name as the message suggests, or remove the annotation.",
    ),
    // Weights.
    row(
        reason::CANARIES_SCALED,
        WARNING,
        "The weights of the canaries add up to more than 100. They are scaled down, and the base takes nothing.",
        "Lower the weights to at most 100 in total.",
    ),
    row(
        reason::DARK_SERVES,
        WARNING,
        "Only versions with weight 0 are available, so one of them acts as the base.",
        "Promote it with weight 100, or bring another version back.",
    ),
    row(
        reason::PROMOTION_SHARED,
        INFO,
        "A version with weight 100 does not have enough ready replicas. It takes what they can carry; the former base takes the rest.",
        "Wait for its replicas, or check why they do not become ready.",
    ),
    row(
        reason::FLAPPING,
        WARNING,
        "A version became ready more than three times within a minute. It takes no new sessions until it has been ready for 60 s.",
        "Check its pods: readiness probe, restarts, memory.",
    ),
    row(
        reason::NOT_STARTED,
        WARNING,
        "No pod of a version with a weight became ready in time. Its share stays with the other versions.",
        "Check its pods with the `kubectl describe` command in the message.",
    ),
    row(
        reason::STANDS_IN,
        WARNING,
        "The base has no ready endpoint. A held or standby version acts as the base.",
        "Check the pods of the base; the version stops acting as the base as soon as one is ready.",
    ),
    row(
        reason::BASE_LOST,
        WARNING,
        "The base has no ready endpoint and no other version may act as the base.",
        "Check the pods of the base, or let another version act as the base with `spec.onBaseLost` of the ServedModel.",
    ),
    row(
        reason::STAYS_BASE,
        EVENT,
        "The weight label of a promoted version was removed. The version stays the base.",
        NONE,
    ),
    row(
        reason::INVALID_BASE,
        WARNING,
        "The annotation `headgate.dev/base` of a ServedModel names no existing carrier.",
        "Correct or remove the annotation.",
    ),
    row(
        reason::NOTHING_READY,
        WARNING,
        "No endpoint of the model is ready. Requests get 503.",
        "Check the pods of the model; without pods, check the selector or the annotation `headgate.dev/endpoints`.",
    ),
    row(
        reason::ENDPOINTS_SHARED,
        INFO,
        "Two versions have the same endpoints, so the pods of one answer for the other.",
        "Correct the selectors with the command in the message.",
    ),
    // Progress of a rollout.
    row(
        reason::CANARY_STARTED,
        EVENT,
        "A canary takes new sessions.",
        NONE,
    ),
    row(
        reason::CANARY_MOVED,
        EVENT,
        "A canary takes another share of new sessions.",
        NONE,
    ),
    row(
        reason::PROMOTED,
        EVENT,
        "A version became the base, or a part of it.",
        NONE,
    ),
    row(
        reason::RESUMED,
        EVENT,
        "A standby version is the base again.",
        NONE,
    ),
    row(
        reason::DRAINED,
        EVENT,
        "A version no longer takes new sessions.",
        NONE,
    ),
    row(
        reason::RECOVERED,
        EVENT,
        "A version without ready endpoints is ready again and takes new sessions.",
        NONE,
    ),
    row(
        reason::UNREADY,
        EVENT,
        "A version no longer has a ready endpoint.",
        "Check its pods.",
    ),
    // Client names and defaults.
    row(
        reason::INVALID_NAME,
        ERROR,
        "A client name in `headgate.dev/model-names` cannot be used.",
        "Correct the annotation.",
    ),
    row(
        reason::NAME_CLAIMED,
        WARNING,
        "A client name is already the id or the name of another model.",
        "Remove it from one of the models.",
    ),
    row(
        reason::NAME_ORPHANED,
        WARNING,
        "All carriers of a client name were deleted. The name still leads to the model.",
        "Set the annotation on another carrier, or remove the name from the ServedModel.",
    ),
    row(
        reason::INVALID_MAX_TOKENS,
        WARNING,
        "An annotation is not a number of tokens.",
        "Correct it with the command in the message.",
    ),
    row(
        reason::NO_CONTEXT_LENGTH,
        WARNING,
        "The default of `max_tokens` is the context window of the model, and no carrier has the annotation `headgate.dev/context-length`.",
        "Set the annotation `headgate.dev/context-length`.",
    ),
    row(
        reason::MAX_TOKENS_DIFFER,
        WARNING,
        "Carriers of one model have different defaults of `max_tokens`. The annotation of the oldest carrier applies.",
        "Set the same value on all carriers.",
    ),
    // Endpoints, ports and protocols.
    row(
        reason::INVALID_ENDPOINT,
        ERROR,
        "An entry of `headgate.dev/endpoints` is not HOST:PORT.",
        "Correct the annotation.",
    ),
    row(
        reason::ENDPOINT_REFUSED,
        ERROR,
        "An endpoint is not allowed: DNS names and local addresses are rejected by default.",
        "Allow it with `--allow-endpoint`, or use another address.",
    ),
    row(
        reason::ENDPOINTS_IGNORED,
        WARNING,
        "`headgate.dev/endpoints` is set on an object whose pods are the endpoints.",
        "Remove the annotation, or set it on a Service without a selector.",
    ),
    row(
        reason::NO_SELECTOR,
        WARNING,
        "A labelled Service has neither a selector nor the annotation `headgate.dev/endpoints`.",
        "Set one of them.",
    ),
    row(
        reason::INVALID_PORT,
        WARNING,
        "The annotation `headgate.dev/port` is not a port of the pods.",
        "Correct the annotation.",
    ),
    row(
        reason::NO_PORT,
        WARNING,
        "Some pods have no port that can be inferred, so they are not endpoints.",
        "Name a port `http` or `grpc`, or set `headgate.dev/port`.",
    ),
    row(
        reason::AMBIGUOUS_PORT,
        WARNING,
        "Some pods have several ports that may serve.",
        "Set `headgate.dev/port`.",
    ),
    row(
        reason::TLS_PORT,
        WARNING,
        "A port seems to use TLS, and no annotation says how to connect.",
        "Set `headgate.dev/tls` to `true` or `false`.",
    ),
    row(
        reason::INVALID_UPSTREAM,
        WARNING,
        "An annotation about connections to endpoints is invalid or has no effect.",
        "Correct or remove it as the message says.",
    ),
    row(
        reason::INVALID_SERVICE,
        WARNING,
        "The annotation `headgate.dev/service` names no Service of the pods.",
        "Correct the annotation.",
    ),
    row(
        reason::INVALID_PROTOCOL,
        WARNING,
        "The annotation `headgate.dev/protocol` is unknown.",
        "Use `http1`, `http2`, `grpc` or `client`.",
    ),
    row(
        reason::PROTOCOLS_DIFFER,
        INFO,
        "Endpoints of one version, or versions of one model, use different protocols.",
        "Set `headgate.dev/protocol` to the same value on all carriers.",
    ),
    row(
        reason::ROLES_UNCLEAR,
        WARNING,
        "An object owns different kinds of pods, and no rule says which of them serve.",
        "Label the Service of the serving pods, or mark them as the message says.",
    ),
    row(
        reason::POOLS_UNREAD,
        WARNING,
        "InferencePools cannot be read, so the chosen port may differ from that of a pool.",
        "Grant the permission in the message.",
    ),
    // Policies.
    row(
        reason::MATCHES_NOTHING,
        WARNING,
        "A policy, or one of the models that it names, matches no model.",
        "Correct the name, or declare the model. The condition `ResolvedRefs` names the field.",
    ),
    row(
        reason::TARGET_UNREAD,
        WARNING,
        "A policy targets an object of a kind that cannot be read.",
        "Grant the permission, or target another object.",
    ),
    row(
        reason::OVERRIDE_IGNORED,
        WARNING,
        "`override` is set in a policy outside the root namespace.",
        "Move the policy to the root namespace, or remove `override`.",
    ),
    row(
        reason::DUPLICATE_BUCKET,
        WARNING_OR_ERROR,
        "Two buckets with one name apply to the same model. One of them takes precedence.",
        "Rename one of the buckets, or remove it.",
    ),
    row(
        reason::LONG_WINDOW,
        INFO,
        "A bucket takes more than an hour to fill. A restarted proxy starts with a full bucket, so restarts matter.",
        "Use a smaller capacity or a faster refill if this matters.",
    ),
    row(
        reason::TAGGING_SHADOWED,
        WARNING,
        "Another tagging policy takes precedence for the same model.",
        "Remove one of the policies, or merge them.",
    ),
    row(
        reason::DUPLICATE_ISSUER,
        WARNING_OR_ERROR,
        "Two AuthenticationPolicies give one namespace the same issuer. One of them takes precedence.",
        "Merge both into one provider, or remove one.",
    ),
    row(
        reason::ANY_AUDIENCE,
        INFO,
        "An issuer in an AuthenticationPolicy has no `audiences`, so tokens that it made for other applications are accepted.",
        "Write the `aud` of the tokens that are meant for the models.",
    ),
    row(
        reason::NOT_IN_MESH,
        WARNING,
        "Proxies of a service mesh do not apply an AuthenticationPolicy.",
        "For the mesh, write a RequestAuthentication and an AuthorizationPolicy of Istio. Keep the policy for listeners of Headgate, or remove it.",
    ),
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
        "Certificate, key or trust bundles of the xDS port cannot be read, do not fit together, or have not come yet. The last good ones stay in effect; without any, no proxy can connect.",
        "Correct the file that the message names, or check the SPIFFE agent and the registration of this workload. Nothing needs a restart.",
    ),
    row(
        global::ADMIN_CERTIFICATE,
        ERROR,
        "Certificate, key or trust bundles of the admin port cannot be read, do not fit together, or have not come yet. The last good ones stay in effect; without any, probes and clients cannot connect.",
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

/// Explanation of a reason of a status condition.
#[derive(Debug, Clone, Copy)]
pub struct ConditionExplanation {
    /// The types of the condition, separated by commas.
    pub condition: &'static str,
    /// The reason.
    pub reason: &'static str,
    /// The situation.
    pub cause: &'static str,
    /// The fix.
    pub fix: &'static str,
}

const fn condition(
    condition: &'static str,
    reason: &'static str,
    cause: &'static str,
    fix: &'static str,
) -> ConditionExplanation {
    ConditionExplanation {
        condition,
        reason,
        cause,
        fix,
    }
}

/// The reasons of the conditions of policies and ServedModels.
pub const CONDITIONS: &[ConditionExplanation] = &[
    condition(
        "Accepted",
        "Accepted",
        "The spec is valid and takes effect.",
        NONE,
    ),
    condition(
        "Accepted, ResolvedRefs",
        "Invalid",
        "The spec is invalid. Its last valid content stays in effect.",
        "Correct the field that the message names.",
    ),
    condition(
        "Accepted",
        "InvalidBase",
        "The annotation `headgate.dev/base` of a ServedModel names no existing carrier.",
        "Correct or remove the annotation.",
    ),
    condition(
        "Accepted",
        "PartlyOverridden",
        "Another policy takes precedence for some models.",
        "None if this is intended; the message names the policy and the models.",
    ),
    condition(
        "Accepted",
        "Overridden",
        "Another policy takes precedence for every model, so the policy has no effect.",
        "Remove the policy, or the one that the message names.",
    ),
    condition(
        "Accepted",
        "OverrideIgnored",
        "`override` counts in the root namespace only.",
        "Remove `override`, or move the policy to the root namespace.",
    ),
    condition(
        "Accepted, Programmed",
        "NotInMesh",
        "Only proxies of a service mesh serve the models, and they do not apply the policy.",
        "Write a RequestAuthentication and an AuthorizationPolicy of Istio instead.",
    ),
    condition("ResolvedRefs", "ResolvedRefs", "Every target exists.", NONE),
    condition(
        "ResolvedRefs",
        "TargetNotFound",
        "Some targets do not exist. The policy applies to the others.",
        "Correct the name, or create the object that the message names.",
    ),
    condition(
        "ResolvedRefs",
        "TargetUnread",
        "A target is of a kind that the control plane cannot read.",
        "Install the kind, or grant the permission that the message names.",
    ),
    condition(
        "ResolvedRefs, Programmed",
        "MatchesNothing",
        "The policy applies to no model.",
        "Correct the target, or label the models.",
    ),
    condition(
        "Programmed",
        "Programmed",
        "Every proxy that serves the models has the content.",
        NONE,
    ),
    condition(
        "Programmed, Converged",
        "Reconciling",
        "Some proxies do not have the content yet.",
        "Wait; if it lasts, `headgate status` names the proxies.",
    ),
    condition(
        "Programmed, Converged",
        "NoProxies",
        "No proxy that serves the models is connected.",
        "Start a proxy, or check its connection to the control plane.",
    ),
    condition(
        "Programmed",
        "NoDomain",
        "No namespace of the policy has a domain, so no proxy gets it.",
        "Start the control plane with `--domain NAMESPACE=DOMAIN`.",
    ),
    condition(
        "Programmed",
        "RefusedByProxy",
        "A proxy refuses what is made from the object.",
        "Correct the object as the message says.",
    ),
    condition(
        "Ready",
        "Serving",
        "At least one version that takes new sessions has a ready endpoint.",
        NONE,
    ),
    condition(
        "Ready",
        "NothingReady",
        "No version that takes new sessions has a ready endpoint.",
        "Check the pods of the model.",
    ),
    condition(
        "Ready, Programmed, Converged",
        "NoCarriers",
        "No object has the label of the model.",
        "Label a Deployment or a Service with `model-name` and `model-version`.",
    ),
    condition(
        "Converged",
        "WaitsForRoutes",
        "A version has no subset or no route in the mesh yet, so its proxies do not get it.",
        "Wait for some seconds; if it lasts, `headgate status` shows a problem of the version or of the Kubernetes API.",
    ),
    condition(
        "Converged",
        "Converged",
        "Every proxy has acknowledged the planned weights.",
        NONE,
    ),
];
