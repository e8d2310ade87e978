//! A piece of content with its media type and digest.

use std::str::FromStr;

use oci_spec::image::{Descriptor, Digest, MediaType};
use sha2::{Digest as _, Sha256};

use crate::Failure;

/// Content that is addressed by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its media type.
    pub media_type: MediaType,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
}

impl Blob {
    /// A blob of these bytes.
    #[must_use]
    pub fn new(media_type: MediaType, bytes: Vec<u8>) -> Self {
        let digest = format!("sha256:{}", sha256(&bytes));
        Self {
            media_type,
            bytes,
            digest,
        }
    }

    /// Its descriptor, which a manifest contains.
    ///
    /// # Errors
    /// None for a digest that [`Self::new`] made.
    pub fn descriptor(&self) -> Result<Descriptor, Failure> {
        let digest = Digest::from_str(&self.digest)?;
        let size = self.bytes.len() as u64;
        Ok(Descriptor::new(self.media_type.clone(), size, digest))
    }
}

/// The SHA-256 of bytes, in lower-case hex.
#[must_use]
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
