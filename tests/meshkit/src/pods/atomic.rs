//! Files of a volume that change together, in the layout of the kubelet.
//!
//! A volume has a directory `..TIME` with its files, a link `..data` to this directory, and a link to `..data/NAME` for each name. An
//! update makes a new directory and replaces the link `..data`. A program that watches the files must follow this link.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path};
use std::time::SystemTime;

use super::objects::Data;

const CURRENT: &str = "..data";

/// Makes `data` the content of a volume; nothing is touched if it is so already.
///
/// # Errors
/// A name that leaves the volume is [`io::ErrorKind::InvalidInput`].
pub(super) fn write(volume: &Path, data: &Data) -> io::Result<()> {
    let old = std::fs::read_link(volume.join(CURRENT)).ok();
    if old.is_some() && holds(volume, data)? {
        return Ok(());
    }
    let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let directory = format!("..{}", time.as_nanos());
    let mut names = BTreeSet::new();
    for (path, content) in data {
        let mut parts = Path::new(path).components();
        let inside = parts
            .clone()
            .all(|part| matches!(part, Component::Normal(_)));
        let Some(Component::Normal(first)) = parts.next().filter(|_| inside) else {
            let why = format!("path {path:?} leaves its volume");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        };
        names.insert(first.to_owned());
        let file = volume.join(&directory).join(path);
        std::fs::create_dir_all(file.parent().unwrap_or(volume))?;
        std::fs::write(&file, content)?;
    }
    std::fs::create_dir_all(volume.join(&directory))?;
    let next = volume.join("..data_tmp");
    symlink(&directory, &next)?;
    std::fs::rename(&next, volume.join(CURRENT))?;
    for name in &names {
        let link = volume.join(name);
        if !link.is_symlink() {
            symlink(Path::new(CURRENT).join(name), link)?;
        }
    }
    for entry in std::fs::read_dir(volume)? {
        let name = entry?.file_name();
        let own = name.to_string_lossy().starts_with("..");
        if !own && !names.contains(&name) {
            std::fs::remove_file(volume.join(name))?;
        }
    }
    match old {
        Some(old) => std::fs::remove_dir_all(volume.join(old)),
        None => Ok(()),
    }
}

/// Whether a volume has exactly these files.
fn holds(volume: &Path, data: &Data) -> io::Result<bool> {
    let current = volume.join(CURRENT);
    let mut same = data.iter().map(|(path, content)| {
        std::fs::read(current.join(path)).is_ok_and(|read| read == *content)
    });
    Ok(same.all(|same| same) && files(&current)? == data.len())
}

/// The number of files below a directory.
fn files(dir: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        count += if path.is_dir() { files(&path)? } else { 1 };
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn data(entries: &[(&str, &str)]) -> Data {
        let owned =
            |(path, content): &(&str, &str)| ((*path).to_owned(), content.as_bytes().to_vec());
        entries.iter().map(owned).collect()
    }

    #[test]
    fn an_update_replaces_all_files_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).ok();
        write(dir.path(), &data(&[("a", "1"), ("b/c", "2")])).unwrap();
        assert_eq!(
            (read("a"), read("b/c")),
            (Some("1".into()), Some("2".into()))
        );
        let before = std::fs::read_link(dir.path().join(CURRENT)).unwrap();
        write(dir.path(), &data(&[("a", "1"), ("b/c", "2")])).unwrap();
        assert_eq!(
            std::fs::read_link(dir.path().join(CURRENT)).unwrap(),
            before
        );
        write(dir.path(), &data(&[("a", "3"), ("d", "4")])).unwrap();
        assert_eq!((read("a"), read("d")), (Some("3".into()), Some("4".into())));
        assert_eq!(read("b/c"), None);
        assert_ne!(
            std::fs::read_link(dir.path().join(CURRENT)).unwrap(),
            before
        );
        assert!(!dir.path().join(before).exists());
        for path in ["../a", "/a", "a/../../b"] {
            assert!(write(dir.path(), &data(&[(path, "")])).is_err(), "{path}");
        }
    }
}
