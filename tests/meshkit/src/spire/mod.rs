//! Launcher of a real SPIRE on loopback: a server and an agent for one trust domain, and federation between two of them.
//!
//! All programs of a test run as one user on one machine, so the agent tells them apart by the path of their executable: each identity
//! has its own link to the program.
//!
//! ```no_run
//! # use std::path::Path;
//! # use headgate_meshkit::spire::{Spire, SpireError, SpireOptions, Workload};
//! # async fn example(program: &Path) -> Result<(), SpireError> {
//! let cluster = Spire::start(SpireOptions::new("cluster.example")).await?;
//! let cloud = Spire::start(SpireOptions::new("cloud.example")).await?;
//! cluster.federate(&cloud).await?;
//! let client = Workload::new("/ns/clients/sa/client").federates_with("cloud.example");
//! let program = cluster.register(&client, program).await?;
//! // `program`, run with SPIFFE_ENDPOINT_SOCKET = cluster.endpoint(), is spiffe://cluster.example/ns/clients/sa/client.
//! # let _ = program;
//! # Ok(()) }
//! ```
//!
//! Invariant: it listens on loopback only, needs no privileges, and ends with its [`Spire`] or with the process that holds it.

mod cli;
mod config;
mod error;
mod options;
mod svid;

use std::path::{Path, PathBuf};
use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::ports::free_addr;
use headgate_testkit::process::{Process, ProcessOptions};
use tempfile::TempDir;

pub use self::error::SpireError;
pub use self::options::{SpireOptions, Workload};
pub use self::svid::Svid;

use self::cli::ServerCli;
use self::config::{Addresses, Files};
use self::error::{files, write};
use crate::command::{CommandError, installed, run};

/// The variable that names the directory of the programs.
const VARIABLE: &str = "HEADGATE_SPIRE";
/// Path of the agent's own identity, which is the parent of all others.
const AGENT: &str = "/agent";

/// A running trust domain: its server and one agent.
#[derive(Debug)]
pub struct Spire {
    // Dropped in this order: the client before its server.
    agent: Process,
    server: Process,
    domain: String,
    server_program: PathBuf,
    agent_program: PathBuf,
    addresses: Addresses,
    files: Files,
    within: Duration,
    _dir: TempDir,
}

impl Spire {
    /// Starts a server and an agent; returns when both are ready.
    ///
    /// # Errors
    /// [`CommandError::Missing`] when the programs are not installed; [`SpireError::Process`] with the end of a log when a program
    /// exits or is not ready in time.
    pub async fn start(options: SpireOptions) -> Result<Self, SpireError> {
        let server_program = installed(VARIABLE, "spire", "spire-server")?;
        let agent_program = installed(VARIABLE, "spire", "spire-agent")?;
        let dir = tempfile::tempdir().map_err(files(&std::env::temp_dir()))?;
        let domain = options.trust_domain;
        let file = Files {
            dir: dir.path().to_owned(),
        };
        let free = || free_addr().map_err(SpireError::Address);
        let addresses = Addresses {
            server: free()?,
            server_health: free()?,
            bundle: free()?,
            agent_health: free()?,
        };
        let config = config::server(&domain, options.svid_lifetime, &addresses, &file);
        write(&file.server_config(), &config)?;
        let mut server = Process::start(
            ProcessOptions::new(&server_program)
                .args(["run", "-config"])
                .arg(file.server_config()),
        )?;
        let ready = format!("http://{}/ready", addresses.server_health);
        server.wait_for_http(&ready, options.within).await?;
        let server_cli = ServerCli {
            program: &server_program,
            socket: file.server_socket(),
        };
        let bundle = server_cli.run(&["bundle", "show"]).await?;
        write(&file.bundle(), &bundle)?;
        let parent = format!("spiffe://{domain}{AGENT}");
        let token = server_cli.join_token(&parent).await?;
        let config = config::agent(&domain, &token, &addresses, &file);
        write(&file.agent_config(), &config)?;
        let agent = start_agent(&agent_program, &file, &addresses, options.within).await?;
        Ok(Self {
            agent,
            server,
            domain,
            server_program,
            agent_program,
            addresses,
            files: file,
            within: options.within,
            _dir: dir,
        })
    }

