//! Roles: names and owners. Privileges are not checked.

use super::{KindInfo, ObjectKind, View};
use crate::Kind;
use crate::object::columns::{COMMENT, CREATED_ON, NAME, OWNER, column, name_part, text};
use crate::object::{Scope, properties};

pub struct RoleKind;

const INFO: KindInfo = KindInfo {
    properties: &[properties::COMMENT],
    show: &[CREATED_ON, NAME, OWNER, COMMENT],
    has_terse: true,
    view: Some(View {
        names: &["APPLICABLE_ROLES", "ENABLED_ROLES"],
        columns: &[
            column("ROLE_NAME", |role| name_part(role, 0)),
            column("ROLE_OWNER", |role| text(role.owner.as_str())),
        ],
    }),
    ..KindInfo::new(Kind::Role, &["ROLE"], "ROLES", Scope::Account, "Role")
};

impl ObjectKind for RoleKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }
}
