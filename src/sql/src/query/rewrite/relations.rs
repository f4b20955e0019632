//! Relations in FROM. Each table, table function, directory table and earlier result gets a
//! generated name, by which the planner finds what the session provides for it.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName as AstName, ObjectNamePart,
    TableAlias, TableFactor, TableFunctionArgs, TableVersion, Value,
};

use super::Rewriter;
use super::select::refuse;
use crate::error::{Position, SqlError, SqlResult};
use crate::names::{Ident, ObjectName};
use crate::query::generated_name::GENERATED_PREFIX;
use crate::query::syntax_tree::{object_name, quoted};
use crate::syntax::Cursor;

/// Words that sqlparser accepts as a table's name, but Snowflake only in quotes.
const RESERVED: &[&str] = &[
    "FROM", "GROUP", "HAVING", "INTO", "LIMIT", "ON", "ORDER", "QUALIFY", "SELECT", "UNION",
    "USING", "VALUES", "WHERE", "WITH",
];

/// A relation that a query reads.
pub struct RelationRequest {
    /// The generated name in the query.
    pub name: String,
    pub source: Source,
    /// New names for the columns; empty to keep the relation's own.
    pub columns: Vec<String>,
}

pub enum Source {
    /// A table or view, now or at the moment of an argument such as `TIMESTAMP => …`.
    Table {
        name: ObjectName,
        at: Option<At>,
    },
    Function {
        name: ObjectName,
        arguments: Vec<(Option<Ident>, Expr)>,
    },
    Directory(ObjectName),
    /// An earlier result of a pipe; the number counts from 1.
    PipeResult(usize),
    /// `IDENTIFIER(…)`
    Identifier(Expr),
}

/// AT or BEFORE with its only argument.
pub struct At {
    pub before: bool,
    pub kind: String,
    pub value: Expr,
}

