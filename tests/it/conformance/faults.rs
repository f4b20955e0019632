//! Faults of components, which are down, restart or hang.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::expectations::{FaultKind, FaultyComponent};
use crate::support::db::Db;
use crate::support::sandbox::CommandSandbox;
use crate::support::{kill, until};
use icebox_sandbox::EngineKind;
use icebox_sandbox::process::ProcessId;

/// The time for which a component hangs: longer than any statement takes, and short enough for a
/// test.
const HANG: Duration = Duration::from_secs(2);

/// Returns the name of the component that a fault of this part concerns.
fn component(engine: EngineKind, part: FaultyComponent) -> &'static str {
    match part {
        FaultyComponent::Postgres => "postgres",
        FaultyComponent::S3 => "s3",
        FaultyComponent::QueryEngine if engine == EngineKind::Embedded => "lake-engine",
        FaultyComponent::QueryEngine => "pgduck_server",
    }
}

/// Returns why the components of this engine cannot fail one by one, or None if they can.
pub fn impossible(engine: EngineKind) -> Option<&'static str> {
    match engine {
        EngineKind::Containers => {
            Some("its components are containers, not processes of this machine")
        }
        EngineKind::Native | EngineKind::Embedded => None,
    }
}

/// A fault that lasts until [`Fault::end`], or until it is dropped.
pub struct Fault {
    /// The suspended supervisor, which would otherwise restart the component.
    supervisor: Option<ProcessId>,
}

impl Fault {
    pub fn begin(sandbox: &CommandSandbox, part: FaultyComponent, kind: FaultKind) -> Self {
        let name = component(sandbox.info().engine, part);
        let running = |name: &str| {
            sandbox
                .process(name)
                .unwrap_or_else(|| panic!("`icebox status` shows no process of {name}"))
        };
        let victim = running(name);
        let mut fault = Self { supervisor: None };
        match kind {
            FaultKind::Hangs => {
                victim.signal(Signal::SIGSTOP);
                std::thread::spawn(move || {
                    std::thread::sleep(HANG);
                    victim.signal(Signal::SIGCONT);
                });
                return fault;
            }
            FaultKind::Restarts => {}
            FaultKind::Down => {
                let supervisor = running("supervisor");
                supervisor.signal(Signal::SIGSTOP);
                fault.supervisor = Some(supervisor);
            }
        }
        kill(victim);
        fault
    }

    /// Ends the fault, and returns when all components answer again on a new connection.
    pub async fn end(mut self, endpoint: &icebox_postgres::Endpoint, bucket: &str) {
        self.go_on();
        let everything = format!("SELECT count(*) FROM lake_file.list('s3://{bucket}/x/**')");
        until(
            "the sandbox answers again",
            Duration::from_mins(1),
            async || match Db::try_connect(endpoint).await {
                Ok(db) => db.try_run(&everything).await.is_ok(),
                Err(_) => false,
            },
        )
        .await;
    }

    fn go_on(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.signal(Signal::SIGCONT);
        }
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.go_on();
    }
}
