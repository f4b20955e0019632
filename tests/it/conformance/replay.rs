//! The replay of a transcript in one sandbox, statement by statement.

use std::collections::HashMap;
use std::time::Duration;

use super::BUCKET;
use super::answer::{Answer, normalized, send};
use super::expectations::{
    self, Environment, Expectations, FaultyComponent, SceneExpectations, Unprinted, first_session,
    matches,
};
use super::faults::Fault;
use super::transcript::{self, Entry};
use crate::support::db::Db;
use crate::support::sandbox::CommandSandbox;
use crate::support::until;
use icebox_postgres::Endpoint;

/// The time limit of a statement. Only a statement that waits for ever exceeds it.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(1);

/// The settings of the capture's sessions. Its catalog is PostgreSQL's own, whatever the sandbox's
/// default is.
const SESSION: &str = "SET timezone = 'UTC'; SET pg_lake_iceberg.default_catalog = 'postgres'";

/// A sandbox and its sessions.
pub struct Replay<'a> {
    endpoint: Endpoint,
    environment: Environment,
    /// The sandbox whose components may fail.
    sandbox: Option<&'a CommandSandbox>,
    sessions: HashMap<String, Db>,
    fault: Option<Fault>,
    report: Report,
    /// The number of times each statement has been run.
    seen: HashMap<String, usize>,
}

/// The result of a replay.
#[derive(Default)]
struct Report {
    same: usize,
    differing: Vec<usize>,
    wrong: Vec<String>,
}

impl<'a> Replay<'a> {
    pub fn new(
        endpoint: Endpoint,
        environment: Environment,
        sandbox: Option<&'a CommandSandbox>,
    ) -> Self {
        Self {
            endpoint,
            environment,
            sandbox,
            sessions: HashMap::new(),
            fault: None,
            report: Report::default(),
            seen: HashMap::new(),
        }
    }

    async fn session(&mut self, name: &str) -> &Db {
        if !self.sessions.contains_key(name) {
            let db = Db::connect(&self.endpoint).await;
            db.run(SESSION).await;
            self.sessions.insert(name.to_owned(), db);
        }
        &self.sessions[name]
    }

    /// Runs `fixtures/pg_lake/transcripts/<name>.txt`. Panics with all answers that are not as
    /// expected.
    pub async fn replay(mut self, name: &str) {
        let expectations = expectations::load(name);
        let scenes = transcript::scenes(&transcript::read(&format!("{name}.txt")));
        for scene_expectations in &expectations.scenes {
            let is_there = scenes
                .iter()
                .any(|scene| scene.heading == scene_expectations.heading);
            assert!(
                is_there,
                "{name}.toml: {name}.txt has no heading {:?}",
                scene_expectations.heading
            );
        }
        for scene in scenes {
            let none = SceneExpectations::default();
            let scene_expectations = expectations
                .scenes
                .iter()
                .find(|found| found.heading == scene.heading);
            let scene_expectations = scene_expectations.unwrap_or(&none);
            let mut place = 0;
            let mut prepared = 0;
            for entry in &scene.entries {
                let next = place + 1;
                if next > prepared {
                    self.unprinted(scene_expectations, next).await;
                    prepared = next;
                }
                if matches!(entry, Entry::Up) {
                    self.up().await;
                    continue;
                }
                place = next;
                if scene_expectations
                    .skip
                    .as_ref()
                    .is_some_and(|skip| place >= skip.from)
                {
                    let why = &scene_expectations.skip.as_ref().expect("just seen").reason;
                    println!(
                        "not run, from statement {place} of \"{}\" on: {why}",
                        scene.heading
                    );
                    break;
                }
                let session = scene_expectations
                    .sessions
                    .iter()
                    .find(|(_, places)| places.is_empty() || places.contains(&place));
                let session = session.map_or_else(first_session, |(name, _)| name.clone());
                let (exchange, answer) = match entry {
                    Entry::Exchange(exchange) => {
                        (exchange, self.ask(&session, &exchange.statement).await)
                    }
                    Entry::Pair(exchange) => (exchange, self.pair(&exchange.statement).await),
                    Entry::Up => continue,
                };
                self.judge(
                    &expectations,
                    &exchange.statement,
                    &exchange.answer,
                    &answer,
                );
            }
            if place + 1 > prepared {
                self.unprinted(scene_expectations, place + 1).await;
            }
        }
        self.finish(name, &expectations);
    }

    async fn ask(&mut self, session: &str, statement: &str) -> Answer {
        let db = self.session(session).await;
        let answer = send(&db.client, statement, || db.notices());
        tokio::time::timeout(STATEMENT_TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| panic!("no answer within {STATEMENT_TIMEOUT:?}: {statement}"))
    }

