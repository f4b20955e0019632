//! The time from `icebox up` to ready.

use super::sandbox::ThrowAwaySandboxes;
use super::{Error, Measurement, Report};

/// A measurement: its name, its description and its number of runs.
const FIRST: (&str, &str, usize) = ("start.first", "first start ever, with initdb", 3);
const FRESH: (&str, &str, usize) = ("start.fresh", "fresh sandbox, initdb cached", 5);
const WARM: (&str, &str, usize) = ("start.warm", "existing sandbox", 7);

/// The goal of a warm start in seconds.
const WARM_GOAL: f64 = 1.5;

pub(super) async fn measure(
    sandboxes: &ThrowAwaySandboxes,
    report: &mut Report,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(), Error> {
    progress("starting sandboxes, first, fresh and existing");
    let of = |(name, description, _), times| Measurement::seconds(name, description, times);

    let mut times = Vec::new();
    for run in 0..FIRST.2 {
        let name = format!("first-{run}");
        // Each first start has an empty cache of its own.
        times.push(sandboxes.up(&name, &name, &[]).await?.as_secs_f64());
        sandboxes.purge(&name).await;
    }
    report.add(of(FIRST, times));

    // The cache is now that of the last first start.
    let cache = format!("first-{}", FIRST.2 - 1);
    let mut times = Vec::new();
    for run in 0..FRESH.2 {
        let name = format!("fresh-{run}");
        times.push(sandboxes.up(&name, &cache, &[]).await?.as_secs_f64());
        sandboxes.purge(&name).await;
    }
    report.add(of(FRESH, times));

    sandboxes.up("warm", &cache, &[]).await?;
    let mut times = Vec::new();
    for _ in 0..WARM.2 {
        sandboxes.down("warm").await;
        times.push(sandboxes.up("warm", &cache, &[]).await?.as_secs_f64());
    }
    sandboxes.purge("warm").await;
    report.add(of(WARM, times).goal(WARM_GOAL));
    Ok(())
}
