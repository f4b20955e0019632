//! The statements that `postgres_fdw` sends to the engine: a small, fixed part of SQL (its
//! `deparse.c` and `connection.c`).

use std::ops::ControlFlow;

use sqlparser::ast::{
    Assignment, AssignmentTarget, DataType, Delete, Expr, FromTable, Ident, Insert, ObjectName,
    ObjectNamePart, Query, SelectItem, SetExpr, Statement as Ast, TableFactor, TableObject,
    TableWithJoins, UpdateTableFromKind, Value, visit_expressions_mut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::error::{Error, Result};

/// A statement, parsed as far as the session needs it.
#[derive(Clone, Debug)]
pub enum Statement {
    /// A setting. It is ignored, because the engine always uses ISO dates and UTC.
    Set,
    Begin {
        is_serializable: bool,
    },
    Commit,
    Abort,
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    Declare {
        cursor: String,
        query: Box<Query>,
    },
    Fetch {
        cursor: String,
        rows: usize,
    },
    Close {
        cursor: String,
    },
    /// Moves a cursor back before its first row.
    Rewind {
        cursor: String,
    },
    Deallocate {
        name: Option<String>,
    },
    Select(Box<Query>),
    /// An INSERT of rows, in which every value is a parameter. Each row has its values in the order
    /// of `columns`.
    Insert {
        table: u32,
        columns: Vec<String>,
        rows: usize,
        returning: Vec<String>,
    },
    /// An UPDATE of the row that parameter 1 identifies. Parameters 2, 3, … are the new values of
    /// `columns`.
    UpdateRow {
        table: u32,
        columns: Vec<String>,
        returning: Vec<String>,
    },
    DeleteRow {
        table: u32,
        returning: Vec<String>,
    },
    /// An UPDATE or DELETE by condition, which the engine evaluates itself.
    Modify(Box<Modify>),
    Truncate {
        tables: Vec<u32>,
    },
    /// The size of a table in bytes, which ANALYZE asks for.
    RelationSize {
        table: u32,
    },
    /// The number of a table's rows in the statistics. ANALYZE of version 16 and later asks for it,
    /// to take a sample.
    RelationRows,
    /// The scan that was registered under this token. PostgreSQL runs it to evaluate a query.
    Scan {
        token: String,
    },
}

/// An UPDATE or DELETE by condition.
#[derive(Clone, Debug)]
pub struct Modify {
    pub table: u32,
    /// The alias of the target table in the statement's expressions.
    pub alias: Option<Ident>,
    /// The new values by column name; empty for a DELETE.
    pub assignments: Vec<(String, Expr)>,
    /// The target table, and the tables that it is joined with.
    pub from: Vec<TableWithJoins>,
    pub selection: Option<Expr>,
    pub returning: Vec<Expr>,
}

/// Parses the statements of one message.
pub fn parse(sql: &str) -> Result<Vec<Statement>> {
    let trimmed = sql.trim();
    if let Some((head, query)) = trimmed.split_once(" CURSOR FOR") {
        let cursor = head
            .strip_prefix("DECLARE ")
            .ok_or_else(|| Error::unsupported(sql))?
            .to_owned();
        return match parse_ast(query)? {
            Ast::Query(query) => Ok(vec![Statement::Declare { cursor, query }]),
            _ => Err(Error::unsupported(sql)),
        };
    }
    // For example: ROLLBACK TO SAVEPOINT s2; RELEASE SAVEPOINT s2
    if trimmed.starts_with("ROLLBACK TO") {
        return trimmed
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| parse_fixed(part).ok_or_else(|| Error::unsupported(part)))
            .collect();
    }
    match parse_fixed(trimmed) {
        Some(statement) => Ok(vec![statement]),
        None => Ok(vec![parse_one(trimmed)?]),
    }
}

fn parse_ast(sql: &str) -> Result<Ast> {
    let mut statement = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(500)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statement())
        .map_err(|error| Error::internal(format!("cannot read {sql:?}: {error}")))?;
    keep_negative_zeros(&mut statement);
    Ok(statement)
}

