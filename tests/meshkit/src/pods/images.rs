//! The table of images: what a container of an image contains, taken from this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An image: one program, files beside it, and the C library of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The entry point: an absolute path in the container.
    pub(super) entrypoint: PathBuf,
    /// Arguments if the manifest gives neither a command nor arguments.
    pub(super) args: Vec<String>,
    /// User of the processes, unless the manifest names one.
    pub(super) user: u32,
    /// Absolute paths in the container, and what they are on this machine.
    pub(super) files: BTreeMap<PathBuf, PathBuf>,
}

impl Image {
    /// An image whose entry point, an absolute path in it, is a program of this machine.
    #[must_use]
    pub fn new(entrypoint: impl Into<PathBuf>, program: impl Into<PathBuf>) -> Self {
        let entrypoint = entrypoint.into();
        Self {
            files: BTreeMap::from([(entrypoint.clone(), program.into())]),
            entrypoint,
            args: Vec::new(),
            user: 0,
        }
    }

    /// Adds a file or a directory, read-only.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>, source: impl Into<PathBuf>) -> Self {
        self.files.insert(path.into(), source.into());
        self
    }

    /// Sets the user, as `USER` of a Dockerfile; the default is 0.
    #[must_use]
    pub fn with_user(mut self, user: u32) -> Self {
        self.user = user;
        self
    }

    /// Sets the default arguments, as `CMD` of a Dockerfile with an entry point.
    #[must_use]
    pub fn with_args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Whether the container has something at this path.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.files.keys().any(|file| path.starts_with(file))
    }
}

/// The images by name, without tag and digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    by_name: BTreeMap<String, Image>,
}

impl Images {
    /// Adds an image. A tag or digest in `name` is ignored.
    #[must_use]
    pub fn with(mut self, name: &str, image: Image) -> Self {
        self.by_name.insert(repository(name).to_owned(), image);
        self
    }

    /// The image that a manifest refers to.
    pub(super) fn get(&self, reference: &str) -> Option<&Image> {
        self.by_name.get(repository(reference))
    }
}

/// `host:5000/a/b:tag@sha256:…` → `host:5000/a/b`.
fn repository(reference: &str) -> &str {
    let name = reference
        .split_once('@')
        .map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_under_any_tag_or_digest() {
        let images = Images::default().with("headgate/headgate", Image::new("/a", "/b"));
        for reference in [
            "headgate/headgate",
            "headgate/headgate:0.1.0",
            "headgate/headgate@sha256:00",
            "headgate/headgate:0.1.0@sha256:00",
        ] {
            assert!(images.get(reference).is_some(), "{reference}");
        }
        assert!(images.get("other/headgate").is_none());
        assert_eq!(repository("host:5000/a:1"), "host:5000/a");
        assert_eq!(repository("host:5000/a"), "host:5000/a");
    }
}
