//! Listing of directories and reading of files; content is not interpreted.
//!
//! Invariant: no call blocks on another process. Only regular files are read, and at most [`LIMIT`] bytes of each.

use std::collections::BTreeSet;
use std::fs::{self, File, FileType};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Largest file that is read, in bytes: 4 MiB.
pub const LIMIT: u64 = 4 << 20;
/// Depth of subdirectories that are read.
const DEEPEST: usize = 32;

/// The length, the time of the last write and the inode of a file: they change with its content.
pub type Stamp = (u64, Option<SystemTime>, u64);

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system returned an error.
    #[error("{0}")]
    Failed(#[from] io::Error),
    /// Not a regular file: reading it may block forever.
    #[error("it is a {0}, not a regular file: write the manifests into a file, or remove it")]
    NotRegular(&'static str),
    /// It is larger than [`LIMIT`].
    #[error("it has more than {LIMIT} bytes (4 MiB), the limit of one file: split it")]
    TooLarge,
}

impl ReadError {
    /// Whether the file is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Failed(e) if e.kind() == io::ErrorKind::NotFound)
    }
}

/// Whether a path has the name of a manifest: `.yaml`, `.yml` or `.json`, and not hidden (temporary files of editors and `kubectl` begin
/// with a dot).
pub(crate) fn is_manifest(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str());
    !is_hidden(path) && matches!(ending, Some("yaml" | "yml" | "json"))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The content of a directory.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The directory itself and, if enabled, its subdirectories.
    pub(crate) directories: BTreeSet<PathBuf>,
    /// Entries with the name of a manifest, even those that are not regular files.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Subdirectories that cannot be read.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
}

/// The manifests of a directory and, if `recursive`, of its subdirectories. Links to files are followed, because ConfigMaps are mounted
/// as links; links to directories are not, because they can form cycles.
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
                    Err(e) => tree.unreadable.push((directory, e)),
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
/// [`ReadError`]: the file is not regular or too large, or the system returned an error.
pub fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    // Opening a device can have side effects, so the type is checked before opening, and again after, because the file may be replaced.
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
        return Err(ReadError::TooLarge);
    }
    let mut bytes = Vec::new();
    // The file may grow during the read, or report no length.
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= LIMIT) {
        Ok(bytes)
    } else {
        Err(ReadError::TooLarge)
    }
}

fn regular(kind: FileType) -> Result<(), ReadError> {
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_dir() {
        return Err(ReadError::NotRegular("directory"));
    }
    Err(ReadError::NotRegular(special(kind)))
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

/// The stamp of a file. The inode matters because a file that is moved into place may keep length and time.
///
/// # Errors
/// The metadata of the file cannot be read.
pub fn stamp(path: &Path) -> io::Result<Stamp> {
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
