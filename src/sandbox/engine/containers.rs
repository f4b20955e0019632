//! The engine `containers`: not built in this version.

use super::{Found, Missing, Provider};
use crate::sandbox::{EngineKind, Options};

pub struct Containers;

impl Provider for Containers {
    fn kind(&self) -> EngineKind {
        EngineKind::Containers
    }

    fn find(&self, _options: &Options) -> Result<Found, Missing> {
        Err("not in this version of icebox".to_owned().into())
    }
}
