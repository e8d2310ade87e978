//! Lists directories and reads files; it does not interpret content.
//!
//! Invariant: no call blocks on another process. Only regular files are read, and at most [`LIMIT`] bytes of each.

use std::collections::BTreeSet;
use std::fs::{self, File, FileType};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Largest file that is read, in bytes: 4 MiB.
pub const LIMIT: u64 = 4 << 20;
/// Deepest level of subdirectories that is read.
const DEEPEST: usize = 32;

/// What tells one content of a file from the next without reading it.
pub(crate) type Stamp = (u64, Option<SystemTime>, u64);

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The system refused.
    #[error("{0}")]
    Failed(#[from] io::Error),
    /// Not a regular file: reading it may block forever.
    #[error("it is a {0}, not a regular file: write the manifests into a file, or remove it")]
    NotRegular(&'static str),
    /// It is larger than [`LIMIT`].
    #[error("it has more than {LIMIT} bytes (4 MiB), the limit of one file: split it")]
    TooLarge,
}

impl Refused {
    /// Whether the file is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Failed(e) if e.kind() == io::ErrorKind::NotFound)
    }
}

/// Whether a path is a manifest by its name: `.yaml`, `.yml` or `.json`, and not hidden (editors' and `kubectl`'s
/// own files begin with a dot).
pub(crate) fn is_manifest(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str());
    !is_hidden(path) && matches!(ending, Some("yaml" | "yml" | "json"))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Itself and, if asked for, the directories below it.
    pub(crate) directories: BTreeSet<PathBuf>,
    /// Entries with the name of a manifest, even those that are not regular files.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Directories below it that cannot be read.
    pub(crate) lost: Vec<(PathBuf, io::Error)>,
}

/// The manifests of a directory, and with `recursive` of those below it. Links to files are followed, as that is how ConfigMaps
/// are mounted; links to directories are not, as they can lead round in circles.
///
/// # Errors
/// The directory itself cannot be read.
pub fn manifests(directory: &Path, recursive: bool) -> io::Result<BTreeSet<PathBuf>> {
    Ok(Tree::of(directory, recursive)?.files)
}

impl Tree {
    pub(crate) fn of(root: &Path, recursive: bool) -> io::Result<Self> {
        let mut tree = Self::default();
        let mut open = tree.enter(root)?;
        for _ in 0..DEEPEST {
            let below = if recursive { open } else { Vec::new() };
            open = Vec::new();
            for directory in below {
                match tree.enter(&directory) {
                    Ok(deeper) => open.extend(deeper),
                    // It was removed in the meantime.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => tree.lost.push((directory, e)),
                }
            }
        }
        Ok(tree)
    }

    /// Adds the files of a directory, and returns its subdirectories.
    fn enter(&mut self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut below = Vec::new();
        let (mut files, entries) = (Vec::new(), fs::read_dir(directory)?);
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !is_hidden(&path) {
                    below.push(path);
                }
            } else if is_manifest(&path) && !is_dangling(&path) {
                files.push(path);
            }
        }
        self.files.extend(files);
        self.directories.insert(directory.to_owned());
        Ok(below)
    }
}

fn is_dangling(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// The content of a file.
///
/// # Errors
/// [`Refused`]: it is no regular file, too large, or the system refused.
pub fn read(path: &Path) -> Result<Vec<u8>, Refused> {
    // Opening a device can have side effects, so the type is checked before; and again after, as the file may have been replaced.
    regular(fs::metadata(path)?.file_type())?;
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
    }
    let file = options.open(path)?;
    let meta = file.metadata()?;
    regular(meta.file_type())?;
    if meta.len() > LIMIT {
        return Err(Refused::TooLarge);
    }
    let mut bytes = Vec::new();
    // It may grow while it is read, or report no length.
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= LIMIT) {
        Ok(bytes)
    } else {
        Err(Refused::TooLarge)
    }
}

fn regular(kind: FileType) -> Result<(), Refused> {
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_dir() {
        return Err(Refused::NotRegular("directory"));
    }
    Err(Refused::NotRegular(special(kind)))
}

#[cfg(unix)]
fn special(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    if kind.is_fifo() {
        "FIFO"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(not(unix))]
fn special(_: FileType) -> &'static str {
    "special file"
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
