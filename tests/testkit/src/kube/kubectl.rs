//! The real `kubectl`, run with one kubeconfig.
//!
//! Invariant: it reads one kubeconfig and no file of the home directory of the user who runs the test.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;

use super::KubeError;
use super::programs::Programs;

/// Deadline of one call; `kubectl wait` and `rollout status` have shorter ones.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The output of `kubectl wait`, at once, of an object whose controller has not written conditions yet (kubernetes/kubernetes#66439).
const NO_CONDITIONS: &str = ".status.conditions accessor error";
/// Time between two calls that fail for that reason.
const RETRY: Duration = Duration::from_millis(100);

/// `kubectl` with one kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
    dir: Option<PathBuf>,
}

/// A command that was run, with its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutput {
    /// The command line.
    pub line: String,
    /// Its standard output.
    pub output: String,
    /// Its run time.
    pub took: Duration,
}

/// A running call, such as `get --watch`; dropping it ends it.
#[derive(Debug)]
pub struct KubectlWatch {
    _child: Child,
    lines: watch::Receiver<Vec<(SystemTime, String)>>,
}

impl KubectlWatch {
    /// The lines so far, each with the time at which it was read.
    #[must_use]
    pub fn lines(&self) -> Vec<(SystemTime, String)> {
        self.lines.borrow().clone()
    }

    async fn read(
        mut from: Lines<BufReader<ChildStdout>>,
        lines: watch::Sender<Vec<(SystemTime, String)>>,
    ) {
        while let Ok(Some(line)) = from.next_line().await {
            lines.send_modify(|lines| lines.push((SystemTime::now(), line)));
        }
    }
}

impl Kubectl {
    /// `kubectl` with the kubeconfig of an API that something else started.
    ///
    /// # Errors
    /// [`KubeError::Programs`].
    pub fn at(kubeconfig: &Path) -> Result<Self, KubeError> {
        let home = kubeconfig.parent().unwrap_or(Path::new("/"));
        Ok(Self::new(&Programs::find()?.kubectl, kubeconfig, home))
    }

    /// Sets the working directory, to which relative paths refer.
    #[must_use]
    pub fn in_dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Path of the program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs a whole line, such as `kubectl label deploy/a b=c`. Blanks separate the words; there is no quoting.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_line(&self, line: &str) -> Result<CommandOutput, KubeError> {
        let began = Instant::now();
        let output = self.run(line.split_whitespace().skip(1)).await?;
        Ok(CommandOutput {
            line: line.to_owned(),
            output,
            took: began.elapsed(),
        })
    }

    pub(super) fn new(program: &Path, kubeconfig: &Path, home: &Path) -> Self {
        Self {
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            home: home.to_owned(),
            dir: None,
        }
    }

    /// Runs it and returns its standard output.
    ///
    /// # Errors
    /// [`KubeError::Refused`] with its standard error, [`KubeError::Kubectl`] when it cannot be run or does not end in time.
    ///
    /// ```no_run
    /// # async fn f(kube: &headgate_testkit::kube::Kube) -> Result<(), headgate_testkit::kube::KubeError> {
    /// kube.kubectl().run(["label", "deploy/llama3-70b-v2", "canary-weight=30", "--overwrite"]).await?;
    /// # Ok(()) }
    /// ```
    pub async fn run(
        &self,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<String, KubeError> {
        self.run_with_input(args, "").await
    }

    /// `kubectl apply -f -` of manifests, YAML or JSON.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn apply(&self, manifests: &str) -> Result<String, KubeError> {
        self.run_with_input(["apply", "-f", "-"], manifests).await
    }

    /// Runs it with `input` on its standard input.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_with_input(
        &self,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        input: &str,
    ) -> Result<String, KubeError> {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().into()).collect();
        let line = args.join(OsStr::new(" ")).to_string_lossy().into_owned();
        let output = tokio::time::timeout(TIMEOUT, self.output_with_conditions(&args, input))
            .await
            .unwrap_or_else(|_| {
                let why = format!("no end within {TIMEOUT:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            })
            .map_err(|source| KubeError::Kubectl {
                args: line.clone(),
                source,
            })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(KubeError::Refused {
            args: line,
            code: output.status.code(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts a call that runs until it is dropped, such as `get --watch`.
    ///
    /// # Errors
    /// [`KubeError::Kubectl`] when it cannot be run.
    pub fn watch(
        &self,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<KubectlWatch, KubeError> {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().into()).collect();
        let failed = |source| KubeError::Kubectl {
            args: args.join(OsStr::new(" ")).to_string_lossy().into_owned(),
            source,
        };
        let mut command = self.command(&args);
        command.stdin(Stdio::null()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(failed)?;
        let (sender, lines) = watch::channel(Vec::new());
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(KubectlWatch::read(BufReader::new(stdout).lines(), sender));
        }
        Ok(KubectlWatch {
            _child: child,
            lines,
        })
    }

    fn command(&self, args: &[OsString]) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// [`Self::output`]; again, as long as it fails only because a new object has no conditions yet.
    async fn output_with_conditions(
        &self,
        args: &[OsString],
        input: &str,
    ) -> io::Result<std::process::Output> {
        loop {
            let output = self.output(args, input).await?;
            let error = String::from_utf8_lossy(&output.stderr);
            if output.status.success() || !error.contains(NO_CONDITIONS) {
                return Ok(output);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn output(&self, args: &[OsString], input: &str) -> io::Result<std::process::Output> {
        let mut child = self.command(args).spawn()?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that does not read its input closes the pipe; its exit status has the reason.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        output
    }
}
