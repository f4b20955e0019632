//! Query files: one SELECT on logical table names, with a header comment.
//!
//! ```sql
//! -- title: Revenue by store
//! SELECT s.store_name, sum(t.total_amount) AS revenue
//! FROM {{transactions}} t JOIN {{stores}} s ON s.store_id = t.store_id
//! GROUP BY s.store_name ORDER BY revenue DESC, s.store_name
//! ```
//!
//! `{{name}}` is a logical table name, which each source replaces with its own table name. If the
//! query has an ORDER BY, the order of the rows is part of the answer, except between rows with
//! equal sort keys. The sort keys must therefore be output columns. If they cannot be derived from
//! the text, a header line `-- order-by: column, column` names them; `-- order-by: none` says that
//! order does not matter.

use std::path::{Path, PathBuf};

use sqlparser::ast::{self, Expr, OrderByKind, SelectItem, SetExpr, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::Answer;

/// A query whose answers are compared.
#[derive(Clone, Debug)]
pub struct Query {
    /// The file's name without `.sql`.
    pub name: String,
    /// The header's `title`.
    pub title: String,
    /// The text with its placeholders, without the header.
    pub template: String,
    order: Vec<SortKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum SortKey {
    /// The position of a column, from 0.
    Position(usize),
    Name(String),
}

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("cannot read the queries in {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no .sql file in {path}")]
    Empty { path: PathBuf },
    #[error("query {name}: {reason}")]
    Bad { name: String, reason: String },
    #[error("no query is called {wanted}; there are: {known}")]
    Unknown { wanted: String, known: String },
}

impl Query {
    /// Reads a query from the text of its file.
    pub fn parse(name: &str, text: &str) -> Result<Self, QueryError> {
        let bad = |reason: String| QueryError::Bad {
            name: name.to_owned(),
            reason,
        };
        let (mut title, mut declared) = (None, None);
        let header_lines = text
            .lines()
            .take_while(|line| line.trim().is_empty() || line.trim().starts_with("--"));
        let mut header_count = 0;
        for line in header_lines {
            header_count += 1;
            let comment = line.trim().trim_start_matches('-').trim();
            if let Some(value) = comment.strip_prefix("title:") {
                title = Some(value.trim().to_owned());
            } else if let Some(value) = comment.strip_prefix("order-by:") {
                declared = Some(value.trim().to_owned());
            }
        }
        let title =
            title.ok_or_else(|| bad("the first lines must have a comment `-- title: …`".into()))?;
        let body: Vec<&str> = text.lines().skip(header_count).collect();
        let template = body
            .join("\n")
            .trim()
            .trim_end_matches(';')
            .trim_end()
            .to_owned();
        if template.is_empty() {
            return Err(bad("there is no statement".into()));
        }
        let plain = substitute(&template, ToOwned::to_owned).map_err(&bad)?;
        let order = match declared.as_deref() {
            Some("none") => Vec::new(),
            Some(columns) => columns.split(',').map(|column| SortKey::Name(column.trim().to_owned())).collect(),
            None => derive_order(&plain).map_err(|reason| {
                bad(format!("{reason}; a header line `-- order-by: column, …` (or `none`) can name the sort keys"))
            })?,
        };
        Ok(Self {
            name: name.to_owned(),
            title,
            template,
            order,
        })
    }

    /// Reads every `*.sql` file of a folder, in the order of the names.
    pub fn load_dir(path: &Path) -> Result<Vec<Self>, QueryError> {
        let read = |source| QueryError::Read {
            path: path.to_owned(),
            source,
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(read)? {
            let file = entry.map_err(read)?.path();
            if file.extension().is_some_and(|extension| extension == "sql") {
                files.push(file);
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(QueryError::Empty {
                path: path.to_owned(),
            });
        }
        files
            .iter()
            .map(|file| {
                let text = std::fs::read_to_string(file).map_err(|source| QueryError::Read {
                    path: file.clone(),
                    source,
                })?;
                Self::parse(
                    &file.file_stem().unwrap_or_default().to_string_lossy(),
                    &text,
                )
            })
            .collect()
    }

    /// Returns the queries whose name is `wanted`, with or without its number.
    pub fn only(queries: Vec<Self>, wanted: &str) -> Result<Vec<Self>, QueryError> {
        let known: Vec<String> = queries.iter().map(|query| query.name.clone()).collect();
        let chosen: Vec<Self> = queries
            .into_iter()
            .filter(|query| {
                query.name == wanted
                    || query
                        .name
                        .split_once('-')
                        .is_some_and(|(_, rest)| rest == wanted)
            })
            .collect();
        if chosen.is_empty() {
            return Err(QueryError::Unknown {
                wanted: wanted.to_owned(),
                known: known.join(", "),
            });
        }
        Ok(chosen)
    }

    /// Returns the statement, with each logical table name replaced.
    pub fn sql(&self, table_name: impl Fn(&str) -> String) -> String {
        substitute(&self.template, table_name)
            .expect("placeholders were checked when the query was read")
    }

    /// Returns the positions of the sort keys among the answer's columns; empty if order does not
    /// matter.
    pub fn sort_keys(&self, answer: &Answer) -> Result<Vec<usize>, QueryError> {
        self.order
            .iter()
            .map(|key| match key {
                SortKey::Position(position) if *position < answer.columns.len() => Ok(*position),
                SortKey::Position(position) => Err(format!(
                    "ORDER BY {} is beyond the last column",
                    position + 1
                )),
                SortKey::Name(name) => answer
                    .columns
                    .iter()
                    .position(|column| column.name.eq_ignore_ascii_case(name))
                    .ok_or_else(|| format!("the sort key {name} is not an output column")),
            })
            .collect::<Result<_, _>>()
            .map_err(|reason| QueryError::Bad {
                name: self.name.clone(),
                reason,
            })
    }
}

/// Replaces each `{{name}}` with the table name that the function returns.
fn substitute(template: &str, table_name: impl Fn(&str) -> String) -> Result<String, String> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or("`{{` without `}}`")?;
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("`{{{{{name}}}}}` is not a logical table name"));
        }
        text.push_str(before);
        text.push_str(&table_name(name));
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// Derives the sort keys from the outermost ORDER BY, as output columns.
fn derive_order(sql: &str) -> Result<Vec<SortKey>, String> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql)
        .map_err(|error| format!("cannot read the statement: {error}"))?;
    let (Some(Statement::Query(query)), true) = (statements.pop(), statements.is_empty()) else {
        return Err("the file must hold one SELECT".into());
    };
    let Some(order_by) = query.order_by else {
        return Ok(Vec::new());
    };
    let OrderByKind::Expressions(keys) = order_by.kind else {
        return Err("ORDER BY ALL is not standard SQL".into());
    };
    let projection = projection(&query.body);
    keys.iter()
        .map(|key| output_column(&key.expr, projection))
        .collect()
}