/// Corrects the floating-point constant -0. `postgres_fdw` writes it as `(-0)::real`, whose value
/// is 0; `'-0'::real` keeps the sign.
fn keep_negative_zeros(statement: &mut Ast) {
    let _ = visit_expressions_mut(statement, |expr: &mut Expr| {
        if let Expr::Cast {
            expr, data_type, ..
        } = expr
            && matches!(data_type, DataType::Real | DataType::DoublePrecision)
            && expr.to_string() == "(-0)"
        {
            **expr = Expr::Value(Value::SingleQuotedString("-0".to_owned()).into());
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Parses statements with a fixed form, by their words.
fn parse_fixed(sql: &str) -> Option<Statement> {
    let words: Vec<&str> = sql.split_ascii_whitespace().take(7).collect();
    let name = |word: &str| word.trim_end_matches(';').to_owned();
    Some(match words.as_slice() {
        ["SET", ..] => Statement::Set,
        ["START", "TRANSACTION", rest @ ..] => Statement::Begin {
            is_serializable: rest.contains(&"SERIALIZABLE"),
        },
        ["COMMIT", ..] => Statement::Commit,
        ["ABORT", ..] | ["ROLLBACK"] | ["ROLLBACK", "TRANSACTION"] => Statement::Abort,
        ["SAVEPOINT", savepoint] => Statement::Savepoint(name(savepoint)),
        ["RELEASE", "SAVEPOINT", savepoint] => Statement::Release(name(savepoint)),
        ["ROLLBACK", "TO", "SAVEPOINT", savepoint] => Statement::RollbackTo(name(savepoint)),
        ["FETCH", rows, "FROM", cursor] => Statement::Fetch {
            cursor: name(cursor),
            rows: rows.parse().ok()?,
        },
        ["CLOSE", cursor] => Statement::Close {
            cursor: name(cursor),
        },
        ["MOVE", "BACKWARD", "ALL", "IN", cursor] => Statement::Rewind {
            cursor: name(cursor),
        },
        ["DEALLOCATE", "ALL"] => Statement::Deallocate { name: None },
        ["DEALLOCATE", prepared] => Statement::Deallocate {
            name: Some(name(prepared)),
        },
        ["SCAN", token] => Statement::Scan { token: name(token) },
        _ => return None,
    })
}

fn parse_one(sql: &str) -> Result<Statement> {
    let unsupported = || Error::unsupported(sql);
    match parse_ast(sql)? {
        Ast::Query(query) => match relation_size(sql) {
            Some(table) => Ok(Statement::RelationSize { table }),
            None if sql.starts_with(RELATION_ROWS) => Ok(Statement::RelationRows),
            None => Ok(Statement::Select(query)),
        },
        Ast::Insert(insert) => parse_insert(insert).ok_or_else(unsupported),
        Ast::Update(update) => {
            let assignments = update
                .assignments
                .into_iter()
                .map(|Assignment { target, value }| match target {
                    AssignmentTarget::ColumnName(name) => {
                        Some((last_ident(&name)?.value.clone(), value))
                    }
                    AssignmentTarget::Tuple(_) => None,
                })
                .collect::<Option<Vec<_>>>()
                .ok_or_else(unsupported)?;
            let mut from = vec![update.table];
            match update.from {
                Some(
                    UpdateTableFromKind::BeforeSet(tables) | UpdateTableFromKind::AfterSet(tables),
                ) => {
                    from.extend(tables);
                }
                None => {}
            }
            modify(from, assignments, update.selection, update.returning).ok_or_else(unsupported)
        }
        Ast::Delete(Delete {
            from,
            using,
            selection,
            returning,
            ..
        }) => {
            let (FromTable::WithFromKeyword(mut from) | FromTable::WithoutKeyword(mut from)) = from;
            from.extend(using.unwrap_or_default());
            modify(from, Vec::new(), selection, returning).ok_or_else(unsupported)
        }
        Ast::Truncate(truncate) => truncate
            .table_names
            .iter()
            .map(|target| table_oid(&target.name))
            .collect::<Option<_>>()
            .map(|tables| Statement::Truncate { tables })
            .ok_or_else(unsupported),
        _ => Err(unsupported()),
    }
}

fn parse_insert(insert: Insert) -> Option<Statement> {
    let TableObject::TableName(name) = &insert.table else {
        return None;
    };
    let table = table_oid(name)?;
    let rows = match &insert.source {
        // DEFAULT VALUES, which postgres_fdw sends for a table without columns.
        None => 1,
        Some(source) => match source.body.as_ref() {
            SetExpr::Values(values) => values.rows.len(),
            _ => return None,
        },
    };
    let columns = insert
        .columns
        .iter()
        .map(|ident| ident.value.clone())
        .collect();
    Some(Statement::Insert {
        table,
        columns,
        rows,
        returning: column_names(insert.returning)?,
    })
}

/// Returns a change of one row if the condition is exactly `ctid = $1`, otherwise a change by
/// condition.
fn modify(
    from: Vec<TableWithJoins>,
    assignments: Vec<(String, Expr)>,
    selection: Option<Expr>,
    returning: Option<Vec<SelectItem>>,
) -> Option<Statement> {
    let TableFactor::Table { name, alias, .. } = &from.first()?.relation else {
        return None;
    };
    let table = table_oid(name)?;
    let alias = alias.as_ref().map(|alias| alias.name.clone());
    let is_row = from.len() == 1
        && selection
            .as_ref()
            .is_some_and(|selection| selection.to_string() == "ctid = $1");
    if is_row {
        let returning = column_names(returning)?;
        let columns: Vec<String> = assignments.into_iter().map(|(column, _)| column).collect();
        return Some(if columns.is_empty() {
            Statement::DeleteRow { table, returning }
        } else {
            Statement::UpdateRow {
                table,
                columns,
                returning,
            }
        });
    }
    let returning = returning
        .unwrap_or_default()
        .into_iter()
        .map(|item| match item {
            SelectItem::UnnamedExpr(expr) => Some(expr),
            _ => None,
        })
        .collect::<Option<_>>()?;
    Some(Statement::Modify(Box::new(Modify {
        table,
        alias,
        assignments,
        from,
        selection,
        returning,
    })))
}

fn column_names(returning: Option<Vec<SelectItem>>) -> Option<Vec<String>> {
    returning
        .unwrap_or_default()
        .into_iter()
        .map(|item| match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value),
            // RETURNING NULL: only the number of rows is needed.
            SelectItem::UnnamedExpr(Expr::Value(value)) if value.value == Value::Null => {
                Some(String::new())
            }
            _ => None,
        })
        .collect()
}

fn last_ident(name: &ObjectName) -> Option<&Ident> {
    match name.0.last()? {
        ObjectNamePart::Identifier(ident) => Some(ident),
        ObjectNamePart::Function(_) => None,
    }
}

/// Returns the OID in `pg_temp."<oid>"`.
pub fn table_oid(name: &ObjectName) -> Option<u32> {
    last_ident(name)?.value.parse().ok()
}

/// The start of `postgres_fdw`'s query for the row count in a table's statistics.
const RELATION_ROWS: &str = "SELECT reltuples, relkind FROM pg_catalog.pg_class WHERE oid = '";

/// Returns the table's OID in `SELECT
/// pg_catalog.pg_relation_size('pg_temp."16400"'::pg_catalog.regclass) / …`, which ANALYZE sends.
fn relation_size(sql: &str) -> Option<u32> {
    let rest = sql.strip_prefix("SELECT pg_catalog.pg_relation_size('")?;
    rest.split('"').nth(1)?.parse().ok()
}

/// A `DROP TABLE` statement: the names as written, and whether it has CASCADE.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct DropTable {
    pub names: Vec<String>,
    pub cascade: bool,
}

/// Returns the `DROP TABLE` statements in a text of any SQL, in order. It reads only tokens, so the
/// other statements need not be understood by the parser.
pub fn drop_statements(sql: &str) -> Result<Vec<DropTable>> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize()
        .map_err(|error| Error::internal(format!("cannot read {sql:?}: {error}")))?;
    let tokens: Vec<Token> = tokens
        .into_iter()
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .collect();
    let is_word = |token: Option<&Token>, word: &str| matches!(token, Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word));
    let mut statements = Vec::new();
    for statement in tokens.split(|token| *token == Token::SemiColon) {
        if !is_word(statement.first(), "drop") || !is_word(statement.get(1), "table") {
            continue;
        }
        let start = if is_word(statement.get(2), "if") {
            4
        } else {
            2
        };
        let mut rest = statement.get(start..).unwrap_or_default();
        let cascade = is_word(rest.last(), "cascade");
        if cascade || is_word(rest.last(), "restrict") {
            rest = &rest[..rest.len() - 1];
        }
        let names = rest
            .split(|token| *token == Token::Comma)
            .map(|name| name.iter().map(quoted).collect());
        statements.push(DropTable {
            names: names.collect(),
            cascade,
        });
    }
    Ok(statements)
}

