//! A file that is not a readable manifest must not block the source, exhaust its memory, or hide other changes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use headgate_model::Observed;
use headgate_source::files::Options;
use headgate_testkit::fifo;
use tempfile::TempDir;

use super::{WatchedDirectory, deployment, is, weight};

/// Scans often, and waits only briefly for writers.
fn brisk(options: &mut Options) {
    options.poll = Duration::from_millis(50);
    options.quiet = Duration::from_millis(20);
}

fn problem_of<'a>(observed: &'a Observed, name: &str) -> Option<&'a str> {
    let mut problems = observed.problems.iter();
    let problem = problems.find(|p| p.file.ends_with(name))?;
    Some(&problem.message)
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_not_regular_is_a_problem_and_blocks_nothing() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let elsewhere = TempDir::new().unwrap();
    let mut watched = WatchedDirectory::open(
        |dir| {
            fs::write(dir.join("a.yaml"), deployment("a", 10, 1)).unwrap();
            fs::write(dir.join("was.yaml"), deployment("was", 10, 1)).unwrap();
            fifo::make(&dir.join("first.yaml"));
        },
        brisk,
    );
    let begun = watched.observed.borrow().clone();
    assert!(
        problem_of(&begun, "/first.yaml")
            .unwrap()
            .contains("it is a FIFO, not a regular file")
    );
    fifo::make(&watched.path("later.yaml"));
    symlink("/dev/zero", watched.path("zero.yaml")).unwrap();
    symlink(elsewhere.path(), watched.path("dir.yaml")).unwrap();
    let _socket = UnixListener::bind(watched.path("socket.yaml")).unwrap();
    fs::remove_file(watched.path("was.yaml")).unwrap();
    fifo::make(&watched.path("was.yaml"));
    let observed = watched
        .until("all five problems", |w| w.problems.len() == 6)
        .await;
    for (name, what) in [
        ("/later.yaml", "it is a FIFO"),
        ("/zero.yaml", "it is a device"),
        ("/dir.yaml", "it is a directory"),
        ("/socket.yaml", "it is a socket"),
    ] {
        let message = problem_of(&observed, name).unwrap();
        assert!(
            message.contains(what) && message.ends_with("no object of the file is served"),
            "{message}"
        );
    }
    let message = problem_of(&observed, "/was.yaml").unwrap();
    assert!(
        message.ends_with("the last valid content of the file is served"),
        "{message}"
    );
    assert!(is(&observed, "was", 10));
    // Edits are still observed, and fixed files are read.
    fs::write(watched.path("a.yaml"), deployment("a", 20, 1)).unwrap();
    watched.until("the edit", |w| is(w, "a", 20)).await;
    fs::remove_file(watched.path("later.yaml")).unwrap();
    fs::write(watched.path("later.yaml"), deployment("later", 5, 1)).unwrap();
    watched
        .until("the file in its place", |w| {
            is(w, "later", 5) && w.problems.len() == 5
        })
        .await;
    let ending = std::time::Instant::now();
    drop(watched);
    assert!(
        ending.elapsed() < Duration::from_secs(2),
        "{:?}",
        ending.elapsed()
    );
}

#[tokio::test]
async fn a_file_above_the_size_limit_is_reported_until_it_is_smaller() {
    let large = deployment("a", 20, 1) + &"# filled up\n".repeat(5 << 20 >> 4);
    let large = large.clone() + &"#".repeat((5 << 20) - large.len());
    let mut watched = WatchedDirectory::open(
        |dir| fs::write(dir.join("a.yaml"), deployment("a", 10, 1)).unwrap(),
        brisk,
    );
    fs::write(watched.path("a.yaml"), &large).unwrap();
    let observed = watched
        .until("the problem", |w| !w.problems.is_empty())
        .await;
    let message = problem_of(&observed, "/a.yaml").unwrap();
    assert!(
        message.contains("more than 4194304 bytes (4 MiB), the limit of one file"),
        "{message}"
    );
    assert!(is(&observed, "a", 10));
    fs::write(watched.path("a.yaml"), &large[..4 << 20]).unwrap();
    let observed = watched.until("the smaller file", |w| is(w, "a", 20)).await;
    assert!(observed.problems.is_empty());
}

