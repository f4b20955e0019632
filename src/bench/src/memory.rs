//! The memory of icebox's processes, without PostgreSQL.

use std::time::Duration;

use super::shared_sandbox::SharedSandbox;
use super::{Error, Measurement, Report, Samples, Unit};
use icebox_sandbox::status::Status;

/// The number of bytes that the processes may use.
const GOAL: f64 = 150e6;
/// The time that the sandbox is idle before its memory is measured.
const IDLE: Duration = Duration::from_secs(3);

/// Adds the measurement `<name>` (proportional set size: memory that several processes share counts
/// once) and `<name>.rss` (resident set size: shared memory counts in each process, so the sum is
/// an upper bound).
///
/// The bench itself runs the same program and so shares its code. This lowers the proportional size
/// by a few megabytes.
pub(super) async fn measure(
    name: &str,
    when: &str,
    shared: &SharedSandbox<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    shared.say(&format!("idling for {} s", IDLE.as_secs()));
    tokio::time::sleep(IDLE).await;
    let status = Status::of(&shared.state()?)?;
    let own = status
        .components
        .iter()
        .filter(|one| one.name != "postgres");
    let pids = status
        .supervisor_pid
        .into_iter()
        .chain(own.filter_map(|one| one.pid));
    let (mut proportional, mut resident) = (0.0, 0.0);
    for pid in pids {
        let memory = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .map_err(|_| Error::NoMemory { pid })?;
        proportional += bytes(&memory, "Pss:").ok_or(Error::NoMemory { pid })?;
        resident += bytes(&memory, "Rss:").ok_or(Error::NoMemory { pid })?;
    }
    let one = |name: String, kind: &str, value| {
        let description = format!("icebox's processes {when}, {kind}");
        Measurement::new(name, description, Unit::Bytes, &Samples::new(vec![value]))
    };
    report.add(one(name.to_owned(), "PSS", proportional).goal(GOAL));
    report.add(one(format!("{name}.rss"), "RSS", resident));
    Ok(())
}

/// Returns a field of `/proc/pid/smaps_rollup` (proc(5)) in bytes. The file has kibibytes.
fn bytes(memory: &str, field: &str) -> Option<f64> {
    let line = memory.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0)
}
