//! Procedures in Snowflake Scripting.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlparser::tokenizer::Token;

use super::{Created, Ddl, KindInfo, ObjectKind, View};
use crate::object::columns::{
    COUNT, CREATED, CREATED_ON, Column, LAST_ALTERED, NAME, SCHEMA_NAME, VIEW_COMMENT, column,
    name_part, optional, text,
};
use crate::object::properties::{self, Property};
use crate::object::{Create, Object, Scope, ddl};
use crate::session::Session;
use crate::{Kind, State};
use icebox_scripting::Script;
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::Ident;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::{Cursor, data_type};

pub struct ProcedureKind;

const PROPERTIES: &[Property] = &[properties::COMMENT];

const INFO: KindInfo = KindInfo {
    created_noun: "Function",
    properties: PROPERTIES,
    show: &[
        CREATED_ON,
        NAME,
        SCHEMA_NAME,
        column("is_builtin", |_| "N".into()),
        column("is_aggregate", |_| "N".into()),
        column("is_ansi", |_| "N".into()),
        Column {
            name: "min_num_arguments",
            ty: COUNT,
            value: |one| count(one).into(),
        },
        Column {
            name: "max_num_arguments",
            ty: COUNT,
            value: |one| count(one).into(),
        },
        column("arguments", |one| text(signature(one))),
        column("description", |_| "user-defined procedure".into()),
        column("catalog_name", |one| {
            text(one.name.0.first().map_or("", Ident::as_str))
        }),
        column("is_table_function", |_| "N".into()),
        column("valid_for_clustering", |_| "N".into()),
        column("is_secure", |_| "N".into()),
    ],
    has_signature: true,
    ddl: Some(Ddl {
        object_type: "PROCEDURE",
        statement: |_, procedure, name| create_statement(procedure, name),
    }),
    view: Some(View {
        names: &["PROCEDURES"],
        columns: &[
            column("PROCEDURE_CATALOG", |object| name_part(object, 0)),
            column("PROCEDURE_SCHEMA", |object| name_part(object, 1)),
            column("PROCEDURE_NAME", |object| name_part(object, 2)),
            column("PROCEDURE_OWNER", |object| text(object.owner.as_str())),
            column("ARGUMENT_SIGNATURE", |object| text(arguments(object))),
            column("DATA_TYPE", |object| {
                optional(object.state::<Procedure>().map(|one| one.returns.clone()))
            }),
            column("PROCEDURE_LANGUAGE", |_| text("SQL")),
            column("PROCEDURE_DEFINITION", |object| {
                optional(object.state::<Procedure>().map(|one| one.body.clone()))
            }),
            CREATED,
            LAST_ALTERED,
            VIEW_COMMENT,
        ],
    }),
    ..KindInfo::new(
        Kind::Procedure,
        &["PROCEDURE"],
        "PROCEDURES",
        Scope::Schema,
        "Procedure",
    )
};

/// A procedure's signature and body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Procedure {
    pub arguments: Vec<Argument>,
    /// As written: a type, or `TABLE (…)`.
    pub returns: String,
    pub body: String,
    /// Whether the procedure runs with the caller's rights and in the caller's session.
    pub as_caller: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Argument {
    pub name: Ident,
    /// The type as SQL.
    pub ty: String,
    /// The expression for the default value, for a call without the argument.
    pub default: Option<String>,
}

fn count(object: &Object) -> Option<u64> {
    object
        .state::<Procedure>()
        .map(|procedure| procedure.arguments.len() as u64)
}

/// Returns the signature, such as `SP_X(VARCHAR, NUMBER) RETURN VARCHAR`.
fn signature(object: &Object) -> String {
    let Some(procedure) = object.state::<Procedure>() else {
        return String::new();
    };
    let types = procedure
        .arguments
        .iter()
        .map(|argument| bare(&argument.ty));
    let types: Vec<_> = types.collect();
    format!(
        "{}({}) RETURN {}",
        object.name.last(),
        types.join(", "),
        bare(&procedure.returns)
    )
}

/// Returns the arguments, such as `(NAME VARCHAR, COUNT NUMBER)`.
fn arguments(object: &Object) -> String {
    let arguments = object
        .state::<Procedure>()
        .map(|procedure| procedure.arguments.as_slice());
    let arguments = arguments.unwrap_or_default().iter();
    let arguments = arguments.map(|argument| format!("{} {}", argument.name, bare(&argument.ty)));
    format!("({})", arguments.collect::<Vec<_>>().join(", "))
}

