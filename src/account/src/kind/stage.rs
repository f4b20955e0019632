//! External stages with their directory tables, which hold the files of a bucket as last listed.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use futures::FutureExt;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};
use sqlparser::tokenizer::Token;

use super::storage_integration::{self, STAGE, bucket_of};
use super::{Created, KindInfo, ObjectKind, View};
use crate::access;
use crate::account::Account;
use crate::object::columns::{
    self, COMMENT, CREATED, CREATED_ON, DATABASE_NAME, LAST_ALTERED, NAME, OWNER, OWNER_ROLE_TYPE,
    SCHEMA_NAME, VIEW_COMMENT, column, name_part, optional, text, yes_no,
};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Create, Object, Scope};
use crate::session::Session;
use crate::{Kind, State};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;
use icebox_sql::types::{DataType, MAX_LAKE_TEXT};
use icebox_tables::LakeIo;

pub struct StageKind;

const PROPERTIES: &[Property] = &[
    Property::new("URL", PropertyType::Text).required(),
    Property::new("STORAGE_INTEGRATION", PropertyType::Name).required(),
    Property::new("DIRECTORY", PropertyType::Options(DIRECTORY)),
    Property::new("FILE_FORMAT", PropertyType::Options(FILE_FORMAT)),
    properties::COMMENT,
];

const DIRECTORY: &[Property] = &[
    Property::new("ENABLE", PropertyType::Boolean).required(),
    Property::new("REFRESH_ON_CREATE", PropertyType::Boolean).with_default("TRUE"),
    Property::new("AUTO_REFRESH", PropertyType::Boolean).with_default("FALSE"),
];

/// The options of file formats, which a load uses where the COPY does not give them.
pub const FILE_FORMAT: &[Property] = &[
    Property::new("TYPE", PropertyType::OneOf(&["CSV", "PARQUET"])).with_default("'CSV'"),
    Property::new("FIELD_DELIMITER", PropertyType::Text),
    Property::new("SKIP_HEADER", PropertyType::Integer(0, 1_000_000)),
    Property::new("FIELD_OPTIONALLY_ENCLOSED_BY", PropertyType::Text),
    Property::new("NULL_IF", PropertyType::Texts),
];

