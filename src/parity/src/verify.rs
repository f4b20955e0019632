//! Runs every query on every source, and reports the results.

use std::time::Instant;

use async_trait::async_trait;
use serde::Serialize;

use super::{Answer, DecodeError, Query, QueryError, compare, table};

/// A place where the tables of a query can be read.
#[async_trait]
pub trait Source: Send + Sync {
    /// Returns the source's name in reports.
    fn name(&self) -> &str;

    /// Returns the source's table for a logical name, which replaces `{{name}}` in a query.
    fn table_name(&self, logical: &str) -> String;

    async fn answer(&self, sql: &str) -> Result<Answer, SourceError>;
}

/// The error of a source that could not answer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The engine's own error message.
    #[error("{0}")]
    Engine(String),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl SourceError {
    /// Makes an error of another error and all its causes. A cause that is already quoted is not
    /// repeated.
    pub fn engine(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Engine(icebox_base::chain(error))
    }

    /// Makes an error of PostgreSQL's message with its SQLSTATE, detail and hint.
    pub fn postgres(error: tokio_postgres::Error) -> Self {
        Self::Engine(crate::postgres_message(&error))
    }
}

/// The result of one query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", content = "details", rename_all = "lowercase")]
pub enum Outcome {
    /// Every source gave the same answer.
    Same,
    /// One text for each source whose answer is not that of the first.
    Different(Vec<String>),
    /// One text for each source that gave no answer, followed by those of differences.
    Failed(Vec<String>),
}

#[derive(Clone, Debug, Serialize)]
pub struct QueryReport {
    pub name: String,
    pub title: String,
    /// The query's text on logical table names.
    pub sql: String,
    /// The number of rows of the first answer.
    pub rows: Option<usize>,
    /// Milliseconds until the answer was decoded, in the order of the sources; `None` if there is
    /// no answer.
    pub millis: Vec<Option<f64>>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The sources' names. The others are compared with the first.
    pub sources: Vec<String>,
    pub queries: Vec<QueryReport>,
}

/// Runs each query on each source, one after another, and compares every answer with the first
/// source's.
///
/// `progress` is called for each query when it is done. A difference or a source's failure is in
/// the report; an error is returned only for a fault in a query file.
pub async fn verify(
    queries: &[Query],
    sources: &[Box<dyn Source>],
    mut progress: impl FnMut(&QueryReport) + Send,
) -> Result<Report, QueryError> {
    let mut reports = Vec::with_capacity(queries.len());
    for query in queries {
        let report = verify_one(query, sources).await?;
        progress(&report);
        reports.push(report);
    }
    Ok(Report {
        sources: sources
            .iter()
            .map(|source| source.name().to_owned())
            .collect(),
        queries: reports,
    })
}

async fn verify_one(query: &Query, sources: &[Box<dyn Source>]) -> Result<QueryReport, QueryError> {
    let mut answers = Vec::with_capacity(sources.len());
    let (mut millis, mut failures, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for source in sources {
        let sql = query.sql(|table| source.table_name(table));
        let started = Instant::now();
        match source.answer(&sql).await {
            Ok(answer) => {
                millis.push(Some(started.elapsed().as_secs_f64() * 1000.0));
                answers.push((source.name(), answer));
            }
            Err(error) => {
                millis.push(None);
                failures.push(format!(
                    "{} gave no answer: {error}\nIts statement:\n{sql}\n",
                    source.name()
                ));
            }
        }
    }
    let rows = answers.first().map(|(_, answer)| answer.rows.len());
    if let Some(((first_name, first), others)) = answers.split_first() {
        let keys = query.sort_keys(first)?;
        for (name, answer) in others {
            if let Some(difference) = compare(first, answer, &keys) {
                differences.push(difference.render(first_name, name));
            }
        }
    }
    let outcome = match (failures.is_empty(), differences.is_empty()) {
        (true, true) => Outcome::Same,
        (true, false) => Outcome::Different(differences),
        (false, _) => Outcome::Failed([failures, differences].concat()),
    };
    Ok(QueryReport {
        name: query.name.clone(),
        title: query.title.clone(),
        sql: query.template.clone(),
        rows,
        millis,
        outcome,
    })
}

impl QueryReport {
    fn verdict(&self) -> &'static str {
        match self.outcome {
            Outcome::Same => "ok",
            Outcome::Different(_) => "DIFF",
            Outcome::Failed(_) => "ERROR",
        }
    }
}

impl Report {
    /// Returns whether every query gave the same answer on all sources. A report on fewer than two
    /// sources proves nothing, so it returns `false`.
    pub fn is_same(&self) -> bool {
        self.sources.len() > 1
            && self
                .queries
                .iter()
                .all(|query| query.outcome == Outcome::Same)
    }

    /// Formats one line per query: rows, milliseconds on each source, verdict.
    pub fn table(&self) -> String {
        let mut header = vec!["query".to_owned(), "rows".to_owned()];
        header.extend(self.sources.iter().map(|source| format!("{source} ms")));
        header.push(String::new());
        let mut lines = vec![header];
        for query in &self.queries {
            let mut line = vec![
                query.name.clone(),
                query.rows.map_or("-".into(), |rows| rows.to_string()),
            ];
            line.extend(
                query
                    .millis
                    .iter()
                    .map(|millis| millis.map_or("-".into(), |millis| format!("{millis:.1}"))),
            );
            line.push(query.verdict().to_owned());
            lines.push(line);
        }
        table::aligned(lines)
    }

    /// Formats every difference and failure with its query; empty if there is none.
    pub fn details(&self) -> String {
        let mut text = String::new();
        for query in &self.queries {
            let (Outcome::Different(parts) | Outcome::Failed(parts)) = &query.outcome else {
                continue;
            };
            text.push_str(&format!(
                "── {} ── {}: {}\n{}\n\n",
                query.verdict(),
                query.name,
                query.title,
                query.sql
            ));
            for part in parts {
                text.push_str(part);
                text.push('\n');
            }
        }
        text
    }

    /// Formats one line: how many queries gave the same answer, and on which sources.
    pub fn summary(&self) -> String {
        let same = self
            .queries
            .iter()
            .filter(|query| query.outcome == Outcome::Same)
            .count();
        format!(
            "{same} of {} queries gave the same answer on {}",
            self.queries.len(),
            self.sources.join(", ")
        )
    }
}