    /// Runs what the capture did before the statement at this position and did not print.
    async fn unprinted(&mut self, scene_expectations: &SceneExpectations, place: usize) {
        for Unprinted {
            session,
            run,
            answer,
            ..
        } in scene_expectations
            .unprinted
            .iter()
            .filter(|step| step.before == place)
        {
            let given = if run.contains(" || ") {
                self.pair(run).await
            } else {
                self.ask(session, run).await
            };
            self.check(run, answer, &given.render(run));
        }
        if let Some(writers) = scene_expectations
            .writers
            .as_ref()
            .filter(|writers| writers.before == place)
        {
            let mut at_once = tokio::task::JoinSet::new();
            for writer in 0..writers.sessions {
                let (endpoint, run, each) =
                    (self.endpoint.clone(), writers.run.clone(), writers.each);
                at_once.spawn(async move {
                    let db = Db::connect(&endpoint).await;
                    for number in 0..each {
                        let number = (writer * each + number).to_string();
                        db.run(&run.replace("{}", &number)).await;
                    }
                });
            }
            at_once.join_all().await;
        }
        if let Some(fault) = scene_expectations
            .fault
            .as_ref()
            .filter(|fault| fault.before == place)
        {
            let sandbox = self.sandbox.expect("a sandbox whose components may fail");
            self.fault = Some(Fault::begin(sandbox, fault.component, fault.kind));
            if fault.component == FaultyComponent::Postgres {
                self.sessions.clear();
            }
        }
    }

    /// Ends the current fault.
    async fn up(&mut self) {
        if let Some(fault) = self.fault.take() {
            fault.end(&self.endpoint, BUCKET).await;
        }
    }

    /// Runs a pair `first || second`: another session sends the second statement while the
    /// transaction of the first is open.
    async fn pair(&mut self, statements: &str) -> Answer {
        let (first, second) = statements.split_once(" || ").expect("two statements");
        for name in ["A", "B", "watcher"] {
            self.session(name).await;
        }
        let [a, b, watcher] = ["A", "B", "watcher"].map(|name| &self.sessions[name]);
        let pid = b.one("SELECT pg_backend_pid()").await;
        let waiting =
            format!("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {pid}");
        a.run("BEGIN").await;
        let first = a.run(first).await.count;
        let mut other = std::pin::pin!(b.try_run(second));
        let mut waits = false;
        let mut answer = None;
        until(
            "the second statement is answered, or waits for a lock",
            STATEMENT_TIMEOUT,
            async || {
                tokio::select! {
                    given = &mut other => answer = Some(given),
                    waiting = watcher.one(&waiting) => waits = waiting == "t",
                }
                waits || answer.is_some()
            },
        )
        .await;
        a.run("COMMIT").await;
        let answer = match answer {
            Some(answer) => answer,
            None => other.await,
        };
        match answer {
            Ok(answer) => Answer::of_pair(first, waits, answer.count),
            Err(failure) => Answer {
                error: Some(failure.text),
                ..Answer::default()
            },
        }
    }

    fn check(&mut self, statement: &str, expected: &str, here: &str) {
        if !matches(&normalized(expected), here) {
            let wrong = format!("{statement}\n  expected {expected}\n  but got  {here}");
            self.report.wrong.push(wrong);
        }
    }

    fn judge(
        &mut self,
        expectations: &Expectations,
        statement: &str,
        recorded: &Answer,
        given: &Answer,
    ) {
        let nth = self.seen.entry(statement.to_owned()).or_default();
        *nth += 1;
        let nth = *nth;
        let (real, here) = (recorded.render(statement), given.render(statement));
        let mut deviations = expectations.deviations.iter().enumerate();
        if let Some((place, deviation)) =
            deviations.find(|(_, deviation)| deviation.applies(statement, nth, &self.environment))
        {
            self.report.differing.push(place);
            if here == real {
                let wrong = format!(
                    "{statement}\n  is listed as a deviation, but is answered as by pg_lake: {here}"
                );
                return self.report.wrong.push(wrong);
            }
            println!("{statement}\n  {here}: {}", deviation.reason);
            return self.check(statement, &deviation.answer, &here);
        }
        if let Some(loose) = expectations
            .loose
            .iter()
            .find(|loose| loose.statement == statement)
        {
            return self.check(statement, &loose.answer, &here);
        }
        self.report.same += 1;
        if here != real {
            let wrong = format!("{statement}\n  pg_lake: {real}\n  here:    {here}");
            self.report.wrong.push(wrong);
        }
    }

    fn finish(self, name: &str, expectations: &Expectations) {
        let Report {
            same,
            differing,
            mut wrong,
        } = self.report;
        for (place, deviation) in expectations.deviations.iter().enumerate() {
            let concerns = deviation.applies_to.contains(&self.environment.pg_lake)
                && deviation
                    .before_postgres
                    .is_none_or(|version| self.environment.postgres < version);
            if concerns && !differing.contains(&place) {
                wrong.push(format!(
                    "{name}.toml lists what {name}.txt does not have: {}",
                    deviation.statement
                ));
            }
        }
        for loose in &expectations.loose {
            if !self.seen.contains_key(&loose.statement) {
                wrong.push(format!(
                    "{name}.toml lists what {name}.txt does not have: {} ({})",
                    loose.statement, loose.reason
                ));
            }
        }
        println!(
            "{name}.txt on {:?}: {same} answers compared with pg_lake's, {} differ as listed",
            self.environment,
            differing.len()
        );
        assert!(same > 0, "{name}.txt has no statement that is compared");
        assert!(
            wrong.is_empty(),
            "{} answers are wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}
