//! Policies.

use headgate_model::reason;

use super::{Explanation, INFO, WARNING, WARNING_OR_ERROR, row};

/// The rows.
pub(super) const ROWS: &[Explanation] = &[
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
];