impl Rewriter<'_> {
    /// Replaces a relation whose arguments have been visited.
    pub(super) fn rewrite_relation(&mut self, factor: &mut TableFactor) -> SqlResult<()> {
        let (source, alias) = match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                refuse(&[
                    (!with_hints.is_empty(), "WITH hints on a table"),
                    (*with_ordinality, "WITH ORDINALITY"),
                    (!partitions.is_empty(), "PARTITION on a table"),
                    (json_path.is_some(), "a JSON path on a table"),
                    (!index_hints.is_empty(), "index hints on a table"),
                    (sample.is_some(), "SAMPLE"),
                ])?;
                // IDENTIFIER('name')
                if let [ObjectNamePart::Function(function)] = name.0.as_mut_slice()
                    && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(named))] =
                        function.args.as_mut_slice()
                    && function.name.value == "IDENTIFIER"
                    && version.is_none()
                {
                    self.post_expression(named)?;
                    let source = Source::Identifier(named.clone());
                    let alias = alias.take();
                    return self.replace_relation(factor, source, alias);
                }
                let written = object_name_of(name)?;
                let at = version.take().map(parse_at).transpose()?;
                if let Some(args) = args.take() {
                    if at.is_some() || args.settings.is_some() {
                        return Err(SqlError::unsupported("AT on a table function"));
                    }
                    (table_function(written, args.args)?, alias.take())
                } else {
                    if let [only] = written.0.as_slice() {
                        if self.is_common_table(only.as_str()) {
                            let has_columns = alias
                                .as_ref()
                                .is_some_and(|alias| !alias.columns.is_empty());
                            return match at {
                                None if has_columns => Err(SqlError::unsupported(
                                    "column names where a common table expression is read",
                                )),
                                None => Ok(()),
                                Some(_) => {
                                    Err(SqlError::unsupported("AT on a common table expression"))
                                }
                            };
                        }
                        if let Some(number) = only.as_str().strip_prefix('$')
                            && let Ok(number) = number.parse()
                        {
                            let source = Source::PipeResult(number);
                            return self.replace_relation(factor, source, None);
                        }
                    }
                    let own_name = TableAlias {
                        explicit: true,
                        name: quoted(written.last().as_str()),
                        columns: Vec::new(),
                    };
                    let alias = alias.take().unwrap_or(own_name);
                    (Source::Table { name: written, at }, Some(alias))
                }
            }
            TableFactor::Derived {
                lateral,
                subquery: _,
                alias,
                sample,
            } => {
                if *lateral {
                    return Err(SqlError::unsupported("LATERAL"));
                }
                if sample.is_some() {
                    return Err(SqlError::unsupported("SAMPLE"));
                }
                if alias.is_none() {
                    self.unnamed += 1;
                    *alias = Some(TableAlias {
                        explicit: true,
                        name: quoted(format!("{GENERATED_PREFIX}derived{}", self.unnamed)),
                        columns: Vec::new(),
                    });
                }
                return Ok(());
            }
            TableFactor::NestedJoin { alias, .. } => {
                return match alias {
                    None => Ok(()),
                    Some(_) => Err(SqlError::unsupported("an alias for a join in parentheses")),
                };
            }
            TableFactor::Function { name, .. } => {
                return Err(SqlError::unsupported(format_args!("LATERAL {name}")));
            }
            TableFactor::Pivot { .. } => return Err(SqlError::unsupported("PIVOT")),
            TableFactor::Unpivot { .. } => return Err(SqlError::unsupported("UNPIVOT")),
            TableFactor::MatchRecognize { .. } => {
                return Err(SqlError::unsupported("MATCH_RECOGNIZE"));
            }
            other => return Err(SqlError::unsupported(format_args!("{other} in FROM"))),
        };
        self.replace_relation(factor, source, alias)
    }

    /// Replaces a relation by a generated name, and records the request for it.
    fn replace_relation(
        &mut self,
        factor: &mut TableFactor,
        source: Source,
        alias: Option<TableAlias>,
    ) -> SqlResult<()> {
        let name = format!("{GENERATED_PREFIX}{}", self.dependencies.requests.len());
        let alias = match (alias, &mut *factor) {
            (Some(alias), _) => Some(alias),
            (None, TableFactor::Table { alias, .. }) => alias.take(),
            (None, _) => None,
        };
        let mut alias = alias;
        let columns = alias
            .as_mut()
            .map(|alias| std::mem::take(&mut alias.columns));
        let columns = columns
            .into_iter()
            .flatten()
            .map(|column| column.name.value);
        let columns = columns.collect();
        *factor = table(object_name(&name), alias, None);
        self.dependencies.requests.push(RelationRequest {
            name,
            source,
            columns,
        });
        Ok(())
    }
}

fn table_function(name: ObjectName, arguments: Vec<FunctionArg>) -> SqlResult<Source> {
    let mut taken = Vec::new();
    for argument in arguments {
        let (name, argument) = match argument {
            FunctionArg::Unnamed(argument) => (None, argument),
            FunctionArg::Named { name, arg, .. } => (Some(Ident::quoted(name.value)), arg),
            FunctionArg::ExprNamed { name, arg, .. } => match name {
                Expr::Identifier(name) => (Some(Ident::quoted(name.value)), arg),
                other => {
                    return Err(SqlError::unsupported(format_args!(
                        "an argument named {other}"
                    )));
                }
            },
        };
        let FunctionArgExpr::Expr(expr) = argument else {
            return Err(SqlError::unsupported(
                "* as an argument of a table function",
            ));
        };
        taken.push((name, expr));
    }
    if let [only] = name.0.as_slice() {
        match (only.as_str(), taken.as_slice()) {
            ("DIRECTORY", [(None, Expr::Identifier(stage))]) => {
                return Ok(Source::Directory(stage_name(&stage.value)?));
            }
            ("DIRECTORY", [(None, Expr::Value(value))]) => {
                if let Value::Placeholder(stage) | Value::SingleQuotedString(stage) = &value.value {
                    return Ok(Source::Directory(stage_name(stage)?));
                }
            }
            ("DIRECTORY", _) => {
                return Err(SqlError::unsupported(
                    "DIRECTORY with an argument that is not a stage name",
                ));
            }
            _ => {}
        }
    }
    Ok(Source::Function {
        name,
        arguments: taken,
    })
}

