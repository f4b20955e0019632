//! The audit entries of one request: decisions are collected while the request is answered, and
//! written once the answer is known.

use std::sync::Arc;

use http::{HeaderMap, Method, Response};
use parking_lot::Mutex;

use icebox_aws::audit::{self, Audit, Entry};
use icebox_aws::{Caller, Decision, RequestMeta};

/// Collects the decisions about a request, as an extension of that request. Clones share the same
/// entries.
#[derive(Clone)]
pub(super) struct RequestAudit(Arc<Mutex<Noted>>);

struct Noted {
    /// What is known of the request so far.
    request: Entry,
    decisions: Vec<Entry>,
}

impl RequestAudit {
    pub fn new(request_id: &str, meta: &RequestMeta) -> Self {
        Self(Arc::new(Mutex::new(Noted {
            request: meta.entry(request_id),
            decisions: Vec::new(),
        })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Noted) -> T) -> T {
        change(&mut self.0.lock())
    }

    /// Records the action and access key of a request, in case it is refused before a decision is
    /// made.
    pub fn set_action(&self, action: &str, access_key_id: Option<&str>) {
        self.with(|noted| {
            noted.request.action = action.to_owned();
            noted.request.access_key_id = access_key_id.map(str::to_owned);
        });
    }

    pub fn set_caller(&self, set_caller: &Caller) {
        self.with(|noted| noted.request.set_caller(set_caller));
    }

    pub fn add_decision(&self, action: &str, resource: &str, decision: &Decision) {
        self.with(|noted| {
            let mut entry = noted.request.clone();
            entry.set_decision(action, resource, decision);
            noted.decisions.push(entry);
        });
    }

    /// Writes the entries, with the answer's status and the number of bytes that were sent or
    /// received.
    pub fn close(self, audit: &Audit, sent: Sent, response: &Response<s3s::Body>) {
        // s3s does not expose the error, so the code is taken from the answer.
        let status = response.status();
        let code = audit::error_code(status, response.body().bytes().as_deref());
        let received = match sent.method {
            Method::HEAD => 0,
            _ => audit::body_size(response.headers()),
        };
        let noted = self.with(|noted| {
            let mut entries = std::mem::take(&mut noted.decisions);
            if entries.is_empty() {
                let mut entry = noted.request.clone();
                entry.reason = match &code {
                    Some(code) => format!("refused before it was authorised: {code}"),
                    None => "needs no permission".to_owned(),
                };
                entry.allowed = code.is_none();
                entries.push(entry);
            }
            entries
        });
        for mut entry in noted {
            entry.status = status.as_u16();
            entry.error_code.clone_from(&code);
            entry.bytes = received.max(sent.bytes);
            audit.append(entry);
        }
    }
}

/// The method and body size of a request that is being answered.
pub(super) struct Sent {
    method: Method,
    bytes: u64,
}

impl Sent {
    pub fn new(method: &Method, headers: &HeaderMap) -> Self {
        Self {
            method: method.clone(),
            bytes: audit::body_size(headers),
        }
    }
}
