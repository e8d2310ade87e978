//! The version that gave a response of OpenAI's Responses API, for requests that continue it.
//!
//! A model server stores its responses, so a request with `previous_response_id` must go to the version that gave that response. The workers
//! of a proxy share a table of fixed size. A later response may replace an earlier one. A request with an unknown id is treated as if it
//! had none.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::host::Host;

/// Places of the table.
const PLACES: u64 = 4096;
/// Longest version that is kept, bytes.
const MAX_VERSION: usize = 63;

/// A response: its namespace, its model's id and its own id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Response<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) model: &'a str,
    pub(crate) id: &'a str,
}

impl Response<'_> {
    /// The key of its place, and its fingerprint.
    fn place(self) -> (String, [u8; 8]) {
        let mut hasher = SipHasher13::new();
        for part in [self.namespace, self.model, self.id] {
            hasher.write_u64(part.len() as u64);
            hasher.write(part.as_bytes());
        }
        let hash = hasher.finish();
        let key = format!("headgate.responses/{}", hash % PLACES);
        (key, hash.to_le_bytes())
    }

    /// Records the version that gave the response. If another worker writes to the same place at the same time, nothing is recorded.
    #[cold]
    pub(crate) fn record(self, version: &str, host: &dyn Host) {
        if version.is_empty() || version.len() > MAX_VERSION {
            return;
        }
        let (key, fingerprint) = self.place();
        let value = [&fingerprint[..], version.as_bytes()].concat();
        let cas = host.get(&key).map(|(_, cas)| cas);
        let _ = host.swap(&key, &value, cas);
    }

    /// The version that gave it.
    #[cold]
    pub(crate) fn version(self, host: &dyn Host) -> Option<String> {
        let (key, fingerprint) = self.place();
        let (value, _) = host.get(&key)?;
        let version = value.strip_prefix(&fingerprint[..])?;
        String::from_utf8(version.to_vec()).ok()
    }
}
