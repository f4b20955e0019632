//! Running every query on every source, and the report of it.

use std::time::Instant;

use async_trait::async_trait;
use serde::Serialize;

use super::{Answer, DecodeError, Query, QueryError, aligned, compare};

/// Where the tables of a query can be read.
#[async_trait]
pub trait Source: Send + Sync {
    /// What reports call it.
    fn name(&self) -> &str;

    /// Its table for a logical name; what `{{name}}` becomes in a query.
    fn table_name(&self, logical: &str) -> String;

    async fn answer(&self, sql: &str) -> Result<Answer, SourceError>;
}

/// A source could not answer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The engine's own words.
    #[error("{0}")]
    Engine(String),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl SourceError {
    /// An error with all its causes; a cause that its effect already quotes is not said again.
    pub fn engine(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let words = cause.to_string();
            if !text.contains(&words) {
                text.push_str(&format!(": {words}"));
            }
            next = cause.source();
        }
        SourceError::Engine(text)
    }

    /// PostgreSQL's message with its SQLSTATE, detail and hint.
    pub fn postgres(error: tokio_postgres::Error) -> Self {
        SourceError::Engine(crate::parity::postgres_message(&error))
    }
}

/// What came out of one query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", content = "details", rename_all = "lowercase")]
pub enum Outcome {
    /// Every source gave the same answer.
    Same,
    /// One text for each source whose answer is not that of the first.
    Different(Vec<String>),
    /// One text for each source that gave no answer.
    Failed(Vec<String>),
}

#[derive(Clone, Debug, Serialize)]
pub struct QueryReport {
    pub name: String,
    pub title: String,
    /// The text on logical table names.
    pub sql: String,
    /// Rows of the first source's answer.
    pub rows: Option<usize>,
    /// Time to the decoded answer in milliseconds, in the order of the sources; `None` where there is no answer.
    pub millis: Vec<Option<f64>>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The sources' names; the first is the one that the others are compared with.
    pub sources: Vec<String>,
    pub queries: Vec<QueryReport>,
}

/// Runs each query on each source, one after another, and compares every answer with the first source's.
///
/// `progress` hears of each query when it is done. A difference or a source's failure is in the report; an error
/// is only what is wrong with a query file.
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
    /// Whether every query gave the same answer everywhere. A report on fewer than two sources proves nothing and is not one.
    pub fn is_same(&self) -> bool {
        self.sources.len() > 1
            && self
                .queries
                .iter()
                .all(|query| query.outcome == Outcome::Same)
    }

    /// A line per query: rows, milliseconds on each source, verdict.
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
        aligned(lines)
    }

    /// Every difference and failure with its query; empty where there is none.
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

    /// One line: how many queries gave the same answer, on what.
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
