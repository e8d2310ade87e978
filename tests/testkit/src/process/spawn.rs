//! Starting a child process that the kernel kills when the test process dies.
//!
//! Invariant: `PR_SET_PDEATHSIG` fires when the *thread* that forked ends. So one thread, which lives as long as this process,
//! forks every child; a fixture shared by several tests survives the test that made it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::ProcessError;

type SpawnRequest = (Command, SyncSender<io::Result<Child>>);

/// Resolves a program as a shell does: a path with a slash is taken as it is, a name is looked up on `PATH`.
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

/// The command for `program`, which the kernel kills when this process dies. `setpriv` of util-linux sets the signal and then
/// becomes the program (same PID); setting it here between fork and exec would need unsafe code. Without `setpriv` the child is
/// still killed on drop.
pub(super) fn killed_with_parent(program: &Path) -> Command {
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
    static FORKER: OnceLock<Mutex<Sender<SpawnRequest>>> = OnceLock::new();
    let requests = FORKER.get_or_init(|| {
        let (requests, inbox) = channel();
        // If the thread cannot start, the channel closes, and the send below reports it.
        let _ = std::thread::Builder::new()
            .name("forker".into())
            .spawn(move || spawn_loop(&inbox));
        Mutex::new(requests)
    });
    let (answer, outcome) = sync_channel(1);
    requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| io::Error::other("the thread that starts processes has ended"))?;
    outcome.recv().map_err(io::Error::other)?
}

fn spawn_loop(inbox: &Receiver<SpawnRequest>) {
    for (mut command, answer) in inbox {
        // The sender of the request waits for the result, so sending fails only if it has died.
        let _ = answer.send(command.spawn());
    }
}