fn stage_name(text: &str) -> SqlResult<ObjectName> {
    let mut cursor = Cursor::new(text.strip_prefix('@').unwrap_or(text))?;
    let name = cursor.name(3)?;
    cursor.expect_end()?;
    Ok(name)
}

/// Converts a name as it was written; its unquoted parts are in upper case already.
fn object_name_of(name: &AstName) -> SqlResult<ObjectName> {
    let part = |part: &ObjectNamePart| match part.as_ident() {
        Some(ident) if ident.quote_style.is_none() && RESERVED.contains(&ident.value.as_str()) => {
            let start = ident.span.start;
            let position = Position {
                line: start.line as u32,
                column: (start.column as u32).saturating_sub(1),
            };
            Err(SqlError::syntax(position, &ident.value))
        }
        Some(ident) => Ok(Ident::quoted(ident.value.clone())),
        None => Err(SqlError::unsupported(format_args!("the name {name}"))),
    };
    let parts = name.0.iter().map(part).collect::<SqlResult<Vec<_>>>()?;
    match parts.len() {
        1..=3 => Ok(ObjectName(parts)),
        _ => Err(SqlError::unsupported(format_args!("the name {name}"))),
    }
}

/// Prepares a relation before its arguments are visited: `TABLE(f(…))` becomes a relation with
/// arguments, and AT a named argument. Otherwise both would be rewritten as function calls.
pub(super) fn prepare_relation(factor: &mut TableFactor) -> SqlResult<()> {
    match factor {
        TableFactor::TableFunction { expr, alias } => {
            let bad = SqlError::unsupported(format_args!("TABLE({expr})"));
            let Expr::Function(function) = expr else {
                return Err(bad);
            };
            let FunctionArguments::List(list) = &mut function.args else {
                return Err(bad);
            };
            let arguments = std::mem::take(&mut list.args);
            let name = function.name.clone();
            *factor = table(name, alias.take(), Some(arguments));
        }
        TableFactor::Table {
            version: Some(TableVersion::Function(expr)),
            ..
        } => *expr = at_argument(expr)?,
        _ => {}
    }
    Ok(())
}

/// Returns the only argument of AT or BEFORE, under a name made of that keyword and the argument's
/// name.
fn at_argument(expr: &Expr) -> SqlResult<Expr> {
    let bad = || SqlError::unsupported(format_args!("{expr} on a table"));
    let Expr::Function(function) = expr else {
        return Err(bad());
    };
    let FunctionArguments::List(list) = &function.args else {
        return Err(bad());
    };
    let (kind, value) = match list.args.as_slice() {
        [
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                ..
            },
        ] => (name, value),
        [
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg: FunctionArgExpr::Expr(value),
                ..
            },
        ] => (name, value),
        _ => return Err(bad()),
    };
    Ok(Expr::Named {
        expr: Box::new(value.clone()),
        name: quoted(format!(
            "{GENERATED_PREFIX}{} {}",
            function.name, kind.value
        )),
    })
}

fn parse_at(version: TableVersion) -> SqlResult<At> {
    let refused = SqlError::unsupported(format_args!("{version} on a table"));
    let TableVersion::Function(Expr::Named { expr, name }) = version else {
        return Err(refused);
    };
    let (word, kind) = name.value.split_once(' ').unwrap_or_default();
    Ok(At {
        before: word.ends_with("BEFORE"),
        kind: kind.to_owned(),
        value: *expr,
    })
}

/// Builds a relation from a name and optional arguments.
fn table(name: AstName, alias: Option<TableAlias>, args: Option<Vec<FunctionArg>>) -> TableFactor {
    let args = args.map(|args| TableFunctionArgs {
        args,
        settings: None,
    });
    TableFactor::Table {
        name,
        alias,
        args,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}
