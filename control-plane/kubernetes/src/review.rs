//! The review of rights: asks the API server which rights are missing before they are needed, possibly hours before.
//!
//! Every account may review its own rights (`system:basic-user`). Invariant: nothing waits for a review, and a review that fails changes
//! nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::timeout;

use crate::access::{Missing, Needs, Right};
use crate::fault::{Fault, REQUEST_TIMEOUT};
use crate::health::WatchHealth;

/// Concurrent requests.
const AT_ONCE: usize = 4;
/// Time between two reviews while nothing is missing. A right that is revoked then is noticed when its use fails.
const INTERVAL_WHEN_COMPLETE: Duration = Duration::from_secs(300);
/// Time between two reviews while a right is missing, or the last review failed.
const INTERVAL_WHEN_INCOMPLETE: Duration = Duration::from_secs(10);

/// The verbs of these rights that the API server refuses now.
///
/// # Errors
/// The message of the API server, or of the timeout.
pub async fn review(client: &Client, rights: &[Right]) -> Result<BTreeSet<Missing>, String> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let questions = rights
        .iter()
        .flat_map(|right| right.each().map(move |missing| (right, missing)));
    let questions: Vec<_> = questions
        .map(|(right, missing)| (question(right, missing.verb), missing))
        .collect();
    let answers = stream::iter(questions).map(|(question, missing)| {
        let api = api.clone();
        async move {
            let params = PostParams::default();
            let answer = timeout(REQUEST_TIMEOUT, api.create(&params, &question)).await??;
            let allowed = answer.status.is_some_and(|status| status.allowed);
            Ok::<_, Fault>((!allowed).then_some(missing))
        }
    });
    answers
        .buffer_unordered(AT_ONCE)
        .try_filter_map(|missing| async move { Ok(missing) })
        .try_collect()
        .await
        .map_err(|fault: Fault| fault.message())
}

fn question(right: &Right, verb: &str) -> SelfSubjectAccessReview {
    let (resource, part) = match right.resource.split_once('/') {
        Some((resource, part)) => (resource, Some(part.to_owned())),
        None => (right.resource.as_str(), None),
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(right.group.clone()),
                namespace: right.namespace.clone(),
                resource: Some(resource.to_owned()),
                subresource: part,
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

/// The own ServiceAccount, if it is in this namespace. `None` if it is unknown or another user: the RBAC manifest grants rights to
/// ServiceAccounts of the namespace only.
async fn account(client: &Client, namespace: &str) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let (params, question) = (PostParams::default(), SelfSubjectReview::default());
    let answer = timeout(REQUEST_TIMEOUT, api.create(&params, &question)).await;
    let user = answer.ok()?.ok()?.status?.user_info?.username?;
    let account = user.strip_prefix("system:serviceaccount:")?;
    let (home, name) = account.split_once(':')?;
    (home == namespace).then(|| name.to_owned())
}

/// Reviews the rights periodically and reports the missing ones to `health`.
pub async fn keep_reviewing(client: Client, needs: Needs, health: WatchHealth) {
    let rights = needs.rights();
    loop {
        let wait = match review(&client, &rights).await {
            Ok(missing) => {
                // The account may change: a kubeconfig is read again.
                let account = if missing.is_empty() {
                    None
                } else {
                    account(&client, &needs.own_namespace).await
                };
                let roles = missing.iter().map(|missing| missing.role);
                let grants = roles.map(|role| (role, needs.command(role, account.as_deref())));
                let grants = grants.collect();
                let wait = if missing.is_empty() {
                    INTERVAL_WHEN_COMPLETE
                } else {
                    INTERVAL_WHEN_INCOMPLETE
                };
                health.set_missing_rights(missing, grants);
                wait
            }
            Err(error) => {
                tracing::debug!(error, "the review of rights failed");
                INTERVAL_WHEN_INCOMPLETE
            }
        };
        tokio::time::sleep(wait).await;
    }
}
