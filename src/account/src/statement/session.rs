//! Session statements: USE, SET, ALTER SESSION, and statements without an effect in icebox.

use sqlparser::tokenizer::Token;

use super::{Context, query, succeeded};
use crate::Kind;
use crate::answer::{Answer, StatementKind};
use crate::kind::schema::INFORMATION_SCHEMA;
use crate::parameters;
use crate::session::Variable;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::syntax::Cursor;

/// Runs `USE [ROLE | WAREHOUSE | DATABASE | SCHEMA] name`.
pub async fn use_(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let session = context.session;
    if cursor.accept("SECONDARY ROLES") {
        let _ = cursor.accept("ALL") || cursor.accept("NONE");
        cursor.expect_end()?;
        return Ok(used());
    }
    let kind = if cursor.accept("ROLE") {
        Kind::Role
    } else if cursor.accept("WAREHOUSE") {
        Kind::Warehouse
    } else if cursor.accept("SCHEMA") {
        Kind::Schema
    } else {
        cursor.accept("DATABASE");
        Kind::Database
    };
    let name = cursor.name(2)?;
    cursor.expect_end()?;
    // USE a.b selects a schema.
    let kind = match kind {
        Kind::Database if name.0.len() == 2 => Kind::Schema,
        kind => kind,
    };
    let name = session.full_name(kind, &name)?;
    let views = kind == Kind::Schema && name.last().as_str() == INFORMATION_SCHEMA;
    if views {
        let database = ObjectName(name.0[..1].to_vec());
        session.account().find(Kind::Database, &database)?;
    } else {
        session.account().find(kind, &name)?;
    }
    match kind {
        Kind::Role => session.change(|current| current.role = Some(name.last().clone())),
        Kind::Warehouse => session.use_warehouse(name.last()),
        Kind::Schema => session.use_database(&name.0[0], Some(&name.0[1])),
        _ => session.use_database(name.last(), None),
    }
    Ok(used())
}

fn used() -> Answer {
    Answer {
        kind: StatementKind::Use,
        ..succeeded()
    }
}

/// Runs `SET name = expression` and `SET (a, b) = (1, 2)`.
pub async fn set(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let names = match cursor.peek() {
        Some(Token::LParen) => cursor.list(Cursor::ident)?,
        _ => vec![cursor.ident()?],
    };
    cursor.expect_token(&Token::Eq)?;
    let expression = if names.len() == 1 {
        cursor.take_rest()
    } else {
        cursor.expect_token(&Token::LParen)?;
        let inner = cursor.take_to_closing()?;
        cursor.expect_end()?;
        inner
    };
    let rows = query::run(context, &format!("SELECT {expression}")).await?;
    let types = rows.types();
    if types.len() != names.len() {
        let text = "The number of values does not match the number of variables.";
        return Err(SqlError::compilation(code::SYNTAX, text));
    }
    let now = context.session.account().now();
    context.session.change(|current| {
        for (index, name) in names.into_iter().enumerate() {
            let known = current.variables.get(&name);
            let variable = Variable {
                value: rows.value(0, index),
                ty: types[index],
                created: known.map_or(now, |known| known.created),
                updated: now,
            };
            current.variables.insert(name, variable);
        }
    });
    Ok(succeeded())
}

/// Runs `UNSET name` and `UNSET (a, b)`.
pub async fn unset(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let names = match cursor.peek() {
        Some(Token::LParen) => cursor.list(Cursor::ident)?,
        _ => vec![cursor.ident()?],
    };
    cursor.expect_end()?;
    context.session.change(|current| {
        for name in &names {
            current.variables.remove(name);
        }
    });
    Ok(succeeded())
}

/// Runs `ALTER SESSION SET name = value …` and `ALTER SESSION UNSET name, …`.
pub async fn alter_session(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let is_set = cursor.accept("SET");
    if !is_set {
        cursor.expect("UNSET")?;
    }
    let mut changes = Vec::new();
    loop {
        let at = cursor.position();
        let parameter = parameters::find(cursor.ident()?.as_str()).map_err(|one| one.at(at))?;
        let mut value = None;
        if is_set {
            cursor.expect_token(&Token::Eq)?;
            let given = match cursor.string() {
                Ok(text) => text,
                Err(unexpected) => match cursor.bump() {
                    Some(Token::Word(word)) => word.value,
                    Some(Token::Number(number, _)) => number,
                    _ => return Err(unexpected),
                },
            };
            value = Some(parameter.value(&given).map_err(|error| error.at(at))?);
        }
        changes.push((parameter.name, value));
        cursor.accept_token(&Token::Comma);
        if cursor.is_at_end() {
            break;
        }
    }
    context.session.change(|current| {
        for (name, value) in changes {
            match value {
                Some(value) => current.settings.insert(name, value),
                None => current.settings.remove(name),
            };
        }
    });
    Ok(Answer {
        kind: StatementKind::AlterSession,
        ..succeeded()
    })
}

/// Runs COMMIT and ROLLBACK. There are no transactions of several statements, so both have no
/// effect: every statement is committed when it ends.
pub async fn transaction(_: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    cursor.accept("WORK");
    cursor.expect_end()?;
    Ok(Answer {
        kind: StatementKind::Transaction,
        ..succeeded()
    })
}

/// Runs GRANT and REVOKE. The objects that they name must exist; privileges are not checked.
pub async fn grant(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    while !cursor.is_next("ON") && !cursor.is_next("ROLE") {
        if cursor.bump().is_none() {
            return Err(cursor.unexpected());
        }
    }
    let kind = match cursor.accept("ON") {
        true if cursor.accept("ACCOUNT") || cursor.accept("ALL") || cursor.accept("FUTURE") => {
            return Ok(succeeded());
        }
        true => {
            cursor.accept("INTEGRATION");
            Kind::accept(&mut cursor)
        }
        false => {
            cursor.expect("ROLE")?;
            Some(Kind::Role)
        }
    };
    if let Some(kind) = kind {
        let name: ObjectName = context.session.full_name(kind, &cursor.name(3)?)?;
        context.session.account().find(kind, &name)?;
    }
    Ok(succeeded())
}
