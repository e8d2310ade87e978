//! Starting a child so that it dies with the test process.
//!
//! Invariant: `PR_SET_PDEATHSIG` fires when the *thread* that forked ends, so every child is forked by one
//! thread that lives as long as this process; a fixture shared by several tests survives the test that made it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::ProcessError;

type Order = (Command, SyncSender<io::Result<Child>>);

/// Resolves a program as a shell would: a path with a slash is taken as it is, a name is looked up on `PATH`.
///
/// # Errors
/// [`ProcessError::NotFound`].
pub fn find_program(program: &Path) -> Result<PathBuf, ProcessError> {
    let candidates: Vec<PathBuf> = if program.components().count() > 1 {
        vec![program.to_owned()]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|dir| dir.join(program))
            .collect()
    };
    candidates
        .into_iter()
        .find(|candidate| is_executable(candidate))
        .ok_or_else(|| ProcessError::NotFound {
            program: program.display().to_string(),
        })
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The command for `program`, killed by the kernel when we die. util-linux' `setpriv` sets the signal and then
/// becomes the program (same PID): setting it ourselves between fork and exec would take unsafe code. Without
/// `setpriv` the child is still killed on drop.
pub(super) fn dying_with_us(program: &Path) -> Command {
    static SETPRIV: OnceLock<Option<PathBuf>> = OnceLock::new();
    let setpriv = SETPRIV.get_or_init(|| {
        let setpriv = find_program(Path::new("setpriv")).ok()?;
        let works = Command::new(&setpriv)
            .args(["--pdeathsig", "KILL", "true"])
            .output()
            .is_ok_and(|output| output.status.success());
        works.then_some(setpriv)
    });
    match setpriv {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Forks on the thread that never ends.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    static FORKER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let orders = FORKER.get_or_init(|| {
        let (orders, inbox) = channel();
        // A thread that cannot be started closes the channel, which the send below reports.
        let _ = std::thread::Builder::new()
            .name("forker".into())
            .spawn(move || fork_for_ever(&inbox));
        Mutex::new(orders)
    });
    let (answer, outcome) = sync_channel(1);
    orders
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| io::Error::other("the thread that starts processes is gone"))?;
    outcome.recv().map_err(io::Error::other)?
}

fn fork_for_ever(inbox: &Receiver<Order>) {
    for (mut command, answer) in inbox {
        // The one who ordered waits for the answer, so sending cannot fail while it lives.
        let _ = answer.send(command.spawn());
    }
}
