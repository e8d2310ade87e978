//! The real watcher on real files, edited in every way that people and tools use.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod file_faults;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headgate_model::Change;
use headgate_model::Observed;
use headgate_source::files::Files;
use headgate_source::files::FilesError;
use headgate_source::files::Options;
use tempfile::TempDir;
use tokio::sync::watch;

const DEADLINE: Duration = Duration::from_secs(20);

fn deployment(name: &str, weight: u32, port: u16) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  labels:\n    model-name: m\n    model-version: v\n    \
         canary-weight: \"{weight}\"\n  annotations:\n    headgate.dev/endpoints: 127.0.0.1:{port}\n"
    )
}

struct WatchedDirectory {
    directory: TempDir,
    files: Files,
    observed: watch::Receiver<Arc<Observed>>,
}

impl WatchedDirectory {
    fn open(prepare: impl FnOnce(&Path), tune: impl FnOnce(&mut Options)) -> Self {
        let directory = TempDir::new().unwrap();
        prepare(directory.path());
        let mut options = Options::new([directory.path()]);
        // By events alone, unless a test is about polling.
        options.poll = Duration::from_secs(3600);
        tune(&mut options);
        let files = Files::watch(options).unwrap();
        let observed = files.observed();
        Self {
            directory,
            files,
            observed,
        }
    }