/// Returns the select list that names the output columns; of a set operation, the first one.
fn projection(body: &SetExpr) -> &[SelectItem] {
    match body {
        SetExpr::Select(select) => &select.projection,
        SetExpr::Query(query) => projection(&query.body),
        SetExpr::SetOperation { left, .. } => projection(left),
        _ => &[],
    }
}

fn output_column(key: &Expr, projection: &[SelectItem]) -> Result<SortKey, String> {
    if let Expr::Value(value) = key
        && let ast::Value::Number(number, _) = &value.value
    {
        let position = number
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_sub(1));
        return position
            .map(SortKey::Position)
            .ok_or_else(|| format!("ORDER BY {number} is not a column number"));
    }
    // An output name takes precedence over an input column of the same name (SQL-92, and
    // PostgreSQL's "ORDER BY Clause").
    if let Expr::Identifier(name) = key {
        let named = projection.iter().any(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => {
                alias.value.eq_ignore_ascii_case(&name.value)
            }
            SelectItem::UnnamedExpr(Expr::Identifier(column)) => {
                column.value.eq_ignore_ascii_case(&name.value)
            }
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts
                .last()
                .is_some_and(|part| part.value.eq_ignore_ascii_case(&name.value)),
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
            SelectItem::UnnamedExpr(_) => false,
        });
        if named {
            return Ok(SortKey::Name(name.value.clone()));
        }
    }
    let wildcard = |item: &SelectItem| {
        matches!(
            item,
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
        )
    };
    let position = projection.iter().position(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr == key,
        _ => false,
    });
    match position {
        Some(position) if !projection[..position].iter().any(wildcard) => {
            Ok(SortKey::Position(position))
        }
        _ => Err(format!("the sort key {key} is not an output column")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Query, SortKey};

    fn order(body: &str) -> Result<Vec<SortKey>, String> {
        Query::parse("q", &format!("-- title: t\n{body}"))
            .map(|query| query.order)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn sort_keys_are_found_in_the_select_list() {
        assert_eq!(order("SELECT a FROM {{t}}").unwrap(), []);
        assert_eq!(
            order("SELECT a, b FROM {{t}} ORDER BY 2 DESC, a").unwrap(),
            [SortKey::Position(1), SortKey::Name("a".into())]
        );
        assert_eq!(
            order("SELECT x.a, sum(b) FROM {{t}} x GROUP BY x.a ORDER BY sum(b), x.a").unwrap(),
            [SortKey::Position(1), SortKey::Position(0)]
        );
        assert_eq!(
            order("SELECT a FROM {{t}} UNION ALL SELECT b FROM {{u}} ORDER BY a;").unwrap(),
            [SortKey::Name("a".into())]
        );
        // The order inside a subquery is not part of the answer.
        assert_eq!(
            order("SELECT a FROM (SELECT a FROM {{t}} ORDER BY a LIMIT 3) x").unwrap(),
            []
        );
    }

    #[test]
    fn a_key_outside_the_select_list_must_be_declared() {
        let error = order("SELECT a FROM {{t}} ORDER BY b").unwrap_err();
        assert!(
            error.contains("the sort key b is not an output column; a header line"),
            "{error}"
        );
        let query = Query::parse(
            "q",
            "-- title: t\n-- order-by: a\nSELECT a FROM {{t}} ORDER BY b",
        )
        .unwrap();
        assert_eq!(query.order, [SortKey::Name("a".into())]);
    }

    #[test]
    fn placeholders() {
        let query = Query::parse(
            "q",
            "-- title: t\n\nSELECT 1 FROM {{ a }} JOIN {{b_2}} USING (x);\n",
        )
        .unwrap();
        assert_eq!(
            query.sql(|table| format!("iceberg_{table}")),
            "SELECT 1 FROM iceberg_a JOIN iceberg_b_2 USING (x)"
        );
        for bad in [
            "SELECT 1",
            "-- title: t\n",
            "-- title: t\nSELECT 1 FROM {{a",
            "-- title: t\nSELECT 1 FROM {{a b}}",
        ] {
            assert!(Query::parse("q", bad).is_err(), "{bad}");
        }
        assert!(Query::parse("q", "-- title: t\nSELECT 1; SELECT 2").is_err());
    }
}
