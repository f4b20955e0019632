//! Temporary credentials.
//!
//! They are not stored. The session token contains the session and a signature made with the
//! service's secret, and the secret access key is derived from the access key id and that secret.
//! So credentials survive a restart, and any number of them takes no space.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use super::secret::constant_time_eq;
use super::{AccountId, Secret, id};

/// The prefix of all session access key ids.
const PREFIX: &str = "ASIA";
/// The number of random characters in an access key id. [`CHECK`] more characters distinguish a key
/// of this service from an invented one.
const RANDOM: usize = 10;
const CHECK: usize = 6;

/// The content of a session token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    /// The access key id that the token belongs to.
    pub key: String,
    pub account: AccountId,
    #[serde(rename = "of")]
    pub principal: SessionPrincipal,
    pub issued: DateTime<Utc>,
    pub expires: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
}

/// The principal that a session belongs to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SessionPrincipal {
    Root,
    /// A user, by unique id.
    User {
        id: String,
    },
    Role {
        id: String,
        session_name: String,
    },
}

/// Signs session tokens and verifies them.
pub(super) struct Signer(Secret);

impl Signer {
    pub fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// Returns a new session access key id.
    pub fn new_key(&self) -> String {
        let random = id::random(id::DIGITS, RANDOM);
        format!("{PREFIX}{random}{}", self.check(&random))
    }

    /// Returns the secret access key of a session's access key id; `None` for an id that this
    /// service did not issue.
    pub fn secret_of(&self, key: &str) -> Option<Secret> {
        let random_and_check = key.strip_prefix(PREFIX)?;
        let (random, check) = random_and_check.split_at_checked(RANDOM)?;
        constant_time_eq(check, &self.check(random))
            .then(|| Secret::from(&self.mac("secret access key", key)[..40]))
    }

    /// Returns the session token of a session.
    pub fn sign(&self, session: &Session) -> serde_json::Result<String> {
        let payload = serde_json::to_string(session)?;
        let mac = self.mac("session token", &payload);
        Ok(BASE64_STANDARD.encode(mac + &payload))
    }

    /// Returns the session in a token of this service; `None` for any other text.
    pub fn read(&self, token: &str) -> Option<Session> {
        let bytes = BASE64_STANDARD.decode(token).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (mac, payload) = text.split_at_checked(64)?;
        constant_time_eq(mac, &self.mac("session token", payload))
            .then(|| serde_json::from_str(payload).ok())
            .flatten()
    }

    fn check(&self, random: &str) -> String {
        let mac = self.mac("access key", random);
        mac.as_bytes()[..CHECK * 2]
            .chunks(2)
            .map(|pair| {
                let text = std::str::from_utf8(pair).unwrap_or_default();
                let value = usize::from_str_radix(text, 16).unwrap_or_default();
                char::from(id::DIGITS[value % id::DIGITS.len()])
            })
            .collect()
    }

    /// Returns an HMAC-SHA256 in hexadecimal: 64 characters.
    fn mac(&self, purpose: &str, text: &str) -> String {
        let message = format!("{purpose}\n{text}");
        aws_sigv4::sign::v4::calculate_signature(self.0.expose(), message.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(key: &str) -> Session {
        Session {
            key: key.to_owned(),
            account: "123456789012".parse().expect("an id"),
            principal: SessionPrincipal::Root,
            issued: Utc::now(),
            expires: Utc::now(),
            policy: None,
            source_identity: None,
        }
    }

    #[test]
    fn sessions_are_known_again_by_the_same_secret_only() {
        let (own, other) = (Signer::new("one".into()), Signer::new("two".into()));
        let key = own.new_key();
        assert_eq!(key.len(), 20);
        let secret = own.secret_of(&key).expect("an own key");
        assert_eq!(secret.expose().len(), 40);
        assert_eq!(
            secret.expose(),
            Signer::new("one".into())
                .secret_of(&key)
                .expect("an own key")
                .expose()
        );
        assert!(other.secret_of(&key).is_none());

        let token = own.sign(&session(&key)).expect("a token");
        assert_eq!(own.read(&token).expect("an own token").key, key);
        assert!(other.read(&token).is_none());
    }

    #[test]
    fn what_was_changed_or_invented_is_refused() {
        let signer = Signer::new("one".into());
        let key = signer.new_key();
        let token = signer.sign(&session(&key)).expect("a token");
        let payload =
            String::from_utf8(BASE64_STANDARD.decode(&token).expect("base64")).expect("text");
        let changed = BASE64_STANDARD.encode(payload.replace("root", "boot"));
        for wrong in [
            changed.as_str(),
            "",
            "é",
            "AAAA",
            &token[4..],
            &token[..token.len() - 8],
        ] {
            assert!(signer.read(wrong).is_none(), "{wrong}");
        }
        for wrong in [
            "",
            "ASIA",
            "ASIAé",
            "ASIAAAAAAAAAAAAAAAAA",
            "AKIAAAAAAAAAAAAAAAAA",
            &key[..19],
        ] {
            assert!(signer.secret_of(wrong).is_none(), "{wrong}");
        }
    }
}
