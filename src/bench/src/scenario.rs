//! A whole scenario, from `icebox up` to its last comparison.

use std::time::Instant;

use super::sandbox::ThrowAwaySandboxes;
use super::{Bench, Error, Measurement, Report};
use icebox_scenario::{Event, SandboxBackend, Scenario, run, variables};

const RUNS: usize = 3;
/// The factor by which schedules run faster than real time.
const TIME_SCALE: &str = "60";
/// The goal in seconds.
const GOAL: f64 = 10.0;

pub(super) async fn measure(
    bench: &Bench,
    sandboxes: &ThrowAwaySandboxes,
    report: &mut Report,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(), Error> {
    let folder = &bench.scenario;
    if !folder.exists() {
        let reason = format!(
            "{} does not exist; give the folder with --scenario",
            folder.display()
        );
        report.skip("the whole scenario", reason);
        return Ok(());
    }
    progress(&format!("running {} on fresh sandboxes", folder.display()));
    // The cluster is cached first, because initdb is measured elsewhere.
    sandboxes.up("scenario", "scenario", &[]).await?;
    sandboxes.purge("scenario").await;
    let mut times = Vec::new();
    for number in 0..RUNS {
        let name = format!("scenario-{number}");
        let begun = Instant::now();
        sandboxes
            .up(&name, "scenario", &["--time-scale", TIME_SCALE])
            .await?;
        let info = sandboxes.info(&name)?;
        let scenario = Scenario::load(folder, &variables(&info))?;
        let mut backend = SandboxBackend::open(&info).await?;
        run(&scenario, &mut backend, &mut |_: Event<'_>| {}).await?;
        times.push(begun.elapsed().as_secs_f64());
        sandboxes.purge(&name).await;
    }
    let description = "the whole scenario on a fresh sandbox, tasks included, 60 times as fast";
    let one = Measurement::seconds("scenario", description, times);
    report.add(one.goal(GOAL));
    Ok(())
}