const INFO: KindInfo = KindInfo {
    created_noun: "Stage area",
    properties: PROPERTIES,
    show: &[
        CREATED_ON,
        NAME,
        DATABASE_NAME,
        SCHEMA_NAME,
        column("url", |stage| text(url(stage))),
        column("has_credentials", |_| "N".into()),
        column("has_encryption_key", |_| "N".into()),
        OWNER,
        COMMENT,
        column("region", |_| "us-east-1".into()),
        column("type", |_| "EXTERNAL".into()),
        column("cloud", |_| "AWS".into()),
        column("notification_channel", |_| ScalarValue::Utf8(None)),
        column("storage_integration", |stage| {
            optional(stage.properties.text("STORAGE_INTEGRATION"))
        }),
        column("endpoint", |_| ScalarValue::Utf8(None)),
        OWNER_ROLE_TYPE,
        column("directory_enabled", |stage| {
            text(if has_directory(stage) { "Y" } else { "N" })
        }),
    ],
    view: Some(View {
        names: &["STAGES"],
        columns: &[
            column("STAGE_CATALOG", |object| name_part(object, 0)),
            column("STAGE_SCHEMA", |object| name_part(object, 1)),
            column("STAGE_NAME", |object| name_part(object, 2)),
            column("STAGE_URL", |object| text(url(object))),
            column("STAGE_REGION", |_| text("us-east-1")),
            column("STAGE_TYPE", |_| text("External Named")),
            column("STAGE_OWNER", |object| text(object.owner.as_str())),
            VIEW_COMMENT,
            CREATED,
            LAST_ALTERED,
            column("STORAGE_INTEGRATION", |object| {
                optional(object.properties.text("STORAGE_INTEGRATION"))
            }),
            column("DIRECTORY_ENABLED", |object| yes_no(has_directory(object))),
        ],
    }),
    ..KindInfo::new(Kind::Stage, &["STAGE"], "STAGES", Scope::Schema, "Stage")
};

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
    fn refresh(
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

/// Returns a stage's URL, ending in a slash.
pub fn url(stage: &Object) -> String {
    let url = stage.properties.text("URL").unwrap_or_default();
    format!("{}/", url.trim_end_matches('/'))
}

/// Returns whether a stage has a directory table.
pub fn has_directory(stage: &Object) -> bool {
    let options = stage.properties.options("DIRECTORY");
    options.is_some_and(|options| options.is_true("ENABLE"))
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

/// Returns the object store as a stage reaches it, through its storage integration.
///
/// # Errors
/// If the integration does not exist, is disabled or does not allow the stage's URL, or its role
/// cannot be assumed.
pub fn lake<'a>(session: &'a Session, stage: &'a Object) -> BoxFuture<'a, SqlResult<LakeIo>> {
    async move {
        let account = session.account();
        let Some(name) = stage.properties.name("STORAGE_INTEGRATION") else {
            return Ok(account.host.lake().clone());
        };
        let integration =
            storage_integration::of_type(session, name, STAGE, "STORAGE_INTEGRATION")?;
        if !integration.properties.is_true("ENABLED") {
            let text = format!("Integration {name} is not enabled.");
            return Err(SqlError::compilation(code::INTEGRATION_DISABLED, text));
        }
        storage_integration::check_location(&integration, &url(stage))?;
        access::through_integration(account, &integration).await
    }
    .boxed()
}

/// Lists the files of the bucket whose paths begin with `below`. Paths are relative to the stage's
/// URL.
pub fn list<'a>(
    session: &'a Session,
    stage: &'a Object,
    below: &'a str,
) -> BoxFuture<'a, SqlResult<BTreeMap<String, File>>> {
    async move {
        let url = url(stage);
        let lake = lake(session, stage).await?;
        // The object store lists by whole path segments, and `below` may end within one.
        let folder = match below.rfind('/') {
            Some(end) => &below[..end],
            None => "",
        };
        let (store, root) = lake
            .resolve(&url)
            .map_err(|error| SqlError::stage_failed(&error))?;
        let (_, within) = lake
            .resolve(&format!("{url}{folder}"))
            .map_err(|error| SqlError::stage_failed(&error))?;
        let found: Vec<ObjectMeta> = store
            .list(Some(&within))
            .try_collect()
            .await
            .map_err(|error| SqlError::stage_failed(&error))?;
        let files = found.into_iter().filter_map(|meta| {
            let parts = meta.location.prefix_match(&root)?;
            let parts: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
            let path = parts.join("/");
            path.starts_with(below).then(|| {
                let file = File {
                    size: meta.size,
                    last_modified: meta.last_modified,
                    etag: meta.e_tag.unwrap_or_default().trim_matches('"').to_owned(),
                };
                (path, file)
            })
        });
        Ok(files.collect())
    }
    .boxed()
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
async fn refresh(
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
    Rows::of(&DIRECTORY_COLUMNS, rows.collect::<Vec<_>>())
}

/// Runs `LIST @stage/path` on the bucket as it is now.
pub async fn list_rows(session: &Session, name: &ObjectName, below: &str) -> SqlResult<Rows> {
    let full = session.full_name(Kind::Stage, name)?;
    let stage = session.account().find(Kind::Stage, &full)?;
    let files = list(session, &stage, below).await?;
    let url = url(&stage);
    let rows = files.into_iter().map(|(path, file)| {
        let modified = file.last_modified.format("%a, %-d %b %Y %H:%M:%S GMT");
        vec![
            text(format!("{url}{path}")),
            ScalarValue::UInt64(Some(file.size)),
            text(file.etag),
            text(modified.to_string()),
        ]
    });
    Rows::of(
        &[
            ("name", DataType::TEXT),
            ("size", DataType::INTEGER),
            ("md5", DataType::TEXT),
            ("last_modified", DataType::TEXT),
        ],
        rows.collect::<Vec<_>>(),
    )
}

#[async_trait]
impl ObjectKind for StageKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn check(&self, session: &Session, properties: &Properties) -> SqlResult<()> {
        let url = properties.text("URL").unwrap_or_default();
        if bucket_of(&url).is_none() {
            return Err(SqlError::bad_value(url, "URL"));
        }
        if let Some(name) = properties.name("STORAGE_INTEGRATION") {
            let integration =
                storage_integration::of_type(session, name, STAGE, "STORAGE_INTEGRATION")?;
            storage_integration::check_location(&integration, &url)?;
        }
        Ok(())
    }

    async fn create(
        &self,
        session: &Session,
        create: Create,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Created> {
        let properties = Properties::parse_new(cursor, PROPERTIES)?;
        cursor.expect_end()?;
        self.check(session, &properties)?;
        let is_listed = properties.options("DIRECTORY").is_some_and(|options| {
            options.is_true("ENABLE") && options.is_true("REFRESH_ON_CREATE")
        });
        let is_skipped = session.is_skipped(Kind::Stage, &create)?;
        let mut state = Stage::default();
        if is_listed && !is_skipped {
            // A stage that cannot be listed is not created.
            let now = session.account().now();
            let probe = Object {
                name: session.full_name(Kind::Stage, &create.name)?,
                id: 0,
                owner: session.role(),
                created_on: now,
                updated_on: now,
                properties: properties.clone(),
                state: State::None,
                is_current: false,
            };
            state.refresh(list(session, &probe, "").await?, "");
        }
        let rows = session.create(Kind::Stage, &create, properties, state.into())?;
        Ok(Created::Done(rows))
    }

    async fn alter(
        &self,
        session: &Session,
        object: Object,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Rows> {
        cursor.expect("REFRESH")?;
        let mut subpath = String::new();
        if cursor.accept("SUBPATH") {
            cursor.expect_token(&Token::Eq)?;
            subpath = cursor.string()?;
        }
        cursor.expect_end()?;
        with_directory(session, &object.name)?;
        let changed = refresh(session, &object.name, &subpath).await?;
        let rows = changed.into_iter().map(|(path, status)| {
            let description = match status {
                "UNREGISTERED" => "File unregistered successfully.",
                _ => "File registered successfully.",
            };
            [
                Some(path),
                Some(status.to_owned()),
                Some(description.to_owned()),
            ]
        });
        Ok(Rows::texts(&["file", "status", "description"], rows))
    }

    async fn describe(&self, _: &Session, stage: &Object) -> SqlResult<Rows> {
        let mut rows = vec![
            (
                "STAGE_LOCATION",
                "URL",
                "String",
                Some(format!("[\"{}\"]", url(stage))),
                "",
            ),
            (
                "STAGE_INTEGRATION",
                "STORAGE_INTEGRATION",
                "String",
                stage.properties.text("STORAGE_INTEGRATION"),
                "",
            ),
        ];
        if let Some(options) = stage.properties.options("DIRECTORY") {
            rows.extend(DIRECTORY.iter().map(|property| {
                let value = options.text(property.name);
                ("DIRECTORY", property.name, "Boolean", value, "false")
            }));
        }
        let rows = rows.into_iter();
        Ok(columns::describe_property_groups(rows.map(
            |(parent, name, ty, value, default)| (parent, name.to_owned(), ty, value, default),
        )))
    }
}
