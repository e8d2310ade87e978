//! Looking at directories and files, without judging what they hold.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What tells one content of a file from the next without reading it.
pub(crate) type Stamp = (u64, Option<SystemTime>, u64);

/// Whether a path is a manifest by its name: `.yaml`, `.yml` or `.json`, and not hidden (editors' and `kubectl`'s
/// own files begin with a dot).
pub(crate) fn is_manifest(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|e| e.to_str());
    !hidden && matches!(ending, Some("yaml" | "yml" | "json"))
}

/// The manifests of a directory, not of its subdirectories. Links are followed: that is how ConfigMaps are mounted.
pub fn manifests(directory: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if is_manifest(&path) && path.is_file() {
            files.insert(path);
        }
    }
    Ok(files)
}

/// Length, time of the last write, and inode where there is one (a file moved into place may keep the other two).
pub(crate) fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = fs::metadata(path)?;
    Ok((meta.len(), meta.modified().ok(), inode(&meta)))
}

#[cfg(unix)]
fn inode(meta: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}
