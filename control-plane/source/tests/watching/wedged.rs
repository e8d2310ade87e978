//! A file that is not a readable manifest must not block the source, exhaust its memory, or hide other changes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use headgate_model::Observed;
use headgate_source::files::Options;
use headgate_testkit::fifo;
use tempfile::TempDir;

use super::{Room, deployment, is, weight};

/// Scans often, and waits only briefly for writers.
fn brisk(options: &mut Options) {
    options.poll = Duration::from_millis(50);
    options.quiet = Duration::from_millis(20);
}

fn problem_of<'a>(world: &'a Observed, name: &str) -> Option<&'a str> {
    let mut problems = world.problems.iter();
    let problem = problems.find(|p| p.file.ends_with(name))?;
    Some(&problem.message)
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_not_regular_is_a_problem_and_stops_nothing() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let elsewhere = TempDir::new().unwrap();
    let mut room = Room::open(
        |dir| {
            fs::write(dir.join("a.yaml"), deployment("a", 10, 1)).unwrap();
            fs::write(dir.join("was.yaml"), deployment("was", 10, 1)).unwrap();
            fifo::make(&dir.join("first.yaml"));
        },
        brisk,
    );
    let begun = room.seen.borrow().clone();
    assert!(
        problem_of(&begun, "/first.yaml")
            .unwrap()
            .contains("it is a FIFO, not a regular file")
    );
    fifo::make(&room.path("later.yaml"));
    symlink("/dev/zero", room.path("zero.yaml")).unwrap();
    symlink(elsewhere.path(), room.path("dir.yaml")).unwrap();
    let _socket = UnixListener::bind(room.path("socket.yaml")).unwrap();
    fs::remove_file(room.path("was.yaml")).unwrap();
    fifo::make(&room.path("was.yaml"));
    let world = room
        .until("all five problems", |w| w.problems.len() == 6)
        .await;
    for (name, what) in [
        ("/later.yaml", "it is a FIFO"),
        ("/zero.yaml", "it is a device"),
        ("/dir.yaml", "it is a directory"),
        ("/socket.yaml", "it is a socket"),
    ] {
        let said = problem_of(&world, name).unwrap();
        assert!(
            said.contains(what) && said.ends_with("no object of the file is served"),
            "{said}"
        );
    }
    let said = problem_of(&world, "/was.yaml").unwrap();
    assert!(
        said.ends_with("the last valid content of the file is served"),
        "{said}"
    );
    assert!(is(&world, "was", 10));
    // Edits are still seen, and what is put right is read.
    fs::write(room.path("a.yaml"), deployment("a", 20, 1)).unwrap();
    room.until("the edit", |w| is(w, "a", 20)).await;
    fs::remove_file(room.path("later.yaml")).unwrap();
    fs::write(room.path("later.yaml"), deployment("later", 5, 1)).unwrap();
    room.until("the file in its place", |w| {
        is(w, "later", 5) && w.problems.len() == 5
    })
    .await;
    let ending = std::time::Instant::now();
    drop(room);
    assert!(
        ending.elapsed() < Duration::from_secs(2),
        "{:?}",
        ending.elapsed()
    );
}

#[tokio::test]
async fn a_file_above_the_limit_is_named_with_it_until_it_is_smaller() {
    let large = deployment("a", 20, 1) + &"# filled up\n".repeat(5 << 20 >> 4);
    let large = large.clone() + &"#".repeat((5 << 20) - large.len());
    let mut room = Room::open(
        |dir| fs::write(dir.join("a.yaml"), deployment("a", 10, 1)).unwrap(),
        brisk,
    );
    fs::write(room.path("a.yaml"), &large).unwrap();
    let world = room.until("the problem", |w| !w.problems.is_empty()).await;
    let said = problem_of(&world, "/a.yaml").unwrap();
    assert!(
        said.contains("more than 4194304 bytes (4 MiB), the limit of one file"),
        "{said}"
    );
    assert!(is(&world, "a", 10));
    fs::write(room.path("a.yaml"), &large[..4 << 20]).unwrap();
    let world = room.until("the smaller file", |w| is(w, "a", 20)).await;
    assert!(world.problems.is_empty());
}

/// A file system gives no event when a file's directory can be entered again, or a process has descriptors again.
#[cfg(unix)]
#[tokio::test]
async fn a_read_that_failed_is_tried_again_in_each_round() {
    use std::os::unix::fs::symlink;
    let elsewhere = TempDir::new().unwrap();
    let (one, other) = (elsewhere.path().join("one"), elsewhere.path().join("other"));
    symlink(&other, &one).unwrap();
    symlink(&one, &other).unwrap();
    let mut room = Room::open(|dir| symlink(&one, dir.join("a.yaml")).unwrap(), brisk);
    let world = room.seen.borrow().clone();
    let said = problem_of(&world, "/a.yaml").unwrap();
    assert!(said.contains("cannot be read"), "{said}");
    // The link that the source watches stays as it is.
    fs::remove_file(&one).unwrap();
    fs::write(&one, deployment("a", 10, 1)).unwrap();
    let world = room.until("the file", |w| is(w, "a", 10)).await;
    assert!(world.problems.is_empty());
}

#[tokio::test]
async fn directories_below_are_read_watched_and_forgotten_if_asked_for() {
    let prepare = |dir: &Path| {
        fs::create_dir_all(dir.join("team/deep")).unwrap();
        fs::create_dir(dir.join(".git")).unwrap();
        fs::write(dir.join("a.yaml"), deployment("a", 10, 1)).unwrap();
        fs::write(dir.join("team/deep/b.yaml"), deployment("b", 10, 1)).unwrap();
        fs::write(dir.join(".git/c.yaml"), deployment("c", 10, 1)).unwrap();
    };
    let flat = Room::open(prepare, |_| {});
    assert_eq!(flat.seen.borrow().objects.carriers.len(), 1);
    // By events alone.
    let mut room = Room::open(prepare, |options| options.recursive = true);
    assert_eq!(room.seen.borrow().objects.carriers.len(), 2);
    fs::write(room.path("team/deep/b.yaml"), deployment("b", 20, 1)).unwrap();
    room.until("the edit below", |w| is(w, "b", 20)).await;
    fs::create_dir(room.path("new")).unwrap();
    fs::write(room.path("new/d.yaml"), deployment("d", 10, 1)).unwrap();
    room.until("the new directory", |w| is(w, "d", 10)).await;
    fs::write(room.path("new/d.yaml"), deployment("d", 30, 1)).unwrap();
    room.until("the edit in it", |w| is(w, "d", 30)).await;
    fs::remove_dir_all(room.path("team")).unwrap();
    let world = room
        .until("the removal", |w| weight(w, "b").is_none())
        .await;
    assert!(is(&world, "a", 10) && is(&world, "d", 30));
    assert!(world.problems.is_empty(), "{:?}", world.problems);
}

/// The delays make some files appear between the listing of their directory and the start of its watch. The next directory would
/// cause another listing, so each file is awaited first.
#[tokio::test]
async fn a_file_written_before_its_directory_is_watched_is_read() {
    let mut room = Room::open(|_| {}, |options| options.recursive = true);
    for number in 0..150 {
        let name = format!("d{number}");
        fs::create_dir(room.path(&name)).unwrap();
        std::thread::sleep(Duration::from_micros(number * 4));
        fs::write(
            room.path(&format!("{name}/m.yaml")),
            deployment(&name, 10, 1),
        )
        .unwrap();
        room.until("the file", |w| is(w, &name, 10)).await;
    }
}
