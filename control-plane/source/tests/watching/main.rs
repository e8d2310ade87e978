//! The real watcher on real files: every way in which people and tools edit them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod wedged;

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

struct Room {
    directory: TempDir,
    files: Files,
    seen: watch::Receiver<Arc<Observed>>,
}

impl Room {
    fn open(prepare: impl FnOnce(&Path), tune: impl FnOnce(&mut Options)) -> Self {
        let directory = TempDir::new().unwrap();
        prepare(directory.path());
        let mut options = Options::new([directory.path()]);
        // By events alone, unless a test is about looking round.
        options.poll = Duration::from_secs(3600);
        tune(&mut options);
        let files = Files::watch(options).unwrap();
        let seen = files.observed();
        Self {
            directory,
            files,
            seen,
        }
    }

    fn with(name: &str, text: &str) -> Self {
        Self::open(|dir| fs::write(dir.join(name), text).unwrap(), |_| {})
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// The first world, now or later, that is as wanted.
    async fn until(
        &mut self,
        what: &str,
        wanted: impl FnMut(&Arc<Observed>) -> bool,
    ) -> Arc<Observed> {
        match tokio::time::timeout(DEADLINE, self.seen.wait_for(wanted)).await {
            Ok(world) => world.unwrap().clone(),
            Err(_) => panic!(
                "not seen within {DEADLINE:?}: {what}; last {:#?}",
                self.files.observed().borrow()
            ),
        }
    }
}

fn weight(world: &Observed, name: &str) -> Option<String> {
    let mut carriers = world.objects.carriers.values();
    let carrier = carriers.find(|c| c.key.name == name)?;
    carrier.labels.get("canary-weight").cloned()
}

fn is(world: &Observed, name: &str, percent: u32) -> bool {
    weight(world, name) == Some(percent.to_string())
}

#[tokio::test]
async fn the_first_world_is_whole_when_watch_returns() {
    let room = Room::with("a.yaml", &deployment("a", 10, 1));
    let world = room.seen.borrow().clone();
    assert!(is(&world, "a", 10));
    assert_eq!((world.generation, world.intent), (1, 1));
}

#[tokio::test]
async fn an_atomic_rename_is_seen() {
    let mut room = Room::with("a.yaml", &deployment("a", 10, 1));
    let before = room.seen.borrow().clone();
    for percent in [20, 30, 40] {
        fs::write(room.path("a.tmp"), deployment("a", percent, 1)).unwrap();
        fs::rename(room.path("a.tmp"), room.path("a.yaml")).unwrap();
        let after = room
            .until("the renamed file", |w| is(w, "a", percent))
            .await;
        assert_eq!(after.change_since(&before), Some(Change::Intent));
        assert!(after.problems.is_empty());
    }
}

#[tokio::test]
async fn an_in_place_write_is_seen_whole_and_never_half() {
    let (old, new) = (deployment("a", 10, 1), deployment("a", 20, 1));
    let mut room = Room::open(
        |dir| fs::write(dir.join("a.yaml"), &old).unwrap(),
        |options| options.quiet = Duration::from_secs(3600),
    );
    // The shell truncates, the writer takes its time; the first half is valid YAML without endpoints.
    let mut file = File::create(room.path("a.yaml")).unwrap();
    let half = new.find("  annotations").unwrap();
    file.write_all(&new.as_bytes()[..half]).unwrap();
    file.flush().unwrap();
    // Another file shows that the watcher is past those events.
    fs::write(room.path("b.yaml"), deployment("b", 1, 2)).unwrap();
    let between = room.until("the other file", |w| is(w, "b", 1)).await;
    assert!(
        is(&between, "a", 10),
        "the old content while the new one is being written"
    );
    assert!(between.problems.is_empty(), "{:?}", between.problems);
    file.write_all(&new.as_bytes()[half..]).unwrap();
    drop(file);
    let after = room.until("the closed file", |w| is(w, "a", 20)).await;
    assert_eq!(
        after.objects.carriers.values().next().unwrap().pods.len(),
        1
    );
}

#[tokio::test]
async fn a_file_that_is_never_closed_counts_once_it_is_quiet() {
    let mut room = Room::with("a.yaml", &deployment("a", 10, 1));
    let mut file = File::create(room.path("a.yaml")).unwrap();
    file.write_all(deployment("a", 20, 1).as_bytes()).unwrap();
    room.until("the open file", |w| is(w, "a", 20)).await;
    drop(file);
}

#[tokio::test]
async fn a_broken_edit_keeps_the_last_good_content_and_is_reported_until_it_is_fixed() {
    let mut room = Room::with("a.yaml", &deployment("a", 10, 1));
    fs::write(room.path("a.yaml"), "kind: [").unwrap();
    let broken = room.until("the problem", |w| !w.problems.is_empty()).await;
    assert!(is(&broken, "a", 10));
    assert!(
        broken.problems[0].file.ends_with("/a.yaml"),
        "{}",
        broken.problems[0]
    );
    assert!(broken.problems[0].since > 1_700_000_000);
    fs::write(room.path("a.yaml"), deployment("a", 20, 1)).unwrap();
    let fixed = room.until("the fix", |w| is(w, "a", 20)).await;
    assert!(fixed.problems.is_empty());
}

#[tokio::test]
async fn a_new_file_adds_its_objects_and_removing_it_removes_them() {
    let mut room = Room::with("a.yaml", &deployment("a", 10, 1));
    fs::write(room.path("b.yaml"), deployment("b", 5, 2)).unwrap();
    room.until("the new file", |w| is(w, "b", 5)).await;
    fs::remove_file(room.path("a.yaml")).unwrap();
    let gone = room
        .until("the removal", |w| weight(w, "a").is_none())
        .await;
    assert!(is(&gone, "b", 5));
}

#[tokio::test]
async fn a_file_that_is_away_for_a_moment_keeps_its_objects() {
    let mut room = Room::open(
        |dir| fs::write(dir.join("a.yaml"), deployment("a", 10, 1)).unwrap(),
        |options| options.quiet = Duration::from_secs(3600),
    );
    // As editors do it: away, and back.
    fs::rename(room.path("a.yaml"), room.path("a.yaml~")).unwrap();
    // Many rounds of the watcher later it is still there.
    for percent in 1..=20 {
        fs::write(room.path("b.yaml"), deployment("b", percent, 2)).unwrap();
        let between = room.until("the other file", |w| is(w, "b", percent)).await;
        assert!(is(&between, "a", 10), "kept while it is away");
    }
    fs::write(room.path("a.yaml"), deployment("a", 20, 1)).unwrap();
    room.until("the file that came back", |w| is(w, "a", 20))
        .await;
}

#[tokio::test]
async fn only_manifests_count_hidden_and_foreign_files_do_not() {
    let mut room = Room::with("a.yaml", &deployment("a", 10, 1));
    for name in [".a.yaml", "a.yaml.swp", "notes.txt"] {
        fs::write(room.path(name), "kind: [").unwrap();
    }
    fs::create_dir(room.path("sub.yaml")).unwrap();
    fs::write(room.path("b.json"), r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b","labels":{"model-name":"m","model-version":"v","canary-weight":"7"}}}"#).unwrap();
    let world = room.until("the JSON file", |w| is(w, "b", 7)).await;
    assert!(world.problems.is_empty(), "{:?}", world.problems);
}

#[cfg(unix)]
#[tokio::test]
async fn a_mounted_config_map_is_swapped_as_one() {
    use std::os::unix::fs::symlink;
    let mut room = Room::open(
        |dir| {
            fs::create_dir(dir.join("..1")).unwrap();
            fs::write(dir.join("..1/a.yaml"), deployment("a", 10, 1)).unwrap();
            symlink("..1", dir.join("..data")).unwrap();
            symlink("..data/a.yaml", dir.join("a.yaml")).unwrap();
        },
        |_| {},
    );
    fs::create_dir(room.path("..2")).unwrap();
    fs::write(room.path("..2/a.yaml"), deployment("a", 20, 1)).unwrap();
    symlink("..2", room.path("..data_tmp")).unwrap();
    fs::rename(room.path("..data_tmp"), room.path("..data")).unwrap();
    room.until("the swapped content", |w| is(w, "a", 20)).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_change_without_an_event_is_found_by_looking_round() {
    let elsewhere = TempDir::new().unwrap();
    let target = elsewhere.path().join("target");
    fs::write(&target, deployment("a", 10, 1)).unwrap();
    let mut room = Room::open(
        |dir| std::os::unix::fs::symlink(&target, dir.join("a.yaml")).unwrap(),
        |options| {
            options.poll = Duration::from_millis(50);
            options.quiet = Duration::from_millis(50);
        },
    );
    fs::write(&target, deployment("a", 20, 1)).unwrap();
    room.until("the target's new content", |w| is(w, "a", 20))
        .await;
    fs::remove_file(&target).unwrap();
    room.until("the removal", |w| weight(w, "a").is_none())
        .await;
}

#[tokio::test]
async fn a_directory_that_goes_keeps_its_files_and_one_that_comes_back_is_watched_again() {
    let parent = TempDir::new().unwrap();
    let models = parent.path().join("models");
    let mut room = Room::open(
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
    let lost = room.until("the report", |w| !w.problems.is_empty()).await;
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
    let back = room
        .until("the new directory", |w| {
            is(w, "a", 20) && w.problems.is_empty()
        })
        .await;
    assert_eq!(back.objects.carriers.len(), 1);
}

/// Reading a file brings events like writing it does; each once made a whole world, a minute's work at 2000 models.
#[tokio::test]
async fn files_that_are_only_read_delay_nobody() {
    let many: String = (0..3000)
        .map(|i| deployment(&format!("m{i}"), 10, 1) + "---\n")
        .collect();
    let mut room = Room::open(
        |dir| {
            fs::write(dir.join("many.yaml"), &many).unwrap();
            fs::write(dir.join("a.yaml"), deployment("a", 10, 1)).unwrap();
        },
        |_| {},
    );
    // In turns, or the system makes one event of equal ones.
    for _ in 0..3500 {
        File::open(room.path("a.yaml")).unwrap();
        File::open(room.path("many.yaml")).unwrap();
    }
    fs::write(room.path("a.yaml"), deployment("a", 20, 1)).unwrap();
    room.until("the edit behind 14000 events", |w| is(w, "a", 20))
        .await;
}

#[test]
fn a_directory_that_does_not_exist_is_refused_at_the_start_with_the_fix() {
    let missing = TempDir::new().unwrap().path().join("nowhere");
    let refused = Files::watch(Options::new([&missing])).unwrap_err();
    assert!(matches!(&refused, FilesError::Directory { directory, .. } if *directory == missing));
    assert!(
        refused
            .to_string()
            .contains("Create the directory, or name another one"),
        "{refused}"
    );
}

#[test]
fn reading_once_gives_the_same_world_without_a_thread() {
    let room = Room::with("a.yaml", &deployment("a", 10, 1));
    let once = Files::read(Options::new([room.directory.path(), room.directory.path()])).unwrap();
    assert_eq!(once, **room.seen.borrow());
}
