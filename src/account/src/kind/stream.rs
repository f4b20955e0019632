//! Streams on the directory tables of stages: the changes that refreshes have found since the
//! stream was last consumed.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use serde::{Deserialize, Serialize};

use super::stage::{self, Change, DIRECTORY_COLUMNS};
use super::{Created, Ddl, KindInfo, ObjectKind};
use crate::object::columns::{
    self, COMMENT, CREATED_ON, Column, DATABASE_NAME, NAME, OWNER, OWNER_ROLE_TYPE, SCHEMA_NAME,
    TIME, column, text,
};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Create, Object, Scope, ddl};
use crate::session::Session;
use crate::{Kind, State};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;
use icebox_sql::types::DataType;

pub struct StreamKind;

/// The number of days after which an unconsumed stream is stale.
const STALE_AFTER_DAYS: i64 = 14;

const PROPERTIES: &[Property] = &[
    Property::new("APPEND_ONLY", PropertyType::Boolean),
    Property::new("INSERT_ONLY", PropertyType::Boolean),
    Property::new("SHOW_INITIAL_ROWS", PropertyType::Boolean),
    properties::COMMENT,
];

const SHOW: &[Column] = &[
    CREATED_ON,
    NAME,
    DATABASE_NAME,
    SCHEMA_NAME,
    OWNER,
    COMMENT,
    column("table_name", |stream| text(source(stream))),
    column("source_type", |_| "Stage".into()),
    column("base_tables", |stream| text(source(stream))),
    column("type", |_| "DELTA".into()),
    column("stale", |_| "false".into()),
    column("mode", |_| "DEFAULT".into()),
    Column {
        name: "stale_after",
        ty: TIME,
        value: |stream| {
            let consumed = stream
                .state::<Stream>()
                .map_or(stream.created_on, |state| state.consumed_on);
            columns::time(consumed + chrono::Duration::days(STALE_AFTER_DAYS))
        },
    },
    column("invalid_reason", |_| "N/A".into()),
    OWNER_ROLE_TYPE,
];

const INFO: KindInfo = KindInfo {
    properties: PROPERTIES,
    show: SHOW,
    has_terse: true,
    // DESCRIBE STREAM returns the row of SHOW STREAMS.
    describe: SHOW,
    ddl: Some(Ddl {
        object_type: "STREAM",
        statement: |_, stream, name| {
            let options = ddl::options(&stream.properties, PROPERTIES, " ");
            let stage = source(stream);
            Some(format!(
                "create or replace stream {name} on stage {stage}{options}"
            ))
        },
    }),
    ..KindInfo::new(
        Kind::Stream,
        &["STREAM"],
        "STREAMS",
        Scope::Schema,
        "Stream",
    )
};

/// The state of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stream {
    /// The stage's full name and id. The stream becomes unreadable when the stage is replaced,
    /// which changes its id.
    pub stage: ObjectName,
    pub stage_id: u64,
    /// The number of the last change that was consumed.
    pub offset: u64,
    pub consumed_on: DateTime<Utc>,
}

/// Returns whether a stream has data, and was last consumed before `since`.
pub fn is_unconsumed(session: &Session, name: &ObjectName, since: DateTime<Utc>) -> bool {
    let known = session.full_name(Kind::Stream, name).ok();
    let stream = known.and_then(|full| session.account().get(Kind::Stream, &full));
    let state = stream.as_ref().and_then(Object::state::<Stream>);
    state.is_some_and(|state| state.consumed_on < since) && has_data(session, name).unwrap_or(false)
}

fn source(stream: &Object) -> String {
    stream
        .state::<Stream>()
        .map(|state| state.stage.to_string())
        .unwrap_or_default()
}

