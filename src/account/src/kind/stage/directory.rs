//! Directory tables: the files of a stage as last listed, and the changes that refreshes have
//! found.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use serde::{Deserialize, Serialize};

use super::{has_directory, list};
use crate::account::Account;
use crate::object::Object;
use crate::object::columns::{self, optional, text};
use crate::session::Session;
use crate::{Kind, State};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;
use icebox_sql::types::{DataType, MAX_LAKE_TEXT};

/// The state of a stage: its directory table and the changes to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stage {
    /// The files, by their paths relative to the stage's URL.
    pub files: BTreeMap<String, File>,
    /// The changes, oldest first, without those that all streams have consumed.
    pub changes: Vec<Change>,
    /// The number of the newest change that was removed because all streams have consumed it.
    #[serde(default)]
    pub consumed: u64,
}

/// A file as in a listing of the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// In bytes.
    pub size: u64,
    pub last_modified: DateTime<Utc>,
    pub etag: String,
}

/// A file that a refresh has added to the directory table or removed from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    /// Counts from 1.
    pub number: u64,
    pub path: String,
    pub file: File,
    pub is_insert: bool,
}

impl Stage {
    /// Returns the number of the newest change.
    pub fn last_change(&self) -> u64 {
        self.changes
            .last()
            .map_or(self.consumed, |change| change.number)
    }

    /// Removes the changes up to a number, inclusive.
    fn discard(&mut self, number: u64) {
        self.changes.retain(|change| change.number > number);
        self.consumed = self.consumed.max(number);
    }

    /// Updates the directory table from a new listing of the files below `prefix`. Returns the
    /// changes as REFRESH shows them: path and status.
    pub(super) fn refresh(
        &mut self,
        listed: BTreeMap<String, File>,
        prefix: &str,
    ) -> Vec<(String, &'static str)> {
        let mut answer = Vec::new();
        let known: Vec<String> = self.files.keys().cloned().collect();
        for path in known.iter().filter(|path| path.starts_with(prefix)) {
            if !listed.contains_key(path)
                && let Some(file) = self.files.remove(path)
            {
                self.change(path, file, false);
                answer.push((path.clone(), "UNREGISTERED"));
            }
        }
        for (path, file) in listed {
            match self.files.insert(path.clone(), file.clone()) {
                Some(old) if old == file => {}
                Some(old) => {
                    self.change(&path, old, false);
                    self.change(&path, file, true);
                    answer.push((path, "REGISTERED_UPDATE"));
                }
                None => {
                    self.change(&path, file, true);
                    answer.push((path, "REGISTERED_NEW"));
                }
            }
        }
        answer
    }

    fn change(&mut self, path: &str, file: File, is_insert: bool) {
        self.changes.push(Change {
            number: self.last_change() + 1,
            path: path.to_owned(),
            file,
            is_insert,
        });
    }
}

/// Returns the stage of a name. Without a directory table it is an error.
pub fn with_directory(session: &Session, name: &ObjectName) -> SqlResult<Object> {
    let full = session.full_name(Kind::Stage, name)?;
    let stage = session.account().find(Kind::Stage, &full)?;
    if has_directory(&stage) {
        Ok(stage)
    } else {
        let text = format!("DIRECTORY not enabled for the stage {}", name.last());
        Err(SqlError::compilation(code::SYNTAX, text))
    }
}

/// Returns the state of a stage.
pub fn state_of(stage: &Object) -> Stage {
    stage.state::<Stage>().cloned().unwrap_or_default()
}

/// Returns the number of the last change that all streams on a stage have consumed; `None` if there
/// is no stream.
fn consumed_by_all(account: &Account, stage: &Object) -> Option<u64> {
    let streams = account.list(Kind::Stream, &[]);
    let offsets = streams.iter().filter_map(|stream| match &stream.state {
        State::Stream(state) if state.stage == stage.name && state.stage_id == stage.id => {
            Some(state.offset)
        }
        _ => None,
    });
    offsets.min()
}

/// Updates a stage's directory table from the bucket, for paths that begin with `subpath`.
pub(super) async fn refresh(
    session: &Session,
    name: &ObjectName,
    subpath: &str,
) -> SqlResult<Vec<(String, &'static str)>> {
    let account = session.account();
    let stage = account.find(Kind::Stage, name)?;
    let listed = list(session, &stage, subpath).await?;
    // Without streams all changes are removed: a new stream starts after the last one.
    let consumed =
        consumed_by_all(account, &stage).unwrap_or_else(|| state_of(&stage).last_change());
    account.update(Kind::Stage, name, |stage| {
        let mut state = state_of(stage);
        state.discard(consumed);
        let answer = state.refresh(listed, subpath);
        stage.state = state.into();
        Ok(answer)
    })
}

/// The columns of a directory table.
pub const DIRECTORY_COLUMNS: [(&str, DataType); 6] = [
    (
        "RELATIVE_PATH",
        DataType::Text {
            length: MAX_LAKE_TEXT,
        },
    ),
    ("SIZE", DataType::INTEGER),
    ("LAST_MODIFIED", DataType::TimestampTz { scale: 3 }),
    ("MD5", DataType::TEXT),
    ("ETAG", DataType::TEXT),
    ("FILE_URL", DataType::TEXT),
];

/// Returns a file as a row of a directory table.
pub fn directory_row(
    session: &Session,
    stage: &ObjectName,
    path: &str,
    file: &File,
) -> Vec<ScalarValue> {
    let account = session.account().host.account_locator().to_lowercase();
    // The ETag of a multipart upload is not an MD5.
    let md5 = (!file.etag.contains('-')).then(|| file.etag.clone());
    vec![
        text(path),
        ScalarValue::UInt64(Some(file.size)),
        columns::time(file.last_modified),
        optional(md5),
        text(file.etag.clone()),
        text(format!(
            "https://{account}.snowflakecomputing.com/api/files/{stage}/{path}"
        )),
    ]
}

/// Runs `DIRECTORY(@stage)`.
pub fn directory(session: &Session, name: &ObjectName) -> SqlResult<Rows> {
    let stage = with_directory(session, name).map_err(|error| match error.code {
        2003 => SqlError::compilation(
            code::OBJECT_NOT_FOUND,
            format_args!(
                "Stage '@{name}' provided to the function 'DIRECTORY' does not exist or is not authorized."
            ),
        ),
        _ => error,
    })?;
    let state = state_of(&stage);
    let rows = state.files.iter();
    let rows = rows.map(|(path, file)| directory_row(session, &stage.name, path, file));
    Rows::from_values(&DIRECTORY_COLUMNS, rows.collect::<Vec<_>>())
}
