//! External stages with their directory tables, which hold the files of a bucket as last listed.

mod directory;

use std::collections::BTreeMap;

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use futures::FutureExt;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use object_store::ObjectMeta;
use sqlparser::tokenizer::Token;

use super::storage_integration::{self, STAGE, bucket_of};
use super::{Created, KindInfo, ObjectKind, View};
use crate::access;
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
use icebox_sql::types::DataType;
use icebox_tables::LakeIo;

pub use directory::{
    Change, DIRECTORY_COLUMNS, File, Stage, directory, directory_row, state_of, with_directory,
};

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
    Rows::from_values(
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
        let changed = directory::refresh(session, &object.name, &subpath).await?;
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
