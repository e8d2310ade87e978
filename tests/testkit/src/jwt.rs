//! An issuer of JSON Web Tokens, and a server that publishes its keys.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Seconds for which a token is valid, if its claims do not say otherwise.
const LIFETIME: u64 = 3600;

/// A key pair that an issuer signs with (ES256).
pub struct TokenIssuer {
    issuer: String,
    kid: String,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

/// A key pair that cannot be made, or a signature that fails.
#[derive(Debug, thiserror::Error)]
#[error("the key pair of a token issuer is unusable")]
pub struct UnusableKey;

impl TokenIssuer {
    /// A new key pair with this key id.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(issuer: &str, kid: &str) -> Result<Self, UnusableKey> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| UnusableKey)?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random);
        Ok(Self {
            issuer: issuer.to_owned(),
            kid: kid.to_owned(),
            key: key.map_err(|_| UnusableKey)?,
            random,
        })
    }

    /// A signed token with these claims; `iss` and `exp` (in an hour) are added if they are absent.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn token(&self, claims: &Value) -> Result<String, UnusableKey> {
        let signed = self.unsigned("ES256", claims);
        let signature = self.key.sign(&self.random, signed.as_bytes());
        let signature = signature.map_err(|_| UnusableKey)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Header and payload of a token with this `alg`, without a signature.
    #[must_use]
    pub fn unsigned(&self, alg: &str, claims: &Value) -> String {
        let mut payload = json!({ "iss": self.issuer, "exp": now() + LIFETIME });
        for (name, value) in claims.as_object().into_iter().flatten() {
            payload[name] = value.clone();
        }
        let header = json!({ "alg": alg, "kid": self.kid, "typ": "JWT" });
        let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        format!("{}.{}", part(&header), part(&payload))
    }

    /// The public key as a JSON Web Key.
    #[must_use]
    pub fn public_key(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let point = self.key.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }
}

/// A JSON Web Key Set of the public keys of these issuers.
#[must_use]
pub fn key_set(issuers: &[&TokenIssuer]) -> String {
    let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.public_key()).collect();
    json!({ "keys": keys }).to_string()
}

/// The time in Unix seconds.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A server on loopback that answers every request with a key set. It ends when it is dropped.
pub struct KeyServer {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl KeyServer {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(keys: String) -> std::io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), keys).await
    }

    /// Starts it at this address.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start_at(address: SocketAddr, keys: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let answer = Arc::new(Mutex::new(keys));
        let requests = Arc::new(AtomicU64::new(0));
        let (current, count) = (answer.clone(), requests.clone());
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let answer = current.lock().unwrap_or_else(PoisonError::into_inner);
                let answer = answer.clone();
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(respond(connection, answer));
            }
        });
        Ok(Self {
            address,
            answer,
            requests,
            task,
        })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it publishes the keys.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    /// Publishes other keys from now on.
    pub fn publish(&self, keys: String) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The number of connections so far; each has one request.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond(mut connection: TcpStream, body: String) {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match connection.read(&mut buffer).await {
            Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    let length = body.len();
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    // A client that went away needs no answer.
    let _ = connection.write_all(response.as_bytes()).await;
    let _ = connection.shutdown().await;
}
