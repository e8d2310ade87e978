//! Labels: versions, weights, the progress of a rollout, names that clients write.

use headgate_model::reason;

use super::{ERROR, EVENT, Explanation, INFO, NONE, WARNING, row};

/// The rows.
pub(super) const ROWS: &[Explanation] = &[
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
        reason::INVALID_SERVED_NAME,
        WARNING,
        "The annotation `headgate.dev/served-name` is empty or too long.",
        "Correct it with the command in the message.",
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
];