    /// Its name.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.domain
    }

    /// The SPIFFE ID with a path of this trust domain.
    #[must_use]
    pub fn id(&self, path: &str) -> String {
        format!("spiffe://{}{path}", self.domain)
    }

    /// Path of the socket of the Workload API.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.files.agent_socket()
    }

    /// The same as `unix:PATH`, for `SPIFFE_ENDPOINT_SOCKET`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Its trust bundle now, as PEM.
    ///
    /// # Errors
    /// [`SpireError::Command`].
    pub async fn bundle(&self) -> Result<String, SpireError> {
        self.cli().run(&["bundle", "show"]).await
    }

    /// Gives an identity to a program, and returns the path by which to run it: a link of its own, because the agent knows programs
    /// by path. Returns when the agent has the entry.
    ///
    /// # Errors
    /// [`SpireError::Command`], also for a foreign trust domain without [`Self::federate`]; [`SpireError::Files`].
    pub async fn register(
        &self,
        workload: &Workload,
        program: &Path,
    ) -> Result<PathBuf, SpireError> {
        let link = self.link(&workload.path, program)?;
        self.create_entry(workload, &link).await?;
        Ok(link)
    }

    /// The X.509-SVID of an identity, with the bundles that its programs get, once the agent has it. It is asked for as a program
    /// would: by the agent's own client, registered under this identity.
    ///
    /// # Errors
    /// As [`Self::register`]; [`SpireError::TimedOut`] with the last answer of the agent.
    pub async fn fetch(&self, workload: &Workload) -> Result<Svid, SpireError> {
        let client = self.register(workload, &self.agent_program).await?;
        let dir = tempfile::tempdir().map_err(files(&std::env::temp_dir()))?;
        let svid = Svid::new(dir);
        let socket = self.socket();
        let what = format!("the SVID of {}", workload.path);
        eventually(self.within, &what, async || {
            let args = ["api", "fetch", "x509", "-silent", "-socketPath"];
            let args = args.iter().map(AsRef::as_ref);
            let write = [socket.as_os_str(), "-write".as_ref()];
            let args = args.chain(write).chain([svid.dir().as_os_str()]);
            run(&client, args).await.map_err(SpireError::from)?;
            let missing = workload.federates_with.len() - svid.federated_bundles()?.len();
            if missing == 0 {
                Ok(())
            } else {
                Err(SpireError::Output {
                    line: "fetch x509",
                    output: format!("without {missing} federated bundles"),
                })
            }
        })
        .await?;
        Ok(svid)
    }

    /// Federates two trust domains, in both directions: each server reads the other's bundle from its bundle endpoint, which it
    /// authenticates by SPIFFE ID. Returns when both have it.
    ///
    /// # Errors
    /// [`SpireError::Command`].
    pub async fn federate(&self, other: &Self) -> Result<(), SpireError> {
        self.trust(other).await?;
        other.trust(self).await
    }

    /// The server, to suspend or end it, or to read its log.
    pub fn server(&mut self) -> &mut Process {
        &mut self.server
    }

    /// The agent, to suspend or end it, or to read its log.
    pub fn agent(&mut self) -> &mut Process {
        &mut self.agent
    }

    fn cli(&self) -> ServerCli<'_> {
        ServerCli {
            program: &self.server_program,
            socket: self.files.server_socket(),
        }
    }

    async fn trust(&self, other: &Self) -> Result<(), SpireError> {
        // The first bundle authenticates the endpoint, which delivers the later ones.
        let file = self.files.dir.join(format!("{}.bundle", other.domain));
        let show = ["bundle", "show", "-format", "spiffe"];
        write(&file, &other.cli().run(&show).await?)?;
        let url = format!("https://{}", other.addresses.bundle);
        let args = [
            "federation",
            "create",
            "-trustDomain",
            &other.domain,
            "-bundleEndpointURL",
            &url,
            "-bundleEndpointProfile",
            "https_spiffe",
            "-endpointSpiffeID",
            &other.id("/spire/server"),
            "-trustDomainBundleFormat",
            "spiffe",
            "-trustDomainBundlePath",
            &file.to_string_lossy(),
        ];
        self.cli().run(&args).await?;
        // It fails until the endpoint has answered.
        let refresh = ["federation", "refresh", "-id", &other.domain];
        let what = format!("the bundle of {}", other.domain);
        eventually(self.within, &what, async || self.cli().run(&refresh).await).await?;
        Ok(())
    }

    /// A link to a program in a directory named after an identity; a copy where links cannot cross file systems.
    fn link(&self, identity: &str, program: &Path) -> Result<PathBuf, SpireError> {
        let name = identity.trim_start_matches('/').replace('/', ".");
        let dir = self.files.programs().join(name);
        std::fs::create_dir_all(&dir).map_err(files(&dir))?;
        let link = dir.join(program.file_name().unwrap_or(program.as_os_str()));
        if link.exists() {
            return Ok(link);
        }
        let linked = std::fs::hard_link(program, &link);
        linked
            .or_else(|_| std::fs::copy(program, &link).map(|_| ()))
            .map_err(files(&link))?;
        Ok(link)
    }

    async fn create_entry(&self, workload: &Workload, program: &Path) -> Result<(), SpireError> {
        let parent = self.id(AGENT);
        let id = self.id(&workload.path);
        let selector = format!("unix:path:{}", program.display());
        let mut args = vec!["entry", "create", "-parentID", &parent, "-spiffeID", &id];
        args.extend(["-selector", &selector]);
        for domain in &workload.federates_with {
            args.extend(["-federatesWith", domain]);
        }
        match self.cli().run(&args).await {
            // The same program may be registered twice.
            Err(SpireError::Command(CommandError::Refused { output, .. }))
                if output.contains("AlreadyExists") =>
            {
                Ok(())
            }
            outcome => outcome.map(|_| ()),
        }
    }
}

async fn start_agent(
    program: &Path,
    files: &Files,
    addresses: &Addresses,
    within: Duration,
) -> Result<Process, SpireError> {
    let mut agent = Process::start(
        ProcessOptions::new(program)
            .args(["run", "-config"])
            .arg(files.agent_config()),
    )?;
    let ready = format!("http://{}/ready", addresses.agent_health);
    agent.wait_for_http(&ready, within).await?;
    Ok(agent)
}
