//! CREATE, ALTER, DROP, UNDROP and DESCRIBE for all kinds of objects. The file of each kind
//! holds what differs.

use sqlparser::tokenizer::Token;

use super::{Context, create_as_select, done, succeeded};
use crate::answer::{Answer, StatementKind};
use crate::kind::Created;
use crate::object::Create;
use crate::object::properties::Properties;
use crate::{Kind, linked_database};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;

/// Runs `CREATE [OR REPLACE] kind [IF NOT EXISTS] name …`.
pub async fn create(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let or_replace = cursor.accept("OR REPLACE");
    let at = cursor.position();
    let kind = Kind::accept(&mut cursor).ok_or_else(|| cursor.unexpected())?;
    let if_not_exists = cursor.accept("IF NOT EXISTS");
    if or_replace && if_not_exists {
        let text = "options IF NOT EXISTS and OR REPLACE are incompatible.";
        return Err(SqlError::compilation(code::REPLACE_AND_IF_NOT_EXISTS, text).at(at));
    }
    let name = cursor.name(3)?;
    let create = Create {
        name,
        or_replace,
        if_not_exists,
    };
    let definition = kind.definition().kind_of_new(&cursor).definition();
    let created = definition.create(context.session, create, &mut cursor);
    let rows = match created.await? {
        Created::Done(rows) => rows,
        Created::AsSelect(table) => create_as_select::run(context, table).await?,
    };
    Ok(done(rows))
}

/// Runs `ALTER kind [IF EXISTS] name …`.
pub async fn alter(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let session = context.session;
    let account = session.account();
    let said = Kind::accept(&mut cursor).ok_or_else(|| cursor.unexpected())?;
    let if_exists = cursor.accept("IF EXISTS");
    let name = session.full_name(said, &cursor.name(3)?)?;
    let Some(object) = account.get(said, &name) else {
        return if if_exists {
            Ok(succeeded())
        } else {
            Err(said.missing(&name))
        };
    };
    let kind = said.of(&object);
    if !cursor.is_next("REFRESH") {
        linked_database::check_writable(account, kind, &name)?;
    }
    let definition = kind.definition();
    definition.check_altered_as(said, &name)?;
    let known = kind.alterable();
    if cursor.accept("RENAME TO") {
        let to = session.full_name(kind, &cursor.name(3)?)?;
        cursor.expect_end()?;
        definition.before_alter(session, &object)?;
        if kind.is_container() {
            return Err(SqlError::unsupported(format!("ALTER {kind} RENAME TO")));
        }
        account.rename(kind, &name, to)?;
        return Ok(succeeded());
    }
    let (set, unset) = if cursor.accept("SET") {
        let set = Properties::parse(&mut cursor, known)?;
        if set.iter().next().is_none() {
            return Err(cursor.unexpected());
        }
        (set, Vec::new())
    } else if cursor.accept("UNSET") {
        let mut unset = Vec::new();
        loop {
            let property = known.iter().find(|property| cursor.accept(property.name));
            unset.push(property.ok_or_else(|| cursor.unexpected())?);
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
        (Properties::default(), unset)
    } else {
        let rows = definition.alter(session, object, &mut cursor).await?;
        return Ok(done(rows));
    };
    cursor.expect_end()?;
    definition.before_alter(session, &object)?;
    let mut changed = object.properties.clone();
    changed.extend(set);
    for property in unset {
        changed.unset(property.name);
    }
    changed.complete(known)?;
    definition.check(session, &changed)?;
    let now = account.now();
    let changed = account.update(kind, &name, |object| {
        object.properties = changed;
        object.updated_on = now;
        Ok(object.clone())
    })?;
    definition.altered(session, &changed).await?;
    Ok(succeeded())
}

/// Runs `DROP kind [IF EXISTS] name [CASCADE | RESTRICT]`.
pub async fn drop(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let session = context.session;
    let kind = Kind::accept(&mut cursor).ok_or_else(|| cursor.unexpected())?;
    let if_exists = cursor.accept("IF EXISTS");
    let name = cursor.name(3)?;
    skip_signature(kind, &mut cursor)?;
    let _ = cursor.accept("CASCADE") || cursor.accept("RESTRICT");
    cursor.expect_end()?;
    let name = session.full_name(kind, &name)?;
    let account = session.account();
    let Some(object) = account.get(kind, &name) else {
        return if if_exists {
            Ok(done(Rows::status(format!(
                "Drop statement executed successfully ({} already dropped).",
                name.last()
            ))))
        } else {
            Err(kind.missing(&name))
        };
    };
    linked_database::check_writable(account, kind, &name)?;
    let definition = kind.of(&object).definition();
    definition.before_drop(session, &object).await?;
    account.drop_object(kind, &name)?;
    definition.dropped(session, &name);
    let text = format!("{} successfully dropped.", name.last());
    Ok(done(Rows::status(text)))
}

/// Consumes the argument types after the name of an object that may have them. They are ignored:
/// a procedure is identified by its name alone, because icebox does not support overloading.
fn skip_signature(kind: Kind, cursor: &mut Cursor<'_>) -> SqlResult<()> {
    if kind.info().has_signature && cursor.accept_token(&Token::LParen) {
        cursor.take_to_closing()?;
    }
    Ok(())
}

/// Runs `UNDROP DATABASE | SCHEMA | TABLE name`.
pub async fn undrop(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let at = cursor.position();
    let kind = Kind::accept(&mut cursor).ok_or_else(|| cursor.unexpected())?;
    if !kind.info().can_undrop {
        return Err(SqlError::unsupported(format!("UNDROP {kind}")).at(at));
    }
    let name = context.session.full_name(kind, &cursor.name(3)?)?;
    cursor.expect_end()?;
    context.session.account().undrop(kind, &name)?;
    let (noun, last) = (kind.info().noun, name.last());
    Ok(done(Rows::status(format!(
        "{noun} {last} successfully restored."
    ))))
}

/// Runs `DESCRIBE kind name`, also `DESCRIBE INTEGRATION name`.
pub async fn describe(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let session = context.session;
    let kinds = match Kind::accept(&mut cursor) {
        Some(kind) => vec![kind],
        None if cursor.accept("INTEGRATION") => {
            vec![Kind::StorageIntegration, Kind::CatalogIntegration]
        }
        None if matches!(cursor.peek(), Some(Token::Word(_))) => vec![Kind::Table],
        None => return Err(cursor.unexpected()),
    };
    let given = cursor.name(3)?;
    skip_signature(kinds[0], &mut cursor)?;
    if cursor.accept("TYPE") {
        cursor.expect_token(&Token::Eq)?;
        cursor.expect("COLUMNS")?;
    }
    cursor.expect_end()?;
    for kind in &kinds {
        let name = session.full_name(*kind, &given)?;
        if let Some(object) = session.account().get(*kind, &name) {
            let definition = kind.of(&object).definition();
            let rows = definition.describe(session, &object).await?;
            return Ok(Answer {
                rows,
                kind: StatementKind::Describe,
            });
        }
    }
    Err(kinds[0].missing(&session.full_name(kinds[0], &given)?))
}
