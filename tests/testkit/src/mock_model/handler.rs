//! The request handler: one request in, one response out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};

use super::MockOptions;
use super::behaviour::{AbortAfter, AbortWith, Behaviour};
use super::body::{Broken, ScriptedBody};
use super::canned::{MockAnswer, NamedStore, RecordedRequest};
use super::request::{Api, ModelRequest};
use super::response::Response as ModelResponse;
use super::script::Script;
use super::stats::{RequestGuard, Stats};

const SERVED_BY: HeaderName = HeaderName::from_static("x-mock-served-by");
const ANSWER: HeaderName = HeaderName::from_static("x-mock-answer");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The server with its identity and its state.
#[derive(Debug)]
pub(super) struct Server {
    options: MockOptions,
    served_by: HeaderValue,
    pub(super) stats: Arc<Stats>,
    pub(super) healthy: AtomicBool,
    pub(super) answers: NamedStore<MockAnswer>,
    pub(super) recorded: NamedStore<RecordedRequest>,
}

impl Server {
    pub(super) fn new(options: MockOptions) -> Self {
        let served_by = format!("{}/{}", options.name, options.version);
        Self {
            // A name that no header can contain is shown as unknown.
            served_by: HeaderValue::from_str(&served_by)
                .unwrap_or(HeaderValue::from_static("unknown")),
            options,
            stats: Arc::default(),
            healthy: AtomicBool::new(true),
            answers: NamedStore::default(),
            recorded: NamedStore::default(),
        }
    }

