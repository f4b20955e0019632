//! Keeps the memory of idle components small.

use std::convert::Infallible;
use std::time::Duration;

/// The interval at which a component checks its own processor time.
const INTERVAL: Duration = Duration::from_secs(1);
/// The processor time per interval from which a component counts as working.
const WORK: Duration = Duration::from_millis(20);

/// Makes all threads share two memory pools. By default, glibc makes eight for every processor, and
/// each keeps what a large statement has left in it. Must be called before there are threads.
pub fn share_pools() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: this sets an option of the allocator, which any thread may do.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Returns free memory of the allocator to the system whenever work has ended. Otherwise glibc
/// keeps it for as long as the process lives.
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

/// Returns the processor time of all threads together; zero if the system does not tell.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock is one of POSIX, and `time` can be written to.
    match unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } {
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
