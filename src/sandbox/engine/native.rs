//! The engine `native`: not built in this version.

use super::{Found, Provider};
use crate::sandbox::{EngineKind, Options};

pub struct Native;

impl Provider for Native {
    fn kind(&self) -> EngineKind {
        EngineKind::Native
    }

    fn find(&self, _options: &Options) -> Result<Found, String> {
        Err("not in this version of icebox".to_owned())
    }
}
