//! The probes of a container: startup, liveness and readiness, as the manifest declares them.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use headgate_testkit::client::{HttpClient, HttpRequest};
use headgate_testkit::tls_client::get_unverified;
use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use super::error::Unable;
use super::exec::Exec;
use super::expansion::PodAddress;
use super::health::{Serving, serving};

/// How to ask once.
#[derive(Debug, Clone)]
pub(super) enum Check {
    Http {
        url: String,
        headers: Vec<(String, String)>,
    },
    Https {
        at: SocketAddr,
        path: String,
        headers: Vec<(String, String)>,
    },
    Tcp(SocketAddr),
    Grpc {
        at: SocketAddr,
        service: String,
    },
    Exec(Vec<String>),
}

/// A probe with its timing.
#[derive(Debug, Clone)]
pub(super) struct Timed {
    pub(super) check: Check,
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    success: u32,
    failure: u32,
}

/// The probes of a container.
#[derive(Debug, Clone, Default)]
pub(super) struct Probes {
    pub(super) startup: Option<Timed>,
    pub(super) liveness: Option<Timed>,
    pub(super) readiness: Option<Timed>,
}

impl Probes {
    /// The probes that a manifest declares.
    pub(super) fn of(container: &Container, address: PodAddress) -> Result<Self, Unable> {
        let timed = |probe: &Option<Probe>| {
            let probe = probe.as_ref();
            probe
                .map(|probe| timed(container, probe, address))
                .transpose()
        };
        Ok(Self {
            startup: timed(&container.startup_probe)?,
            liveness: timed(&container.liveness_probe)?,
            readiness: timed(&container.readiness_probe)?,
        })
    }
}

fn timed(container: &Container, probe: &Probe, address: PodAddress) -> Result<Timed, Unable> {
    let seconds = |value: Option<i32>, default| {
        Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default))
    };
    let count =
        |value: Option<i32>, default| value.and_then(|v| u32::try_from(v).ok()).unwrap_or(default);
    Ok(Timed {
        check: check(container, probe, address)?,
        initial_delay: seconds(probe.initial_delay_seconds, 0),
        period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
        timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
        success: count(probe.success_threshold, 1).max(1),
        failure: count(probe.failure_threshold, 3).max(1),
    })
}

fn check(container: &Container, probe: &Probe, address: PodAddress) -> Result<Check, Unable> {
    if let Some(get) = &probe.http_get {
        return http(container, get, address);
    }
    if let Some(tcp) = &probe.tcp_socket {
        let port = port(container, &tcp.port, address)?;
        return Ok(Check::Tcp((address.ip, port).into()));
    }
    if let Some(grpc) = &probe.grpc {
        let port = u16::try_from(grpc.port).map_err(Unable::machine)?;
        return Ok(Check::Grpc {
            at: (address.ip, address.port(port)).into(),
            service: grpc.service.clone().unwrap_or_default(),
        });
    }
    match &probe.exec {
        Some(ExecAction { command }) => Ok(Check::Exec(command.clone().unwrap_or_default())),
        None => Err(Unable::config("a probe has no supported action")),
    }
}

/// A GET of a container, for probes and hooks.
pub(super) fn http(
    container: &Container,
    get: &HTTPGetAction,
    address: PodAddress,
) -> Result<Check, Unable> {
    let port = port(container, &get.port, address)?;
    let ip = address.ip.to_string();
    let host = get.host.as_deref().unwrap_or(&ip);
    let path = get.path.as_deref().unwrap_or("/");
    let headers = get.http_headers.iter().flatten();
    let headers = headers.map(|header| (header.name.clone(), header.value.clone()));
    let headers = headers.collect();
    match get.scheme.as_deref() {
        None | Some("HTTP") => Ok(Check::Http {
            url: format!("http://{host}:{port}{path}"),
            headers,
        }),
        Some("HTTPS") if get.host.is_none() => Ok(Check::Https {
            at: (address.ip, port).into(),
            path: path.to_owned(),
            headers,
        }),
        Some(scheme) => Err(Unable::config(format!(
            "httpGet with the scheme {scheme}, or with HTTPS and a host, is not supported here"
        ))),
    }
}

/// The port on which the process listens for a port of the manifest, by number or by name.
fn port(container: &Container, port: &IntOrString, address: PodAddress) -> Result<u16, Unable> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_ref() == Some(name))
            .map(|port| port.container_port),
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    let number =
        number.ok_or_else(|| Unable::config(format!("no port {port:?} in the container")))?;
    Ok(address.port(number))
}

impl Check {
    /// Asks once. `exec` runs commands in the container.
    ///
    /// # Errors
    /// What failed.
    pub(super) async fn ask(&self, exec: &Exec) -> Result<(), String> {
        match self {
            Self::Http { url, headers } => {
                let mut request = HttpRequest::get(url);
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                let reply = HttpClient::new().send(request).await;
                let reply = reply.map_err(|error| error.to_string())?;
                judge(url, reply.status, &reply.text())
            }
            Self::Https { at, path, headers } => {
                let reply = get_unverified(*at, path, headers).await;
                let (status, text) = reply.map_err(|error| format!("{at}: {error}"))?;
                judge(path, status, &text)
            }
            Self::Tcp(at) => TcpStream::connect(at)
                .await
                .map(|_| ())
                .map_err(|error| format!("{at}: {error}")),
            Self::Grpc { at, service } => match serving(*at, service).await {
                Ok(Serving::Yes) => Ok(()),
                Ok(Serving::No(status)) => Err(format!("{at}: status {status}")),
                Err(error) => Err(format!("{at}: {error}")),
            },
            Self::Exec(command) => exec.run(command).await,
        }
    }
}

/// The outcome of an answer. As for the kubelet, redirects are successes too.
fn judge(url: &str, status: u16, text: &str) -> Result<(), String> {
    if (200..400).contains(&status) {
        return Ok(());
    }
    Err(format!("GET {url}: {status} {text}"))
}

impl Timed {
    /// Asks again and again, and reports each change of the outcome: success after `successThreshold` successes, the last reason after
    /// `failureThreshold` failures. Ends when `report` breaks.
    pub(super) async fn watch<B>(
        &self,
        exec: &Exec,
        mut report: impl FnMut(Result<(), String>) -> ControlFlow<B>,
    ) -> B {
        tokio::time::sleep(self.initial_delay).await;
        let (mut successes, mut failures) = (0, 0);
        loop {
            let asked = tokio::time::timeout(self.timeout, self.check.ask(exec)).await;
            let asked =
                asked.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.timeout)));
            match asked {
                Ok(()) => (successes, failures) = (successes + 1, 0),
                Err(_) => (successes, failures) = (0, failures + 1),
            }
            let changed = match asked {
                Ok(()) => successes == self.success,
                Err(_) => failures == self.failure,
            };
            if changed && let ControlFlow::Break(end) = report(asked) {
                return end;
            }
            tokio::time::sleep(self.period).await;
        }
    }
}
