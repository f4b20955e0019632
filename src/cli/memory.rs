//! Memory that a component keeps while it has nothing to do.

use std::convert::Infallible;
use std::time::Duration;

/// How often a component looks at itself.
const INTERVAL: Duration = Duration::from_secs(1);
/// The processor time of an interval from which on it counts as work.
const WORK: Duration = Duration::from_millis(20);

/// Whenever work has ended, returns what it has left in the allocator: glibc keeps it otherwise, for as long as the
/// process lives.
pub async fn trim_after_work() -> Infallible {
    let (mut has_worked, mut before) = (true, processor_time());
    loop {
        tokio::time::sleep(INTERVAL).await;
        let is_working = processor_time().saturating_sub(before) >= WORK;
        if has_worked && !is_working {
            trim();
        }
        has_worked = is_working;
        before = processor_time();
    }
}

/// What all threads together have used; nothing where the system does not tell.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock is one of POSIX, and the time is written to.
    match unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) } {
        0 => Duration::new(time.tv_sec as u64, time.tv_nsec as u32),
        _ => Duration::ZERO,
    }
}

fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