/// Returns a type without its arguments.
fn bare(ty: &str) -> String {
    let name = ty.split('(').next().unwrap_or(ty);
    name.trim().to_uppercase()
}

/// Returns the statement that recreates a procedure.
fn create_statement(object: &Object, name: &str) -> Option<String> {
    let procedure = object.state::<Procedure>()?;
    let arguments = procedure.arguments.iter().map(|argument| {
        let default = argument.default.as_ref();
        let default = default.map(|default| format!(" DEFAULT {default}"));
        format!(
            "{} {}{}",
            argument.name,
            argument.ty,
            default.unwrap_or_default()
        )
    });
    let rights = if procedure.as_caller {
        "CALLER"
    } else {
        "OWNER"
    };
    Some(format!(
        "CREATE OR REPLACE PROCEDURE {name}({})\nRETURNS {}\nLANGUAGE SQL{}\nEXECUTE AS {rights}\nAS {}",
        arguments.collect::<Vec<_>>().join(", "),
        procedure.returns,
        ddl::options(&object.properties, PROPERTIES, "\n"),
        ddl::quoted(&procedure.body),
    ))
}

#[async_trait]
impl ObjectKind for ProcedureKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    async fn create(
        &self,
        session: &Session,
        create: Create,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Created> {
        let arguments = cursor.list(|cursor| {
            let name = cursor.ident()?;
            let ty = data_type(cursor)?.to_string();
            let default = if cursor.accept("DEFAULT") {
                Some(literal(cursor)?)
            } else {
                None
            };
            Ok(Argument { name, ty, default })
        })?;
        cursor.accept("COPY GRANTS");
        cursor.expect("RETURNS")?;
        let returns = if cursor.accept("TABLE") {
            cursor.expect_token(&Token::LParen)?;
            format!("TABLE ({})", cursor.take_to_closing()?)
        } else {
            data_type(cursor)?.to_string()
        };
        cursor.accept("NOT NULL");
        let mut as_caller = false;
        let mut properties = properties::Properties::default();
        loop {
            if cursor.accept("LANGUAGE") {
                let at = cursor.position();
                let language = cursor.ident()?;
                if language.as_str() != "SQL" {
                    let feature = format!("LANGUAGE {language}");
                    return Err(SqlError::unsupported(feature).at(at));
                }
            } else if cursor.accept("EXECUTE AS CALLER") {
                as_caller = true;
            } else if cursor.accept("EXECUTE AS OWNER")
                || cursor.accept("CALLED ON NULL INPUT")
                || cursor.accept("VOLATILE")
                || cursor.accept("IMMUTABLE")
            {
            } else if cursor.is_next("COMMENT") {
                properties = properties::Properties::parse(cursor, PROPERTIES)?;
            } else {
                break;
            }
        }
        cursor.expect("AS")?;
        let body = match cursor.string() {
            Ok(body) => {
                cursor.expect_end()?;
                body
            }
            Err(_) => cursor.take_rest().to_owned(),
        };
        // As in Snowflake, a body that does not parse is refused at CREATE.
        Script::parse(&body)?;
        let state = State::Procedure(Procedure {
            arguments,
            returns,
            body,
            as_caller,
        });
        let rows = session.create(Kind::Procedure, &create, properties, state)?;
        Ok(Created::Done(rows))
    }

    async fn describe(&self, _: &Session, object: &Object) -> SqlResult<Rows> {
        let procedure = object
            .state::<Procedure>()
            .ok_or_else(|| Kind::Procedure.missing(&object.name))?;
        let rows = [
            ("signature", arguments(object)),
            ("returns", procedure.returns.clone()),
            ("language", "SQL".to_owned()),
            ("null handling", "CALLED ON NULL INPUT".to_owned()),
            ("volatility", "VOLATILE".to_owned()),
            (
                "execute as",
                if procedure.as_caller {
                    "CALLER"
                } else {
                    "OWNER"
                }
                .to_owned(),
            ),
            ("body", procedure.body.clone()),
        ];
        let rows = rows.map(|(name, value)| [Some(name.to_owned()), Some(value)]);
        Ok(Rows::texts(&["property", "value"], rows))
    }
}

/// Parses a literal and returns it as written.
fn literal(cursor: &mut Cursor<'_>) -> SqlResult<String> {
    let start = cursor.offset();
    cursor.accept_token(&Token::Minus);
    match cursor.bump() {
        Some(
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::Word(_),
        ) => Ok(cursor.text()[start..cursor.last_end()].to_owned()),
        _ => Err(cursor.unexpected()),
    }
}
