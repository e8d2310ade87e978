//! Tokens and key sets as identity providers publish them. `inputs/` has a key set of the form of Keycloak's, and a token that its RSA key
//! signed; it is valid until 2100.

use headgate_testkit::jwt::KeyServer;
use serde_json::{Value, json};

use crate::common::{received, refused, start, with_token};

const KEYS: &str = include_str!("inputs/keycloak-keys.json");
const TOKEN: &str = include_str!("inputs/keycloak-token.txt");

/// A policy for the issuer of the token.
fn spec(jwks: &Value) -> Value {
    json!({ "jwt": [{ "issuer": "https://keycloak.test/realms/apps", "audiences": ["models"], "jwks": jwks }] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_rsa_token_passes_beside_keys_for_encryption_and_of_unknown_types() {
    let server = KeyServer::start(KEYS.to_owned()).await.unwrap();
    for jwks in [json!({ "inline": KEYS }), json!({ "uri": server.uri() })] {
        let testbed = start(&spec(&jwks), &[]).await;
        let token = TOKEN.trim();
        let reply = with_token(&testbed, token).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(received(&reply)["x-headgate-tenant"], "acme");
        // The same token with another signature.
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
        refused(
            &with_token(&testbed, &forged).await,
            401,
            "Jwt verification fails",
        );
    }
}