    fn with(name: &str, text: &str) -> Self {
        Self::open(|dir| fs::write(dir.join(name), text).unwrap(), |_| {})
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Waits for an observation that meets the condition.
    async fn until(
        &mut self,
        what: &str,
        expected: impl FnMut(&Arc<Observed>) -> bool,
    ) -> Arc<Observed> {
        match tokio::time::timeout(DEADLINE, self.observed.wait_for(expected)).await {
            Ok(observed) => observed.unwrap().clone(),
            Err(_) => panic!(
                "not within {DEADLINE:?}: {what}; last {:#?}",
                self.files.observed().borrow()
            ),
        }
    }
}

fn weight(observed: &Observed, name: &str) -> Option<String> {
    let mut carriers = observed.objects.carriers.values();
    let carrier = carriers.find(|c| c.key.name == name)?;
    carrier.labels.get("canary-weight").cloned()
}

fn is(observed: &Observed, name: &str, percent: u32) -> bool {
    weight(observed, name) == Some(percent.to_string())
}

#[tokio::test]
async fn the_first_observation_is_complete_when_watch_returns() {
    let watched = WatchedDirectory::with("a.yaml", &deployment("a", 10, 1));
    let observed = watched.observed.borrow().clone();
    assert!(is(&observed, "a", 10));
    assert_eq!((observed.generation, observed.intent), (1, 1));
}

#[tokio::test]
async fn an_atomic_rename_is_observed() {
    let mut watched = WatchedDirectory::with("a.yaml", &deployment("a", 10, 1));
    let before = watched.observed.borrow().clone();
    for percent in [20, 30, 40] {
        fs::write(watched.path("a.tmp"), deployment("a", percent, 1)).unwrap();
        fs::rename(watched.path("a.tmp"), watched.path("a.yaml")).unwrap();
        let after = watched
            .until("the renamed file", |w| is(w, "a", percent))
            .await;
        assert_eq!(after.change_since(&before), Some(Change::Intent));
        assert!(after.problems.is_empty());
    }
}

#[tokio::test]
async fn an_in_place_write_is_observed_only_as_a_whole() {
    let (old, new) = (deployment("a", 10, 1), deployment("a", 20, 1));
    let mut watched = WatchedDirectory::open(
        |dir| fs::write(dir.join("a.yaml"), &old).unwrap(),
        |options| options.quiet = Duration::from_secs(3600),
    );
    // The shell truncates the file and the writer is slow; the first half is valid YAML without endpoints.
    let mut file = File::create(watched.path("a.yaml")).unwrap();
    let half = new.find("  annotations").unwrap();
    file.write_all(&new.as_bytes()[..half]).unwrap();
    file.flush().unwrap();
    // A change of another file shows that the watcher has handled those events.
    fs::write(watched.path("b.yaml"), deployment("b", 1, 2)).unwrap();
    let between = watched.until("the other file", |w| is(w, "b", 1)).await;
    assert!(
        is(&between, "a", 10),
        "the old content while the new one is being written"
    );
    assert!(between.problems.is_empty(), "{:?}", between.problems);
    file.write_all(&new.as_bytes()[half..]).unwrap();
    drop(file);
    let after = watched.until("the closed file", |w| is(w, "a", 20)).await;
    assert_eq!(
        after.objects.carriers.values().next().unwrap().pods.len(),
        1
    );
}

#[tokio::test]
async fn a_file_that_is_never_closed_counts_once_it_stops_changing() {
    let mut watched = WatchedDirectory::with("a.yaml", &deployment("a", 10, 1));
    let mut file = File::create(watched.path("a.yaml")).unwrap();
    file.write_all(deployment("a", 20, 1).as_bytes()).unwrap();
    watched.until("the open file", |w| is(w, "a", 20)).await;
    drop(file);
}

#[tokio::test]
async fn an_invalid_edit_keeps_the_last_valid_content_and_is_reported_until_it_is_fixed() {
    let mut watched = WatchedDirectory::with("a.yaml", &deployment("a", 10, 1));
    fs::write(watched.path("a.yaml"), "kind: [").unwrap();
    let broken = watched
        .until("the problem", |w| !w.problems.is_empty())
        .await;
    assert!(is(&broken, "a", 10));
    assert!(
        broken.problems[0].file.ends_with("/a.yaml"),
        "{}",
        broken.problems[0]
    );
    assert!(broken.problems[0].since > 1_700_000_000);
    fs::write(watched.path("a.yaml"), deployment("a", 20, 1)).unwrap();
    let fixed = watched.until("the fix", |w| is(w, "a", 20)).await;
    assert!(fixed.problems.is_empty());
}

#[tokio::test]
async fn a_new_file_adds_its_objects_and_removing_it_removes_them() {
    let mut watched = WatchedDirectory::with("a.yaml", &deployment("a", 10, 1));
    fs::write(watched.path("b.yaml"), deployment("b", 5, 2)).unwrap();
    watched.until("the new file", |w| is(w, "b", 5)).await;
    fs::remove_file(watched.path("a.yaml")).unwrap();
    let gone = watched
        .until("the removal", |w| weight(w, "a").is_none())
        .await;
    assert!(is(&gone, "b", 5));
}

#[tokio::test]
async fn a_file_that_is_briefly_missing_keeps_its_objects() {
    let mut watched = WatchedDirectory::open(
        |dir| fs::write(dir.join("a.yaml"), deployment("a", 10, 1)).unwrap(),
        |options| options.quiet = Duration::from_secs(3600),
    );
    // As editors do: the file is removed and written again.
    fs::rename(watched.path("a.yaml"), watched.path("a.yaml~")).unwrap();
    // After many rounds of the watcher its objects still exist.
    for percent in 1..=20 {
        fs::write(watched.path("b.yaml"), deployment("b", percent, 2)).unwrap();
        let between = watched
            .until("the other file", |w| is(w, "b", percent))
            .await;
        assert!(is(&between, "a", 10), "kept while it is away");
    }
    fs::write(watched.path("a.yaml"), deployment("a", 20, 1)).unwrap();
    watched
        .until("the file that came back", |w| is(w, "a", 20))
        .await;
}

#[tokio::test]
async fn hidden_and_other_files_are_not_read() {
    let mut watched = WatchedDirectory::with("a.yaml", &deployment("a", 10, 1));
    for name in [".a.yaml", "a.yaml.swp", "notes.txt"] {
        fs::write(watched.path(name), "kind: [").unwrap();
    }
    fs::create_dir(watched.path("sub.yaml")).unwrap();
    fs::write(watched.path("b.json"), r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b","labels":{"model-name":"m","model-version":"v","canary-weight":"7"}}}"#).unwrap();
    let observed = watched.until("the JSON file", |w| is(w, "b", 7)).await;
    assert!(observed.problems.is_empty(), "{:?}", observed.problems);
}

#[cfg(unix)]
#[tokio::test]
async fn a_mounted_config_map_is_replaced_as_one_change() {
    use std::os::unix::fs::symlink;
    let mut watched = WatchedDirectory::open(
        |dir| {
            fs::create_dir(dir.join("..1")).unwrap();
            fs::write(dir.join("..1/a.yaml"), deployment("a", 10, 1)).unwrap();
            symlink("..1", dir.join("..data")).unwrap();
            symlink("..data/a.yaml", dir.join("a.yaml")).unwrap();
        },
        |_| {},
    );
    fs::create_dir(watched.path("..2")).unwrap();
    fs::write(watched.path("..2/a.yaml"), deployment("a", 20, 1)).unwrap();
    symlink("..2", watched.path("..data_tmp")).unwrap();
    fs::rename(watched.path("..data_tmp"), watched.path("..data")).unwrap();
    watched
        .until("the swapped content", |w| is(w, "a", 20))
        .await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_change_without_an_event_is_found_by_polling() {
    let elsewhere = TempDir::new().unwrap();
    let target = elsewhere.path().join("target");
    fs::write(&target, deployment("a", 10, 1)).unwrap();
    let mut watched = WatchedDirectory::open(
        |dir| std::os::unix::fs::symlink(&target, dir.join("a.yaml")).unwrap(),
        |options| {
            options.poll = Duration::from_millis(50);
            options.quiet = Duration::from_millis(50);
        },
    );
    fs::write(&target, deployment("a", 20, 1)).unwrap();
    watched
        .until("the target's new content", |w| is(w, "a", 20))
        .await;
    fs::remove_file(&target).unwrap();
    watched
        .until("the removal", |w| weight(w, "a").is_none())
        .await;
}

#[tokio::test]
async fn a_missing_directory_keeps_its_objects_and_is_watched_again_once_it_returns() {
    let parent = TempDir::new().unwrap();
    let models = parent.path().join("models");
    let mut watched = WatchedDirectory::open(
        |_| {
            fs::create_dir(&models).unwrap();
            fs::write(models.join("a.yaml"), deployment("a", 10, 1)).unwrap();
        },
        |options| {
            options.directories = vec![models.clone()];
            options.poll = Duration::from_millis(50);
        },
    );
    fs::rename(&models, parent.path().join("away")).unwrap();
    let lost = watched
        .until("the report", |w| !w.problems.is_empty())
        .await;
    assert!(is(&lost, "a", 10));
    assert!(
        lost.problems[0]
            .to_string()
            .contains("The last content of its files is served"),
        "{}",
        lost.problems[0]
    );
    fs::create_dir(&models).unwrap();
    fs::write(models.join("a.yaml"), deployment("a", 20, 1)).unwrap();
    let back = watched
        .until("the new directory", |w| {
            is(w, "a", 20) && w.problems.is_empty()
        })
        .await;
    assert_eq!(back.objects.carriers.len(), 1);
}

/// Reading a file causes events too. Each of them once caused a complete observation, a minute's work with 2000 models.
#[tokio::test]
async fn files_that_are_only_read_cause_no_delay() {
    let many: String = (0..3000)
        .map(|i| deployment(&format!("m{i}"), 10, 1) + "---\n")
        .collect();
    let mut watched = WatchedDirectory::open(
        |dir| {
            fs::write(dir.join("many.yaml"), &many).unwrap();
            fs::write(dir.join("a.yaml"), deployment("a", 10, 1)).unwrap();
        },
        |_| {},
    );
    // In turns, because the system merges equal events.
    for _ in 0..3500 {
        File::open(watched.path("a.yaml")).unwrap();
        File::open(watched.path("many.yaml")).unwrap();
    }
    fs::write(watched.path("a.yaml"), deployment("a", 20, 1)).unwrap();
    watched
        .until("the edit behind 14000 events", |w| is(w, "a", 20))
        .await;
}

#[test]
fn a_missing_directory_is_refused_at_the_start_with_the_fix() {
    let missing = TempDir::new().unwrap().path().join("nowhere");
    let refused = Files::watch(Options::new([&missing])).unwrap_err();
    assert!(matches!(&refused, FilesError::Directory { directory, .. } if *directory == missing));
    assert!(
        refused
            .to_string()
            .contains("It must be a directory that this process may read"),
        "{refused}"
    );
}

#[test]
fn reading_once_gives_the_same_observation_without_a_thread() {
    let watched = WatchedDirectory::with("a.yaml", &deployment("a", 10, 1));
    let once = Files::read(Options::new([
        watched.directory.path(),
        watched.directory.path(),
    ]))
    .unwrap();
    assert_eq!(once, **watched.observed.borrow());
}