    /// Responds to a request. `reset` belongs to the connection; it is set when the connection must end with RST.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        reset: Arc<AtomicBool>,
    ) -> Result<Response<ScriptedBody>, Broken> {
        if request.headers().contains_key(UPGRADE) {
            return Ok(self.session(request, reset));
        }
        let api = match request.uri().path() {
            "/v1/chat/completions" => Api::Chat,
            "/v1/completions" => Api::Completion,
            // A canned response is served for any API.
            _ if request.headers().contains_key(ANSWER) => Api::Chat,
            path => return Ok(self.page(path, reset)),
        };
        let mut guard = RequestGuard::begin(&self.stats);
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let body = body.to_bytes();
        let behaviour = match Behaviour::parse(&head.headers) {
            Ok(behaviour) => behaviour,
            Err(why) => return Ok(self.refuse(StatusCode::BAD_REQUEST, &why, guard, reset)),
        };
        if let Some(name) = &behaviour.keep {
            self.recorded
                .put(name, RecordedRequest::new(&head, body.clone()));
        }
        if !behaviour.headers_delay.is_zero() {
            tokio::time::sleep(behaviour.headers_delay).await;
        }
        if behaviour.abort_after == Some(AbortAfter::Nothing) {
            reset.store(behaviour.abort_with == AbortWith::Reset, Ordering::Release);
            guard.abort();
            return Err(Broken);
        }
        let model_request = ModelRequest::parse(api, &body);
        if let (Some(status), Ok(model_request)) = (behaviour.refuse_stream_options, &model_request)
            && model_request.stream_options
        {
            let why = "Unrecognized request argument supplied: stream_options";
            return Ok(self.refuse(status, why, guard, reset));
        }
        if let Some(name) = &behaviour.answer {
            return Ok(self.canned_answer(name, &behaviour, guard, reset));
        }
        if let Some(status) = behaviour.status
            && (status.is_client_error() || status.is_server_error())
        {
            return Ok(self.refuse(status, "refused on demand", guard, reset));
        }
        let model_request = match model_request {
            Ok(model_request) => model_request,
            Err(error) => {
                let why = error.to_string();
                return Ok(self.refuse(StatusCode::BAD_REQUEST, &why, guard, reset));
            }
        };
        let echo = self.echo(&head, &trailers, body.len());
        Ok(self.model_answer(echo, model_request, &behaviour, guard, reset))
    }

    /// A WebSocket session, as far as a proxy sees it: what arrives is sent back.
    fn session(
        &self,
        request: Request<Incoming>,
        reset: Arc<AtomicBool>,
    ) -> Response<ScriptedBody> {
        tokio::spawn(async move {
            if let Ok(session) = hyper::upgrade::on(request).await {
                let (mut read, mut write) = tokio::io::split(TokioIo::new(session));
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        });
        let script = Script::of_body(Bytes::new(), 0, &Behaviour::default());
        let status = StatusCode::SWITCHING_PROTOCOLS;
        let mut response = self.respond(status, BYTES, script, None, reset);
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        response
    }

    fn canned_answer(
        &self,
        name: &str,
        behaviour: &Behaviour,
        guard: RequestGuard,
        reset: Arc<AtomicBool>,
    ) -> Response<ScriptedBody> {
        let Some(answer) = self.answers.get(name) else {
            let why = format!("no response is registered as {name:?}");
            return self.refuse(StatusCode::BAD_REQUEST, &why, guard, reset);
        };
        let tokens = behaviour.tokens.unwrap_or(self.options.tokens);
        let script = answer.script(tokens, behaviour);
        let status = behaviour.status.unwrap_or(answer.status);
        let kind = answer.content_type.clone();
        let mut response = self.respond(status, kind, script, Some(guard), reset);
        response.headers_mut().extend(answer.headers);
        compressed(response, behaviour)
    }

    fn model_answer(
        &self,
        echo: Value,
        model_request: ModelRequest,
        behaviour: &Behaviour,
        guard: RequestGuard,
        reset: Arc<AtomicBool>,
    ) -> Response<ScriptedBody> {
        let kind = if model_request.stream { EVENTS } else { JSON };
        let mut answer = ModelResponse::new(model_request, behaviour, self.options.tokens);
        answer.number = guard.number();
        answer.created = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        answer.echo = echo;
        let status = behaviour.status.unwrap_or_default();
        let script = Script::of_response(answer, behaviour);
        let response = self.respond(status, kind, script, Some(guard), reset);
        compressed(response, behaviour)
    }

    /// The pages that are not model requests.
    fn page(&self, path: &str, reset: Arc<AtomicBool>) -> Response<ScriptedBody> {
        let (status, body) = match path {
            "/v1/models" => (StatusCode::OK, self.models()),
            "/__stats" => (StatusCode::OK, json!(self.stats.snapshot())),
            "/health" | "/healthz" | "/ping" => self.health(),
            _ => {
                if let Some(recorded) = path
                    .strip_prefix("/__kept/")
                    .and_then(|name| self.recorded.get(name))
                {
                    let script = Script::of_body(recorded.body, 0, &Behaviour::default());
                    return self.respond(StatusCode::OK, BYTES, script, None, reset);
                }
                let why = format!("no such path: {path}");
                (
                    StatusCode::NOT_FOUND,
                    error_body(StatusCode::NOT_FOUND, &why),
                )
            }
        };
        self.respond(status, JSON, whole(&body), None, reset)
    }

    fn refuse(
        &self,
        status: StatusCode,
        why: &str,
        guard: RequestGuard,
        reset: Arc<AtomicBool>,
    ) -> Response<ScriptedBody> {
        let script = whole(&error_body(status, why));
        self.respond(status, JSON, script, Some(guard), reset)
    }

    fn respond(
        &self,
        status: StatusCode,
        kind: HeaderValue,
        script: Script,
        guard: Option<RequestGuard>,
        reset: Arc<AtomicBool>,
    ) -> Response<ScriptedBody> {
        let mut response = Response::new(ScriptedBody::new(script, guard, reset));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(SERVED_BY, self.served_by.clone());
        response
    }

    fn health(&self) -> (StatusCode, Value) {
        let (status, word) = match self.healthy.load(Ordering::Relaxed) {
            true => (StatusCode::OK, "ok"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        };
        let (model, version) = (&self.options.name, &self.options.version);
        (
            status,
            json!({"status": word, "model": model, "version": version}),
        )
    }

    fn models(&self) -> Value {
        json!({
            "object": "list",
            "data": [{"id": self.options.name, "object": "model", "created": 0, "owned_by": "mock"}],
        })
    }

    fn echo(&self, head: &Parts, trailers: &HeaderMap, body_bytes: usize) -> Value {
        json!({
            "model": self.options.name,
            "version": self.options.version,
            "method": head.method.as_str(),
            "path": head.uri.path_and_query().map_or("/", |path| path.as_str()),
            "headers": joined(&head.headers),
            "trailers": joined(trailers),
            "body_bytes": body_bytes,
        })
    }
}

fn compressed(
    mut response: Response<ScriptedBody>,
    behaviour: &Behaviour,
) -> Response<ScriptedBody> {
    if behaviour.gzip {
        let headers = response.headers_mut();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Headers by lower-case name; several values of one name are joined by `, `.
fn joined(map: &HeaderMap) -> Map<String, Value> {
    let mut headers = Map::new();
    for name in map.keys() {
        let values: Vec<_> = map
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        headers.insert(name.to_string(), values.join(", ").into());
    }
    headers
}

fn error_body(status: StatusCode, why: &str) -> Value {
    json!({"error": {
        "message": why,
        "type": "mock_error",
        "param": null,
        "code": status.as_u16().to_string(),
    }})
}

fn whole(body: &Value) -> Script {
    let body = Bytes::from(body.to_string());
    Script::of_body(body, 0, &Behaviour::default())
}
