//! Access to the pages of the admin port.
//!
//! Pages for probes, Prometheus and `headgate status` are open to all. The others, a change and the whole configuration, are for clients of
//! this machine, for those with an identity of `--admin-identity`, and with `--admin-tokens` for those whose bearer token the Kubernetes API
//! accepts for the path.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use headgate_contract::pattern::matches_any;
use headgate_kubernetes::log_limit::LogLimit;
use headgate_kubernetes::tokens::{AUDIENCE, TokenReviewer, Verdict};

use super::listener::Client;

/// One line about a refusal in this time.
const LOG_PERIOD: Duration = Duration::from_secs(6);
/// The addresses from which a sidecar of Istio passes on requests of other machines.
const SIDECAR: [&str; 2] = ["127.0.0.6", "::6"];
/// Headers of a proxy that passes on requests of others.
const FORWARDED: [&str; 3] = ["x-forwarded-for", "x-forwarded-client-cert", "forwarded"];

/// The guard of the pages that are not open.
#[derive(Clone)]
pub(super) struct Guard(Arc<Inner>);

struct Inner {
    tokens: Option<Arc<TokenReviewer>>,
    /// Patterns of SPIFFE ids.
    identities: Vec<String>,
    log: LogLimit,
}

impl Guard {
    /// Also admits clients with these identities, and clients with tokens, if there is a reviewer.
    pub(super) fn new(tokens: Option<Arc<TokenReviewer>>, identities: Vec<String>) -> Self {
        Self(Arc::new(Inner {
            tokens,
            identities,
            log: LogLimit::new(LOG_PERIOD),
        }))
    }
}

/// Lets a request pass, or answers it.
pub(super) async fn guard(
    State(Guard(guard)): State<Guard>,
    ConnectInfo(Client(client)): ConnectInfo<Client>,
    request: Request,
    next: Next,
) -> Response {
    let address = client.address;
    if address.is_some_and(|at| is_local(at.ip(), request.headers())) {
        return next.run(request).await;
    }
    let identity = client.identity.map(|identity| identity.to_string());
    // A body cannot be shared with another thread, so the request is not held while the API server answers.
    let (method, path) = (
        request.method().to_string(),
        request.uri().path().to_owned(),
    );
    let token = bearer(request.headers()).map(str::to_owned);
    let peer = address.map_or_else(String::new, |at| at.to_string());
    let checked = match identity {
        Some(id) if matches_any(&guard.identities, &id) => Ok(id),
        identity => {
            let checked = guard.check(&method, &path, token.as_deref()).await;
            checked.map_err(|refused| refused.of(identity))
        }
    };
    match checked {
        Ok(user) => {
            tracing::info!(peer, user, method, path, "admin request allowed");
            next.run(request).await
        }
        Err(refused) => {
            if let Some(suppressed) = guard.log.pass() {
                let detail = refused.why.as_str();
                tracing::warn!(peer, detail, suppressed, "admin request refused");
            }
            refused.into_response()
        }
    }
}

impl Inner {
    /// The user who sends the request.
    async fn check(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
    ) -> Result<String, Refused> {
        let verb = method.to_ascii_lowercase();
        let Some(tokens) = &self.tokens else {
            let why = format!(
                "{path} is for clients on loopback: use `kubectl port-forward` or `kubectl exec`, or start with --admin-tokens or --admin-identity"
            );
            return Err(Refused::new(StatusCode::FORBIDDEN, why));
        };
        let unauthenticated = |what: &str| {
            let why = format!(
                "{path} needs {what}: send `Authorization: Bearer TOKEN`, with a token of `kubectl create token SERVICEACCOUNT --audience {AUDIENCE}`, or use `kubectl port-forward`"
            );
            Refused::new(StatusCode::UNAUTHORIZED, why)
        };
        let token = token.ok_or_else(|| unauthenticated("a token"))?;
        let verdict = tokens.review(token, &verb, path).await.map_err(|error| {
            let why = format!(
                "the Kubernetes API cannot check the token: {error}; apply the output of `headgate schema rbac --admin-tokens`, or use a client on loopback"
            );
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, why)
        })?;
        match verdict {
            Verdict::Allowed(user) => Ok(user),
            Verdict::Unauthenticated => Err(unauthenticated("a valid token")),
            Verdict::Forbidden(user) => {
                let why = format!(
                    "{user} may not {verb} {path}: grant a ClusterRole with `nonResourceURLs: [{path:?}]` and `verbs: [{verb:?}]`"
                );
                Err(Refused::new(StatusCode::FORBIDDEN, why))
            }
        }
    }
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Whether a request is of this machine, and not one that a proxy on this machine passes on.
fn is_local(client: IpAddr, headers: &HeaderMap) -> bool {
    let client = client.to_canonical();
    let is_sidecar = SIDECAR.iter().any(|ip| client.to_string() == *ip);
    let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
    client.is_loopback() && !is_sidecar && !is_forwarded
}

struct Refused {
    code: StatusCode,
    why: String,
}

impl Refused {
    fn new(code: StatusCode, why: String) -> Self {
        Self { code, why }
    }

    /// The refusal of a client with an identity that no pattern matches.
    fn of(self, identity: Option<String>) -> Self {
        match identity {
            None => self,
            Some(id) => Self {
                why: format!(
                    "{id} matches no pattern of --admin-identity, and {}",
                    self.why
                ),
                ..self
            },
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = format!("{}\n", self.why);
        if self.code == StatusCode::UNAUTHORIZED {
            return (self.code, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response();
        }
        (self.code, body).into_response()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            header::HeaderName::from_static(name),
            value.parse().unwrap(),
        )])
    }

    #[test]
    fn a_request_that_somebody_passes_on_is_not_local() {
        let none = HeaderMap::new();
        let local = |ip: &str, headers: &HeaderMap| is_local(ip.parse().unwrap(), headers);
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(local(ip, &none), "{ip}");
            assert!(!local(ip, &headers("x-forwarded-for", "10.0.0.1")), "{ip}");
        }
        for ip in [
            "127.0.0.6",
            "::ffff:127.0.0.6",
            "::6",
            "10.0.0.1",
            "fe80::1",
        ] {
            assert!(!local(ip, &none), "{ip}");
        }
    }

    #[test]
    fn the_token_is_the_word_after_bearer() {
        let of = |value: &str| bearer(&headers("authorization", value)).map(str::to_owned);
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("bearer  abc ").as_deref(), Some("abc"));
        for wrong in ["Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