/// Returns the stream's stage and its net changes: each path appears at most once with each action.
/// A file that was added and removed again does not appear.
fn changes(session: &Session, stream: &Object) -> SqlResult<(Object, Vec<Change>)> {
    let state = stream
        .state::<Stream>()
        .ok_or_else(|| Kind::Stream.missing(&stream.name))?;
    let stage = session.account().get(Kind::Stage, &state.stage);
    let stage = stage
        .filter(|stage| stage.id == state.stage_id)
        .ok_or_else(|| {
            let text = format!(
                "Base table '{}' dropped, cannot read from stream '{}'.",
                state.stage,
                stream.name.last()
            );
            SqlError::compilation(code::STREAM_STALE, text)
        })?;
    // By path: the removal of the file that existed at the offset, and the insertion of the present
    // one.
    let mut net: BTreeMap<String, (Option<Change>, Option<Change>)> = BTreeMap::new();
    for change in stage::state_of(&stage).changes {
        if change.number <= state.offset {
            continue;
        }
        let entry = net.entry(change.path.clone()).or_default();
        match (change.is_insert, &entry.1) {
            (true, _) => entry.1 = Some(change),
            (false, Some(_)) => entry.1 = None,
            (false, None) => entry.0 = Some(change),
        }
    }
    let changes = net.into_values().filter(|(old, new)| {
        let files = (
            old.as_ref().map(|one| &one.file),
            new.as_ref().map(|one| &one.file),
        );
        !matches!(files, (Some(old), Some(new)) if old == new)
    });
    let changes = changes.flat_map(|(old, new)| [old, new]).flatten();
    Ok((stage, changes.collect()))
}

/// Runs `SYSTEM$STREAM_HAS_DATA`.
pub fn has_data(session: &Session, name: &ObjectName) -> SqlResult<bool> {
    let full = session.full_name(Kind::Stream, name)?;
    let stream = session.account().find(Kind::Stream, &full)?;
    Ok(!changes(session, &stream)?.1.is_empty())
}

/// Returns the rows of a stream, and the number of the last change that they include.
pub fn rows(session: &Session, stream: &Object) -> SqlResult<(Rows, u64)> {
    let (stage, changes) = changes(session, stream)?;
    let mut columns = DIRECTORY_COLUMNS.to_vec();
    columns.extend([
        ("METADATA$ACTION", DataType::TEXT),
        ("METADATA$ISUPDATE", DataType::Boolean),
        ("METADATA$ROW_ID", DataType::TEXT),
    ]);
    let rows = changes.iter().map(|change| {
        let mut row = stage::directory_row(session, &stage.name, &change.path, &change.file);
        row.extend([
            text(if change.is_insert { "INSERT" } else { "DELETE" }),
            ScalarValue::Boolean(Some(false)),
            text(""),
        ]);
        row
    });
    let rows = Rows::from_values(&columns, rows.collect::<Vec<_>>())?;
    Ok((rows, stage::state_of(&stage).last_change()))
}

/// Advances a stream's offset over the changes that a DML statement has read.
pub fn consume(session: &Session, name: &ObjectName, offset: u64) -> SqlResult<()> {
    let now = session.account().now();
    session.account().update(Kind::Stream, name, |stream| {
        if let Some(state) = stream.state_mut::<Stream>() {
            state.offset = state.offset.max(offset);
            state.consumed_on = now;
        }
        Ok(())
    })
}

#[async_trait]
impl ObjectKind for StreamKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn check(&self, _: &Session, properties: &Properties) -> SqlResult<()> {
        for option in ["APPEND_ONLY", "SHOW_INITIAL_ROWS"] {
            if properties.is_true(option) {
                let text = format!("Streams on directories cannot have {option} set to true.");
                return Err(SqlError::compilation(code::UNSUPPORTED_FEATURE, text));
            }
        }
        Ok(())
    }

    async fn create(
        &self,
        session: &Session,
        create: Create,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Created> {
        if !cursor.accept("ON STAGE") {
            if cursor.accept("ON TABLE") || cursor.accept("ON VIEW") {
                return Err(SqlError::unsupported("CREATE STREAM ON TABLE"));
            }
            return Err(cursor.unexpected());
        }
        let stage = cursor.name(3)?;
        if cursor.is_next("AT") || cursor.is_next("BEFORE") {
            return Err(SqlError::compilation(
                code::UNSUPPORTED_FEATURE,
                "Time travel not supported for stream creation on stages.",
            ));
        }
        let properties = Properties::parse_new(cursor, PROPERTIES)?;
        cursor.expect_end()?;
        self.check(session, &properties)?;
        let stage = stage::with_directory(session, &stage)?;
        let state = State::Stream(Stream {
            stage: stage.name.clone(),
            stage_id: stage.id,
            offset: stage::state_of(&stage).last_change(),
            consumed_on: session.account().now(),
        });
        let rows = session.create(Kind::Stream, &create, properties, state)?;
        Ok(Created::Done(rows))
    }
}
