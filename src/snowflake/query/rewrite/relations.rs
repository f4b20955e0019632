//! What stands in FROM: each table, table function, directory and earlier result gets a name of its own, under which the planner
//! finds what the session has for it.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName as AstName, ObjectNamePart,
    TableAlias, TableFactor, TableVersion, Value,
};

use super::build::{object_name, quoted};
use super::{MARK, Rewriter};
use crate::snowflake::error::{SqlError, SqlResult};
use crate::snowflake::names::{Ident, ObjectName};
use crate::snowflake::syntax::Cursor;

/// Something that a query reads.
pub struct Request {
    /// Under which the query reads it.
    pub name: String,
    pub source: Source,
}

pub enum Source {
    /// A table or a view, now or at a point that an argument such as `TIMESTAMP => …` tells.
    Table {
        name: ObjectName,
        at: Option<At>,
    },
    Function {
        name: ObjectName,
        arguments: Vec<(Option<Ident>, Expr)>,
    },
    Directory(ObjectName),
    /// An earlier result of a pipe, from 1.
    Earlier(usize),
    /// `IDENTIFIER(…)`
    Named(Expr),
}

/// AT or BEFORE with its one argument.
pub struct At {
    pub before: bool,
    pub kind: String,
    pub value: Expr,
}

impl Rewriter<'_> {
    /// After the arguments of a relation have been visited.
    pub(super) fn relation(&mut self, factor: &mut TableFactor) -> SqlResult<()> {
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
                let refused = !with_hints.is_empty()
                    || *with_ordinality
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || !index_hints.is_empty();
                if refused {
                    return Err(SqlError::unsupported("hints on a table"));
                }
                if sample.is_some() {
                    return Err(SqlError::unsupported("SAMPLE"));
                }
                let written = object(name)?;
                let at = version.take().map(at).transpose()?;
                match args.take() {
                    Some(args) => {
                        if at.is_some() || args.settings.is_some() {
                            return Err(SqlError::unsupported("AT on a table function"));
                        }
                        (called(written, args.args)?, alias.take())
                    }
                    None => {
                        if let [only] = written.0.as_slice() {
                            if self.is_common_table(only.as_str()) {
                                return match at {
                                    None => Ok(()),
                                    Some(_) => Err(SqlError::unsupported(
                                        "AT on a common table expression",
                                    )),
                                };
                            }
                            if let Some(number) = only.as_str().strip_prefix('$')
                                && let Ok(number) = number.parse()
                            {
                                let source = Source::Earlier(number);
                                return self.place(factor, source, None);
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
            }
            TableFactor::TableFunction { expr, alias } => {
                let Expr::Function(function) = expr else {
                    return Err(SqlError::unsupported(format_args!("TABLE({expr})")));
                };
                let FunctionArguments::List(list) = &function.args else {
                    return Err(SqlError::unsupported(format_args!("TABLE({expr})")));
                };
                let source = called(object(&function.name)?, list.args.clone())?;
                (source, alias.take())
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
                        name: quoted(format!("{MARK}derived{}", self.unnamed)),
                        columns: Vec::new(),
                    });
                }
                return Ok(());
            }
            TableFactor::NestedJoin { alias, .. } => {
                return match alias {
                    None => Ok(()),
                    Some(_) => Err(SqlError::unsupported("an alias of a join in brackets")),
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
        self.place(factor, source, alias)
    }

    /// Puts a name of ours in place of a relation.
    fn place(
        &mut self,
        factor: &mut TableFactor,
        source: Source,
        alias: Option<TableAlias>,
    ) -> SqlResult<()> {
        let name = format!("{MARK}{}", self.needs.requests.len());
        let alias = match (alias, &mut *factor) {
            (Some(alias), _) => Some(alias),
            (None, TableFactor::Table { alias, .. }) => alias.take(),
            (None, _) => None,
        };
        *factor = TableFactor::Table {
            name: object_name(&name),
            alias,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        };
        self.needs.requests.push(Request { name, source });
        Ok(())
    }
}

fn called(name: ObjectName, arguments: Vec<FunctionArg>) -> SqlResult<Source> {
    let mut taken = Vec::new();
    for argument in arguments {
        let (name, argument) = match argument {
            FunctionArg::Unnamed(argument) => (None, argument),
            FunctionArg::Named { name, arg, .. } => (Some(Ident::quoted(name.value)), arg),
            FunctionArg::ExprNamed { name, arg, .. } => match name {
                Expr::Identifier(name) => (Some(Ident::quoted(name.value)), arg),
                other => {
                    return Err(SqlError::unsupported(format_args!("an argument named {other}")));
                }
            },
        };
        let FunctionArgExpr::Expr(expr) = argument else {
            return Err(SqlError::unsupported("* as an argument of a table function"));
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
            ("IDENTIFIER", [(None, name)]) => return Ok(Source::Named(name.clone())),
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

/// A name as it was written; its unquoted parts are in upper case already.
fn object(name: &AstName) -> SqlResult<ObjectName> {
    let part = |part: &ObjectNamePart| match part.as_ident() {
        Some(ident) => Ok(Ident::quoted(ident.value.clone())),
        None => Err(SqlError::unsupported(format_args!("the name {name}"))),
    };
    let parts = name.0.iter().map(part).collect::<SqlResult<Vec<_>>>()?;
    match parts.len() {
        1..=3 => Ok(ObjectName(parts)),
        _ => Err(SqlError::unsupported(format_args!("the name {name}"))),
    }
}

fn at(version: TableVersion) -> SqlResult<At> {
    let TableVersion::Function(Expr::Function(function)) = version else {
        return Err(SqlError::unsupported(format_args!("{version} on a table")));
    };
    let word = function.name.to_string();
    let bad = || SqlError::unsupported(format_args!("{function} on a table"));
    let FunctionArguments::List(list) = &function.args else {
        return Err(bad());
    };
    match list.args.as_slice() {
        [FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. }] => Ok(At {
            before: word == "BEFORE",
            kind: name.value.clone(),
            value: value.clone(),
        }),
        [FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(value), .. }] => {
            Ok(At {
                before: word == "BEFORE",
                kind: name.value.clone(),
                value: value.clone(),
            })
        }
        _ => Err(bad()),
    }
}
