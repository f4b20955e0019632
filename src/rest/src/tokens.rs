//! The open sessions, by their tokens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use parking_lot::{Mutex, MutexGuard};
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::reply::Failure;
use super::{Config, Session};

/// How long an invalid token is remembered, so that its owner gets the reason for the refusal.
const MEMORY: Duration = Duration::from_hours(24);

/// A session's tokens, which are returned to the client once.
pub(super) struct Issued {
    pub session: String,
    pub master: String,
}

/// The reason why a token gives no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Missing,
    Unknown,
    /// The driver must renew the token.
    Expired,
    /// The driver must log in again.
    MasterExpired,
    Closed,
}

impl From<Refusal> for Failure {
    /// The texts are Snowflake's own, with their double blanks.
    fn from(refusal: Refusal) -> Self {
        let (code, text) = match refusal {
            Refusal::Missing => (
                390_101,
                "Authorization header not found in the request data.",
            ),
            Refusal::Unknown => (390_104, "User must login again to access the service."),
            Refusal::Expired => (
                390_112,
                "Your session has expired. Please login again to access the service.",
            ),
            Refusal::MasterExpired => (
                390_114,
                "Authentication token has expired.  The user must authenticate again.",
            ),
            Refusal::Closed => (
                390_111,
                "Session no longer exists.  New login required to access the service.",
            ),
        };
        let failure = Self::of(code, text);
        match refusal {
            Refusal::Missing | Refusal::Unknown => failure.with_status(StatusCode::UNAUTHORIZED),
            _ => failure,
        }
    }
}

/// The open sessions. Tokens are 256 random bits. Only their SHA-256 is stored, so that the time of
/// a lookup reveals nothing about other tokens.
pub(super) struct Sessions {
    session_validity: Duration,
    master_validity: Duration,
    tokens: Mutex<HashMap<[u8; 32], Token>>,
}

struct Token {
    open: Arc<OpenSession>,
    is_master: bool,
    /// When the token expires. A master token is valid as long as its session.
    expires: Instant,
}

/// A session, until it is closed or expires unused.
struct OpenSession(Mutex<State>);

struct State {
    session: Option<Arc<dyn Session>>,
    expires: Instant,
    /// Whether the client closed the session.
    is_closed: bool,
}

impl Sessions {
    pub fn new(config: &Config) -> Self {
        Self {
            session_validity: config.session_validity,
            master_validity: config.master_validity,
            tokens: Mutex::default(),
        }
    }

    /// Issues tokens for a new session.
    pub fn open(&self, session: Arc<dyn Session>) -> Result<Issued, Failure> {
        self.sweep();
        let open = Arc::new(OpenSession(Mutex::new(State {
            session: Some(session),
            expires: Instant::now() + self.master_validity,
            is_closed: false,
        })));
        self.issue(&open)
    }

    /// Returns the session of a session token, and extends its validity.
    pub fn get(&self, token: Option<&str>) -> Result<Arc<dyn Session>, Refusal> {
        let (open, expires) = self.find(token, false)?;
        let session = open
            .touch(self.master_validity)
            .map_err(|refusal| match refusal {
                // The driver then tries to renew the token, and gets this reason.
                Refusal::MasterExpired => Refusal::Expired,
                other => other,
            })?;
        if expires > Instant::now() {
            Ok(session)
        } else {
            Err(Refusal::Expired)
        }
    }

    /// Issues new tokens for the session of a master token. The old tokens stay valid for their
    /// time, because other threads may be using them.
    pub fn renew(&self, master: Option<&str>) -> Result<Issued, Failure> {
        let (open, _) = self.find(master, true)?;
        open.touch(self.master_validity)?;
        self.issue(&open)
    }

    /// Closes the session of a token. Does nothing if the token is not known.
    pub fn close(&self, token: Option<&str>) {
        if let Ok((open, _)) = self.find(token, false) {
            let mut state = open.lock();
            state.session = None;
            state.is_closed = true;
        }
    }

    pub fn session_validity(&self) -> Duration {
        self.session_validity
    }

    pub fn master_validity(&self) -> Duration {
        self.master_validity
    }

    fn issue(&self, open: &Arc<OpenSession>) -> Result<Issued, Failure> {
        let issued = Issued {
            session: random_token()?,
            master: random_token()?,
        };
        let expires = Instant::now() + self.session_validity;
        let mut tokens = self.lock();
        for (token, is_master) in [(&issued.session, false), (&issued.master, true)] {
            let token_of = Token {
                open: Arc::clone(open),
                is_master,
                expires,
            };
            tokens.insert(digest(token), token_of);
        }
        Ok(issued)
    }

    fn find(
        &self,
        token: Option<&str>,
        is_master: bool,
    ) -> Result<(Arc<OpenSession>, Instant), Refusal> {
        let token = token.ok_or(Refusal::Missing)?;
        let tokens = self.lock();
        let found = tokens
            .get(&digest(token))
            .filter(|found| found.is_master == is_master)
            .ok_or(Refusal::Unknown)?;
        Ok((Arc::clone(&found.open), found.expires))
    }

    /// Ends sessions that expired unused, and forgets tokens that became invalid long ago.
    fn sweep(&self) {
        let now = Instant::now();
        self.lock().retain(|_, token| {
            let mut state = token.open.lock();
            if state.expires <= now {
                state.session = None;
            }
            let good_until = if token.is_master {
                state.expires
            } else {
                token.expires
            };
            now < good_until + MEMORY
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Token>> {
        self.tokens.lock()
    }
}

impl OpenSession {
    fn touch(&self, validity: Duration) -> Result<Arc<dyn Session>, Refusal> {
        let mut state = self.lock();
        let now = Instant::now();
        if state.is_closed {
            return Err(Refusal::Closed);
        }
        if state.expires <= now {
            state.session = None;
        }
        let session = state.session.clone().ok_or(Refusal::MasterExpired)?;
        state.expires = now + validity;
        Ok(session)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn random_token() -> Result<String, Failure> {
    let mut bytes = [0_u8; 32];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| Failure::of(603, format!("no random numbers for a token: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