/// There is no event when a directory becomes readable again, or when the process has free descriptors again.
#[cfg(unix)]
#[tokio::test]
async fn a_failed_read_is_tried_again_in_each_round() {
    use std::os::unix::fs::symlink;
    let elsewhere = TempDir::new().unwrap();
    let (one, other) = (elsewhere.path().join("one"), elsewhere.path().join("other"));
    symlink(&other, &one).unwrap();
    symlink(&one, &other).unwrap();
    let mut watched =
        WatchedDirectory::open(|dir| symlink(&one, dir.join("a.yaml")).unwrap(), brisk);
    let observed = watched.observed.borrow().clone();
    let message = problem_of(&observed, "/a.yaml").unwrap();
    assert!(message.contains("cannot be read"), "{message}");
    // The link that the source watches stays as it is.
    fs::remove_file(&one).unwrap();
    fs::write(&one, deployment("a", 10, 1)).unwrap();
    let observed = watched.until("the file", |w| is(w, "a", 10)).await;
    assert!(observed.problems.is_empty());
}

#[tokio::test]
async fn subdirectories_are_read_watched_and_removed_with_recursive() {
    let prepare = |dir: &Path| {
        fs::create_dir_all(dir.join("team/deep")).unwrap();
        fs::create_dir(dir.join(".git")).unwrap();
        fs::write(dir.join("a.yaml"), deployment("a", 10, 1)).unwrap();
        fs::write(dir.join("team/deep/b.yaml"), deployment("b", 10, 1)).unwrap();
        fs::write(dir.join(".git/c.yaml"), deployment("c", 10, 1)).unwrap();
    };
    let flat = WatchedDirectory::open(prepare, |_| {});
    assert_eq!(flat.observed.borrow().objects.carriers.len(), 1);
    // By events alone.
    let mut watched = WatchedDirectory::open(prepare, |options| options.recursive = true);
    assert_eq!(watched.observed.borrow().objects.carriers.len(), 2);
    fs::write(watched.path("team/deep/b.yaml"), deployment("b", 20, 1)).unwrap();
    watched.until("the edit below", |w| is(w, "b", 20)).await;
    fs::create_dir(watched.path("new")).unwrap();
    fs::write(watched.path("new/d.yaml"), deployment("d", 10, 1)).unwrap();
    watched.until("the new directory", |w| is(w, "d", 10)).await;
    fs::write(watched.path("new/d.yaml"), deployment("d", 30, 1)).unwrap();
    watched.until("the edit in it", |w| is(w, "d", 30)).await;
    fs::remove_dir_all(watched.path("team")).unwrap();
    let observed = watched
        .until("the removal", |w| weight(w, "b").is_none())
        .await;
    assert!(is(&observed, "a", 10) && is(&observed, "d", 30));
    assert!(observed.problems.is_empty(), "{:?}", observed.problems);
}

/// The delays make some files appear between the listing of their directory and the start of its watch. The next directory would
/// cause another listing, so each file is awaited first.
#[tokio::test]
async fn a_file_written_before_its_directory_is_watched_is_read() {
    let mut watched = WatchedDirectory::open(|_| {}, |options| options.recursive = true);
    for number in 0..150 {
        let name = format!("d{number}");
        fs::create_dir(watched.path(&name)).unwrap();
        std::thread::sleep(Duration::from_micros(number * 4));
        fs::write(
            watched.path(&format!("{name}/m.yaml")),
            deployment(&name, 10, 1),
        )
        .unwrap();
        watched.until("the file", |w| is(w, &name, 10)).await;
    }
}
