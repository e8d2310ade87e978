//! The root directory of a container, and the command that runs a program in it.
//!
//! A container gets a mount namespace and a host name of its own. Its root is a directory with `/etc`, the C library, `/proc`, `/sys` and `/dev` of this
//! machine, the files of its image, and its volumes; nothing else of the machine is visible in it. It shares the network and the process
//! ids of the machine. Root mounts directly and then changes to the container's user; other users mount in a user namespace, in which
//! the container's user is root.
//!
//! Invariant: no mount is visible outside of the namespace. The command becomes the program: it keeps its process id, and the kernel
//! kills it with the process that started it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use headgate_testkit::process::{ProcessOptions, find_program};

use super::error::Unable;
use super::images::Image;

/// The directories of the dynamic linker and the C library.
const LIBRARIES: [&str; 4] = ["lib", "lib64", "usr/lib", "usr/lib64"];
/// Directories that the kernel fills.
const KERNEL: [&str; 3] = ["proc", "sys", "dev"];
/// The program that changes the user, in the container.
const SETPRIV: &str = "/.setpriv";

/// A mount into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) source: PathBuf,
    /// An absolute path in the container.
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
}

/// The identity and the limits of a container's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Privileges {
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) read_only_root: bool,
}

/// A container's root directory.
#[derive(Debug, Clone)]
pub(super) struct Root {
    dir: PathBuf,
    mounts: Vec<Mount>,
    privileges: Privileges,
    hostname: String,
}

/// Whether this process may mount and change users itself.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Root {
    /// Prepares the directory. The mounts are made by each process for itself.
    pub(super) fn new(
        dir: PathBuf,
        image: &Image,
        volumes: Vec<Mount>,
        privileges: Privileges,
        hostname: &str,
    ) -> Result<Self, Unable> {
        let mut mounts = Vec::new();
        let here = |path: &str| Path::new("/").join(path);
        for name in LIBRARIES {
            let source = here(name);
            match std::fs::read_link(&source) {
                Ok(target) => {
                    std::fs::create_dir_all(&dir).map_err(Unable::machine)?;
                    let link = dir.join(name);
                    if !link.is_symlink() {
                        symlink(target, link).map_err(Unable::machine)?;
                    }
                }
                Err(_) if source.is_dir() => mounts.push(Mount {
                    target: source.clone(),
                    source,
                    read_only: true,
                }),
                Err(_) => {}
            }
        }
        for name in KERNEL {
            mounts.push(Mount {
                source: here(name),
                target: here(name),
                read_only: false,
            });
        }
        // Only needed until the program starts.
        let setpriv = find_program(Path::new("setpriv")).map_err(Unable::machine)?;
        let setpriv = (PathBuf::from(SETPRIV), setpriv);
        let files = image.files.clone().into_iter().chain([setpriv]);
        mounts.extend(files.map(|(target, source)| Mount {
            source,
            target,
            read_only: true,
        }));
        // A mount hides what was mounted below it before, so parents come first.
        mounts.extend(volumes);
        mounts.sort_by(|a, b| a.target.cmp(&b.target));
        let root = Self {
            dir,
            mounts,
            privileges,
            // As the kubelet: at most 63 bytes, the longest label of DNS.
            hostname: hostname.chars().take(63).collect(),
        };
        root.write_skeleton()?;
        Ok(root)
    }

    /// The command of a program with these variables; `words` is not empty.
    pub(super) fn command(
        &self,
        words: &[String],
        variables: &BTreeMap<String, String>,
    ) -> ProcessOptions {
        let Privileges { user, group, .. } = self.privileges;
        let mut options = ProcessOptions::new("unshare");
        if !is_root() {
            options = options.args(["--user", "--map-root-user"]);
        }
        options = options.args(["--mount", "--uts", "--propagation", "private", "--"]);
        options = options.args(["/bin/sh", "-ec", &self.script(), "container"]);
        options = options.args(["env", "-i"]);
        options = options.args(
            variables
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        options = options.arg(chroot()).arg(&self.dir).arg(SETPRIV);
        if is_root() {
            options = options
                .arg(format!("--reuid={user}"))
                .arg(format!("--regid={group}"));
            options = options.args(["--clear-groups", "--bounding-set=-all"]);
        }
        options = options.args(["--no-new-privs", "--pdeathsig", "KILL", "--"]);
        options.args(words)
    }

    /// The shell commands that set the host name and make the mounts; then the arguments are run. In a user namespace, a mount that becomes read-only must
    /// keep flags that the machine set.
    fn script(&self) -> String {
        let root = shell(&self.dir);
        let remount = "mount -o remount,bind,ro";
        let mut script = format!(
            "ro() {{ {remount} \"$1\" 2>/dev/null || {remount},nosuid,nodev \"$1\"; }}\n\
             hostname {}\n\
             mount --bind {root} {root}\n",
            shell(Path::new(&self.hostname)),
        );
        for mount in &self.mounts {
            let target = shell(&self.inside(&mount.target));
            // Writing to a String cannot fail.
            let _ = writeln!(script, "mount --rbind {} {target}", shell(&mount.source));
            if mount.read_only {
                let _ = writeln!(script, "ro {target}");
            }
        }
        if self.privileges.read_only_root {
            let _ = writeln!(script, "ro {root}");
        }
        script + "exec \"$@\"\n"
    }

    /// Creates the files of an image without content, and a mount point for each mount.
    fn write_skeleton(&self) -> Result<(), Unable> {
        let etc = self.dir.join("etc");
        let Privileges { user, group, .. } = self.privileges;
        std::fs::create_dir_all(&etc).map_err(Unable::machine)?;
        let files = [
            ("hosts", "127.0.0.1 localhost\n".to_owned()),
            ("resolv.conf", String::new()),
            ("nsswitch.conf", "hosts: files dns\n".to_owned()),
            (
                "passwd",
                format!("root:x:0:0::/:/none\nuser:x:{user}:{group}::/:/none\n"),
            ),
            ("group", format!("root:x:0:\nuser:x:{group}:\n")),
        ];
        for (name, content) in files {
            std::fs::write(etc.join(name), content).map_err(Unable::machine)?;
        }
        for mount in &self.mounts {
            let absolute = mount.target.is_absolute();
            let plain = mount
                .target
                .components()
                .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
            if !(absolute && plain) {
                let target = mount.target.display();
                return Err(Unable::config(format!(
                    "mountPath {target} is not absolute"
                )));
            }
            let target = self.inside(&mount.target);
            let point = if mount.source.is_dir() {
                std::fs::create_dir_all(&target)
            } else if mount.source.exists() {
                let parent = target.parent().unwrap_or(&self.dir);
                std::fs::create_dir_all(parent).and_then(|()| {
                    let file = std::fs::File::options()
                        .append(true)
                        .create(true)
                        .open(&target);
                    file.map(|_| ())
                })
            } else {
                let source = mount.source.display();
                return Err(Unable::machine(format!("{source} does not exist")));
            };
            point.map_err(|error| Unable::machine(format!("{}: {error}", target.display())))?;
        }
        Ok(())
    }

    /// A path of the container as a path of this machine.
    fn inside(&self, path: &Path) -> PathBuf {
        self.dir.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// `chroot` by its path, because the variables of the container may not lead to it.
fn chroot() -> PathBuf {
    let found = find_program(Path::new("chroot"));
    found.unwrap_or_else(|_| PathBuf::from("/usr/sbin/chroot"))
}

/// A word of the shell.
fn shell(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}
