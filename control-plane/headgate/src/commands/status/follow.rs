//! Threads that listen to control planes and to signals, and tell one channel what they hear.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::ask::{Answer, addresses, ask};
use crate::cli::Place;
use headgate_report::{Asked, Report};

/// How long one question waits for a change. A control plane that hangs is noticed this much later.
const WAIT: Duration = Duration::from_secs(10);
/// Between two questions to a control plane that is away, or that cannot wait.
const RETRY: Duration = Duration::from_millis(500);
/// How often a name is looked up again: replicas come and go.
const LOOK_UP: Duration = Duration::from_secs(5);

/// What happened.
pub(super) enum Heard {
    /// A control plane's document changed, or it does not answer, and why.
    Told(SocketAddr, Box<Result<Report, String>>),
    /// Where control planes are now.
    Places(BTreeSet<SocketAddr>),
    /// Someone wants it to end.
    Enough,
}

/// A control plane that is listened to until this is dropped.
pub(super) struct Follower(Arc<AtomicBool>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Follower {
    /// Listens to the control plane at an address.
    pub(super) fn start(address: SocketAddr, asked: Asked, tell: Sender<Heard>) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let this = Self(enough.clone());
        std::thread::spawn(move || listen(address, &asked, &tell, &enough));
        this
    }
}

fn listen(address: SocketAddr, asked: &Asked, tell: &Sender<Heard>, enough: &AtomicBool) {
    let mut tag: Option<String> = None;
    loop {
        let answer = ask(address, asked, tag.as_deref(), WAIT);
        if enough.load(Ordering::Relaxed) {
            return;
        }
        let heard = match answer {
            Ok(Answer::Same) => continue,
            Ok(Answer::Changed(report, new)) => {
                tag = new;
                Ok(*report)
            }
            Err(error) => {
                tag = None;
                Err(error)
            }
        };
        if tell.send(Heard::Told(address, Box::new(heard))).is_err() {
            return;
        }
        if tag.is_none() {
            std::thread::sleep(RETRY);
        }
    }
}

/// Looks up the names again and again; addresses as they were given need no looking up.
pub(super) fn look_up(places: Vec<Place>, tell: Sender<Heard>) {
    if places
        .iter()
        .all(|place| place.host.parse::<IpAddr>().is_ok())
    {
        return;
    }
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(LOOK_UP);
            // A name service that is away takes nothing away.
            if let Ok(found) = addresses(&places)
                && tell.send(Heard::Places(found)).is_err()
            {
                return;
            }
        }
    });
}

/// Tells of SIGINT and SIGTERM.
///
/// # Errors
/// If they cannot be caught.
pub(super) fn signals(tell: Sender<Heard>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        // Nobody listens: it ends anyway.
        let _ = tell.send(Heard::Enough);
    });
    Ok(())
}
