//! Threads that poll control planes, resolve names and catch signals. All of them send to one channel.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::fetch::{Answer, fetch, resolve};
use super::{Credentials, HostPort};
use crate::{Query, Report};

/// Duration of a long poll. A control plane that hangs is noticed after this time.
const LONG_POLL: Duration = Duration::from_secs(10);
/// Pause after a request that failed or that cannot be a long poll.
const RETRY: Duration = Duration::from_millis(500);
/// Interval between two resolutions of the names, because replicas come and go.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);

/// An event of a thread.
pub(super) enum ClientEvent {
    /// The document of a control plane changed, or the request failed.
    Answered(SocketAddr, Box<Result<Report, String>>),
    /// The names were resolved.
    Resolved(BTreeSet<SocketAddr>),
    /// SIGWINCH.
    Resized,
    /// SIGINT, SIGTERM or SIGHUP.
    Interrupted,
}

/// Polls a control plane until it is dropped.
pub(super) struct Poller(Arc<AtomicBool>);

impl Drop for Poller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Poller {
    /// Starts to poll the control plane at an address.
    pub(super) fn start(
        address: SocketAddr,
        query: Query,
        credentials: Credentials,
        sender: Sender<ClientEvent>,
    ) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let poller = Self(stopped.clone());
        std::thread::spawn(move || poll(address, &query, &credentials, &sender, &stopped));
        poller
    }
}

fn poll(
    address: SocketAddr,
    query: &Query,
    credentials: &Credentials,
    sender: &Sender<ClientEvent>,
    stopped: &AtomicBool,
) {
    let mut tag: Option<String> = None;
    loop {
        let answer = fetch(address, query, credentials, tag.as_deref(), LONG_POLL);
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        let answer = match answer {
            Ok(Answer::Unchanged) => continue,
            Ok(Answer::Changed(report, new)) => {
                tag = new;
                Ok(*report)
            }
            Err(error) => {
                tag = None;
                Err(error)
            }
        };
        let event = ClientEvent::Answered(address, Box::new(answer));
        if sender.send(event).is_err() {
            return;
        }
        if tag.is_none() {
            std::thread::sleep(RETRY);
        }
    }
}

/// Resolves the names periodically. IP addresses need no resolution.
pub(super) fn resolve_periodically(hosts: Vec<HostPort>, sender: Sender<ClientEvent>) {
    if hosts.iter().all(|host| host.host.parse::<IpAddr>().is_ok()) {
        return;
    }
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(RESOLVE_INTERVAL);
            // A failed resolution keeps the known addresses.
            if let Ok(found) = resolve(&hosts)
                && sender.send(ClientEvent::Resolved(found)).is_err()
            {
                return;
            }
        }
    });
}

/// Forwards signals as events.
///
/// # Errors
/// A signal handler cannot be installed.
pub(super) fn forward_signals(sender: Sender<ClientEvent>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut resize = signal(SignalKind::window_change())?;
    drop(inside);
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let event = tokio::select! {
                    _ = interrupt.recv() => ClientEvent::Interrupted,
                    _ = terminate.recv() => ClientEvent::Interrupted,
                    _ = hangup.recv() => ClientEvent::Interrupted,
                    _ = resize.recv() => ClientEvent::Resized,
                };
                // Without a receiver the process ends anyway.
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
    });
    Ok(())
}