/// Returns the SQL text of a token. The tokenizer has turned a doubled quote in a name into a
/// single one, which this reverses.
fn quoted(token: &Token) -> String {
    match token {
        Token::Word(word) if word.quote_style == Some('"') => {
            format!("\"{}\"", word.value.replace('"', "\"\""))
        }
        token => token.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_statements_are_found_among_others() {
        let sql = "begin; create table x (a text default 'drop table no;'); drop table if exists a, s.\"B b\" cascade;
                   do $$ begin drop table inside; end $$; -- drop table comment\nDROP TABLE c";
        let found = drop_statements(sql).unwrap();
        let names: Vec<_> = found.iter().map(|drop| drop.names.clone()).collect();
        assert_eq!(
            names,
            [
                vec!["a".to_owned(), "s.\"B b\"".to_owned()],
                vec!["c".to_owned()]
            ]
        );
        assert_eq!(
            found.iter().map(|drop| drop.cascade).collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn rows_are_changed_by_ctid_or_by_condition() {
        let one = |sql: &str| parse(sql).unwrap().remove(0);
        assert!(matches!(
            one("INSERT INTO pg_temp.\"7\"(a, b) VALUES ($1, $2), ($3, $4) RETURNING a"),
            Statement::Insert { table: 7, rows: 2, columns, returning } if columns.len() == 2 && returning == ["a"]
        ));
        assert!(matches!(
            one("DELETE FROM pg_temp.\"7\" WHERE ctid = $1"),
            Statement::DeleteRow { table: 7, .. }
        ));
        assert!(matches!(
            one("UPDATE pg_temp.\"7\" SET b = $2 WHERE ctid = $1 RETURNING a"),
            Statement::UpdateRow { table: 7, .. }
        ));
        assert!(matches!(
            one("DELETE FROM pg_temp.\"7\" WHERE ((a = 5))"),
            Statement::Modify(_)
        ));
        assert!(matches!(
            one("TRUNCATE pg_temp.\"7\" CONTINUE IDENTITY RESTRICT"),
            Statement::Truncate { tables } if tables == [7]
        ));
        let both = parse("ROLLBACK TO SAVEPOINT s2; RELEASE SAVEPOINT s2").unwrap();
        assert!(matches!(
            both.as_slice(),
            [Statement::RollbackTo(_), Statement::Release(_)]
        ));
        assert!(matches!(
            one("DECLARE c1 CURSOR FOR\nSELECT a, ctid FROM pg_temp.\"7\" WHERE ((a > 3)) FOR UPDATE"),
            Statement::Declare { cursor, .. } if cursor == "c1"
        ));
    }
}
