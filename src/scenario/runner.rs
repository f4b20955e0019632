//! Running a scenario's steps, one after another, to the end or the first failure.

use std::time::{Duration, Instant};

use super::{Action, Backend, Scenario, ScenarioError, Side, SkipIf, SqlFile, Step};
use crate::parity::{Answer, QueryReport, Report, Value};
use crate::retail::{Progress, Summary};

/// What happens while a scenario runs, for whoever shows it.
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
    /// A statement gave rows.
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

/// What a whole run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunSummary {
    pub done: usize,
    pub skipped: usize,
    pub took: Duration,
}

/// Runs all steps.
pub async fn run(
    scenario: &Scenario,
    backend: &mut dyn Backend,
    events: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<RunSummary, ScenarioError> {
    let started = Instant::now();
    let mut summary = RunSummary::default();
    for (index, step) in scenario.steps.iter().enumerate() {
        events(Event::Step {
            number: index + 1,
            of: scenario.steps.len(),
            title: &step.title,
        });
        if let Some(because) = reason_to_skip(step, backend).await? {
            events(Event::Skipped { because });
            summary.skipped += 1;
            continue;
        }
        let started = Instant::now();
        run_step(step, backend, events).await?;
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
    backend: &mut dyn Backend,
) -> Result<Option<&'a str>, ScenarioError> {
    for SkipIf { sql, because } in &step.skip_if {
        let unclear = |message| ScenarioError::SkipIf {
            step: step.title.clone(),
            message,
            sql: sql.clone(),
        };
        let answer = backend
            .execute(Side::Postgres, sql)
            .await
            .map_err(|failure| unclear(failure.message))?;
        match answer.as_ref().map(|answer| answer.rows.as_slice()) {
            Some([row]) if **row == [Value::Bool(true)] => return Ok(Some(because)),
            Some([row]) if **row == [Value::Bool(false)] => {}
            _ => return Err(unclear("it must give one row with one boolean".into())),
        }
    }
    Ok(None)
}

async fn run_step(
    step: &Step,
    backend: &mut dyn Backend,
    events: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<(), ScenarioError> {
    match &step.action {
        Action::Sql(file) => run_file(step, file, backend, events).await,
        Action::Simulate(simulator) => {
            let summary = backend
                .simulate(simulator, &mut |progress| {
                    events(Event::Simulating(progress))
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
        } => {
            let report = backend
                .verify(queries, iceberg_prefix, &mut |query| {
                    events(Event::Verifying(query))
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
    backend: &mut dyn Backend,
    events: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<(), ScenarioError> {
    let failed = |message| ScenarioError::Engine {
        step: step.title.clone(),
        message,
    };
    backend
        .begin_file(file.side)
        .await
        .map_err(|error| failed(error.to_string()))?;
    if !file.atomic {
        return run_statements(step, file, backend, events).await;
    }
    backend
        .execute(file.side, "BEGIN")
        .await
        .map_err(|failure| failed(failure.message))?;
    let outcome = run_statements(step, file, backend, events).await;
    if outcome.is_err() {
        // The first failure is the one to tell; where this fails too, the session's end rolls back.
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
    backend: &mut dyn Backend,
    events: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<(), ScenarioError> {
    for (index, statement) in file.statements.iter().enumerate() {
        let answer = backend
            .execute(file.side, &statement.sql)
            .await
            .map_err(|failure| {
                // Offsets count characters of the statement as it was sent.
                let before = statement.sql.chars().take(failure.offset.unwrap_or(0));
                ScenarioError::Statement {
                    step: step.title.clone(),
                    file: file.path.clone(),
                    line: statement.line + before.filter(|c| *c == '\n').count(),
                    message: failure.message,
                    sql: statement.sql.clone(),
                }
            })?;
        if let Some(answer) = &answer {
            events(Event::Answer {
                side: file.side,
                answer,
            });
        }
        for (_, expectation) in file.expect.iter().filter(|(about, _)| *about == index) {
            expectation
                .check(answer.as_ref())
                .map_err(|reason| ScenarioError::Expectation {
                    step: step.title.clone(),
                    file: file.path.clone(),
                    line: statement.line,
                    reason,
                    sql: statement.sql.clone(),
                })?;
        }
    }
    Ok(())
}
