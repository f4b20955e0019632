//! Roles: names and owners. Privileges are not checked.

use async_trait::async_trait;

use super::columns::{COMMENT, CREATED_ON, NAME, OWNER};
use super::{About, Kind, Object, Scope, properties};
use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::rows::Rows;

pub struct Definition;

const ABOUT: About = About {
    kind: Kind::Role,
    words: &["ROLE"],
    plural: &["ROLES"],
    scope: Scope::Account,
    noun: "Role",
    created: ("Role ", " successfully created."),
    properties: &[properties::COMMENT],
    columns: &[CREATED_ON, NAME, OWNER, COMMENT],
};

#[async_trait]
impl super::Definition for Definition {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    async fn describe(&self, _: &Session, _: &Object) -> SqlResult<Rows> {
        Err(SqlError::unsupported("DESCRIBE ROLE"))
    }
}
