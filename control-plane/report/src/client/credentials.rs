//! Credentials of the client.

use std::path::PathBuf;

use headgate_identity::ClientOptions;

/// The bearer token of the client, if it has one, and its TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The file of the token. It is read for each request, because the kubelet replaces it before the token expires.
    pub token_file: Option<PathBuf>,
    /// TLS; `None` for plaintext.
    pub tls: Option<ClientOptions>,
}

impl Credentials {
    /// The value of the header `Authorization`.
    ///
    /// # Errors
    /// The file cannot be read or is empty.
    pub(super) fn authorization(&self) -> Result<Option<String>, String> {
        let Some(file) = &self.token_file else {
            return Ok(None);
        };
        let wrong = |why: String| format!("--token-file {}: {why}", file.display());
        let token = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        match token.trim() {
            "" => Err(wrong("it is empty: write a token into it".to_owned())),
            token => Ok(Some(format!("Bearer {token}"))),
        }
    }
}
