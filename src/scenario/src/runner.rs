//! Runs a scenario's steps, one after another, to the end or the first failure.

use std::time::{Duration, Instant};

use super::manifest::{Save, substitute};
use super::{Action, Backend, Scenario, ScenarioError, SkipIf, SqlFile, Step, Variables};
use icebox_parity::{Answer, QueryReport, Report, Value};
use icebox_retail::{Progress, Summary};
use icebox_sandbox::Side;

/// An event of a scenario's run, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    /// `number` counts from 1.
    Step {
        number: usize,
        of: usize,
        title: &'a str,
    },
    Skipped {
        because: &'a str,
    },
    /// A statement returned rows.
    Answer {
        side: Side,
        answer: &'a Answer,
    },
    Simulating(Progress),
    Simulated(&'a Summary),
    Verifying(&'a QueryReport),
    Verified(&'a Report),
    Done {
        took: Duration,
    },
}

/// The result of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunSummary {
    pub done: usize,
    pub skipped: usize,
    pub took: Duration,
}

/// The pause before a step that has a time limit is retried.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs all steps of a scenario.
pub async fn run(
    scenario: &Scenario,
    backend: &mut dyn Backend,
    events: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<RunSummary, ScenarioError> {
    let started = Instant::now();
    let mut summary = RunSummary::default();
    let mut saved = Variables::new();
    for (index, step) in scenario.steps.iter().enumerate() {
        events(Event::Step {
            number: index + 1,
            of: scenario.steps.len(),
            title: &step.title,
        });
        if let Some(because) = reason_to_skip(step, &saved, backend).await? {
            events(Event::Skipped { because });
            summary.skipped += 1;
            continue;
        }
        let started = Instant::now();
        loop {
            match run_step(step, &mut saved, backend, events).await {
                Ok(()) => break,
                Err(error) if started.elapsed() >= step.within => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        events(Event::Done {
            took: started.elapsed(),
        });
        summary.done += 1;
    }
    summary.took = started.elapsed();
    Ok(summary)
}

async fn reason_to_skip<'a>(
    step: &'a Step,
    saved: &Variables,
    backend: &mut dyn Backend,
) -> Result<Option<&'a str>, ScenarioError> {
    for SkipIf { sql, because } in &step.skip_if {
        let unclear = |message| ScenarioError::SkipIf {
            step: step.title.clone(),
            message,
            sql: sql.clone(),
        };
        let answer = backend
            .execute(Side::Postgres, &substituted(step, sql, saved)?)
            .await
            .map_err(|failure| unclear(failure.message))?;
        match answer.as_ref().map(|answer| answer.rows.as_slice()) {
            Some([row]) if **row == [Value::Bool(true)] => return Ok(Some(because)),
            Some([row]) if **row == [Value::Bool(false)] => {}
            _ => return Err(unclear("it must return one row with one boolean".into())),
        }
    }
    Ok(None)
}

/// Replaces the variables of a text by the values that earlier steps have saved.
fn substituted(step: &Step, text: &str, saved: &Variables) -> Result<String, ScenarioError> {
    substitute(text, |name| saved.get(name).cloned()).map_err(|(name, _)| ScenarioError::Engine {
        step: step.title.clone(),
        message: format!("the step that saves ${{{name}}} was skipped"),
    })
}

async fn run_step(
    step: &Step,
    saved: &mut Variables,
    backend: &mut dyn Backend,
    events: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<(), ScenarioError> {
    match &step.action {
        Action::Sql(file) => run_file(step, file, saved, backend, events).await,
        Action::Connect(server) => {
            let mut server = server.clone();
            for text in server.texts() {
                *text = substituted(step, text, saved)?;
            }
            let connected = backend.connect(&server).await;
            connected.map_err(|error| ScenarioError::Engine {
                step: step.title.clone(),
                message: icebox_base::chain(&error),
            })
        }
        Action::Simulate(simulator) => {
            let summary = backend
                .simulate(simulator, &mut |progress| {
                    events(Event::Simulating(progress));
                })
                .await
                .map_err(|source| ScenarioError::Simulate {
                    step: step.title.clone(),
                    source,
                })?;
            events(Event::Simulated(&summary));
            Ok(())
        }
        Action::Verify {
            queries,
            iceberg_prefix,
            tables,
        } => {
            let report = backend
                .verify(queries, iceberg_prefix, *tables, &mut |query| {
                    events(Event::Verifying(query));
                })
                .await
                .map_err(|source| ScenarioError::Verify {
                    step: step.title.clone(),
                    source,
                })?;
            events(Event::Verified(&report));
            if report.is_same() {
                return Ok(());
            }
            Err(ScenarioError::Different {
                step: step.title.clone(),
                details: report.details(),
            })
        }
    }
}

async fn run_file(
    step: &Step,
    file: &SqlFile,
    saved: &mut Variables,
    backend: &mut dyn Backend,
    events: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<(), ScenarioError> {
    let failed = |message| ScenarioError::Engine {
        step: step.title.clone(),
        message,
    };
    if !file.atomic {
        return run_statements(step, file, saved, backend, events).await;
    }
    backend
        .execute(file.side, "BEGIN")
        .await
        .map_err(|failure| failed(failure.message))?;
    let outcome = run_statements(step, file, saved, backend, events).await;
    if outcome.is_err() {
        // The first failure is the one to report. If this fails too, the end of the session rolls
        // back.
        let _ = backend.execute(file.side, "ROLLBACK").await;
        return outcome;
    }
    match backend.execute(file.side, "COMMIT").await {
        Ok(_) => Ok(()),
        Err(failure) => Err(failed(format!(
            "COMMIT of {}: {}",
            file.path.display(),
            failure.message
        ))),
    }
}

async fn run_statements(
    step: &Step,
    file: &SqlFile,
    saved: &mut Variables,
    backend: &mut dyn Backend,
    events: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<(), ScenarioError> {
    for (index, statement) in file.statements.iter().enumerate() {
        let sql = substituted(step, &statement.sql, saved)?;
        let answer = backend.execute(file.side, &sql).await.map_err(|failure| {
            // Offsets count characters of the statement as it was sent.
            let before = sql.chars().take(failure.offset.unwrap_or(0));
            ScenarioError::Statement {
                step: step.title.clone(),
                file: file.path.clone(),
                line: statement.line + before.filter(|c| *c == '\n').count(),
                message: failure.message,
                sql: sql.clone(),
            }
        })?;
        let unexpected = |reason| ScenarioError::Expectation {
            step: step.title.clone(),
            file: file.path.clone(),
            line: statement.line,
            reason,
            sql: sql.clone(),
        };
        for (_, expectation) in file
            .expect
            .iter()
            .filter(|(statement, _)| *statement == index)
        {
            let mut expectation = expectation.clone();
            for text in expectation.texts() {
                *text = substituted(step, text, saved)?;
            }
            expectation.check(answer.as_ref()).map_err(unexpected)?;
        }
        for (_, save) in file
            .save
            .iter()
            .filter(|(statement, _)| *statement == index)
        {
            saved.extend(values(save, answer.as_ref()).map_err(unexpected)?);
        }
        // Saved values are for later steps and may be secrets, so they are not shown.
        let is_saved = file.save.iter().any(|(statement, _)| *statement == index);
        if let Some(answer) = answer.as_ref().filter(|_| !is_saved) {
            events(Event::Answer {
                side: file.side,
                answer,
            });
        }
    }
    Ok(())
}

/// Returns the variables that are saved from an answer, or why they cannot be.
fn values(save: &Save, answer: Option<&Answer>) -> Result<Variables, String> {
    let answer = answer.ok_or("it returned no rows to save values from")?;
    let [row] = answer.rows.as_slice() else {
        return Err(format!(
            "values can be saved from one row only, but it returned {}",
            answer.rows.len()
        ));
    };
    let mut values = Variables::new();
    for (variable, source) in &save.columns {
        let (column, key) = match source.split_once('.') {
            Some((column, key)) => (column, Some(key)),
            None => (source.as_str(), None),
        };
        let found = answer.columns.iter().position(|one| one.name == column);
        let found = found.ok_or_else(|| format!("it returned no column \"{column}\""))?;
        let text = row[found].to_string();
        let value = match key {
            None => text,
            Some(key) => {
                let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
                let value = json.as_ref().and_then(|json| json.get(key)?.as_str());
                let missing = || {
                    format!(
                        "the JSON in the column \"{column}\" has no text under the key \"{key}\""
                    )
                };
                value.ok_or_else(missing)?.to_owned()
            }
        };
        values.insert(variable.clone(), value);
    }
    Ok(values)
}
