//! The audit trail: requests to the sandbox's AWS account and their answers.

use std::collections::VecDeque;

use super::Arguments;
use super::history::range;
use crate::object::columns::{Column, count, optional, result_set, text, time, yes_no};
use crate::session::Session;
use icebox_aws::audit::Entry;
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::rows::Rows;

/// Returns the entries of the audit trail, newest first: 100, unless `RESULT_LIMIT` says otherwise.
pub fn trail(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let is_in = range(arguments, "START_TIME", "END_TIME")?;
    let limit = arguments.limit(100)?;
    let Some(mut reader) = session.account().host.audit() else {
        let feature = "audit trail with the engine containers";
        return Err(SqlError::unsupported(feature));
    };
    let mut entries = VecDeque::new();
    while let Some(entry) = reader.read().map_err(|error| SqlError::internal(&error))? {
        if is_in(entry.time) {
            entries.push_front(entry);
            entries.truncate(limit);
        }
    }
    result_set(COLUMNS, &entries)
}

const COLUMNS: &[Column<Entry>] = &[
    Column::time("EVENT_TIME", |entry| time(entry.time)),
    Column::text("IS_ALLOWED", |entry| yes_no(entry.allowed)),
    Column::text("ACTION", |entry| text(entry.action.clone())),
    Column::text("RESOURCE", |entry| text(entry.resource.clone())),
    Column::text("PRINCIPAL", |entry| optional(entry.principal.clone())),
    Column::text("SESSION_NAME", |entry| optional(entry.session_name.clone())),
    Column::text("REASON", |entry| text(entry.reason.clone())),
    Column::number("STATUS", |entry| count(u64::from(entry.status))),
    Column::text("ERROR_CODE", |entry| optional(entry.error_code.clone())),
    Column::number("BYTES", |entry| count(entry.bytes)),
    Column::text("SOURCE_IP", |entry| optional(entry.source_ip.clone())),
    Column::text("USER_AGENT", |entry| optional(entry.user_agent.clone())),
    Column::text("REQUEST_ID", |entry| text(entry.request_id.clone())),
];
