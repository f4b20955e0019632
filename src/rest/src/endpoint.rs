//! The state that the handlers of requests share.

use std::sync::Arc;

use super::statements::Statements;
use super::tokens::Sessions;
use super::{Account, Config};

/// The state that the handlers share.
pub(super) struct Endpoint {
    pub account: Arc<dyn Account>,
    pub sessions: Sessions,
    pub statements: Statements,
    pub config: Config,
}

impl Endpoint {
    pub fn new(account: Arc<dyn Account>, config: Config) -> Self {
        Self {
            account,
            sessions: Sessions::new(&config),
            statements: Statements::new(config.max_results),
            config,
        }
    }
}
