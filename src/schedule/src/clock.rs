//! The sandbox's clock, which schedules go by. It may run faster than real time, be advanced in
//! steps, or be stopped.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

/// How many seconds pass in a real second. At 0 the clock is stopped and only advances in steps.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct TimeScale(f64);

/// The error for an invalid time scale.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the time scale {0} is not a number from 0 (the clock stands) to 100000")]
pub struct ScaleError(String);

impl TimeScale {
    /// Real time.
    pub const REAL: Self = Self(1.0);
    /// A stopped clock.
    pub const STOPPED: Self = Self(0.0);

    const FASTEST: f64 = 100_000.0;

    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for TimeScale {
    type Error = ScaleError;

    fn try_from(scale: f64) -> Result<Self, ScaleError> {
        if (0.0..=Self::FASTEST).contains(&scale) {
            Ok(Self(scale))
        } else {
            Err(ScaleError(scale.to_string()))
        }
    }
}

impl From<TimeScale> for f64 {
    fn from(scale: TimeScale) -> Self {
        scale.0
    }
}

impl FromStr for TimeScale {
    type Err = ScaleError;

    fn from_str(text: &str) -> Result<Self, ScaleError> {
        let scale: f64 = text.parse().map_err(|_| ScaleError(text.to_owned()))?;
        Self::try_from(scale)
    }
}

impl fmt::Display for TimeScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The state of a clock that is persisted over a restart. Time does not pass while the sandbox is
/// down, unless the clock follows the system's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockState {
    pub now: DateTime<Utc>,
    pub scale: TimeScale,
    /// Whether the time is the system's. It is, as long as the clock is neither advanced nor
    /// scaled.
    pub is_system: bool,
}

/// A clock. Clones share one clock.
#[derive(Clone)]
pub struct Clock(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Signals that sleepers must look at the time again, or that the last hold was dropped.
    changed: watch::Sender<()>,
}

struct State {
    /// The clock's time at a real instant.
    anchor: (DateTime<Utc>, Instant),
    scale: TimeScale,
    is_system: bool,
    /// The sleepers by the time until which they sleep. The number distinguishes sleepers with the
    /// same time.
    sleepers: BTreeMap<(DateTime<Utc>, u64), oneshot::Sender<Hold>>,
    next_sleeper: u64,
    /// The number of woken sleepers that have not finished; see [`Hold`].
    holds: usize,
}

/// Keeps [`Clock::advance`] from going on, so that the work that was due at one time is finished
/// before the next time. It is dropped when the work is finished.
#[must_use = "while it is kept, Clock::advance waits"]
pub struct Hold(Clock);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lock().holds -= 1;
        self.0.0.changed.send_replace(());
    }
}

impl Hold {
    /// Sleeps until another time without letting [`Clock::advance`] pass it.
    pub async fn sleep_until(self, instant: DateTime<Utc>) -> Self {
        let clock = self.0.clone();
        let sleeper = clock.register(instant);
        drop(self);
        clock.wait(sleeper).await
    }
}

/// A registered sleeper. Dropping it removes it from the clock's sleepers, unless it was woken.
struct Sleeper<'a> {
    clock: &'a Clock,
    key: (DateTime<Utc>, u64),
    woken: oneshot::Receiver<Hold>,
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.key);
    }
}

/// How often a clock that follows the system's looks at the time, because the system's clock may be
/// set.
const LOOK: Duration = Duration::from_secs(5);

impl Clock {
    /// Returns a clock that follows the system's.
    pub fn system() -> Self {
        Self::restore(ClockState {
            now: Utc::now(),
            scale: TimeScale::REAL,
            is_system: true,
        })
    }

    /// Returns a clock that starts at a time of its own.
    pub fn starting_at(now: DateTime<Utc>, scale: TimeScale) -> Self {
        Self::restore(ClockState {
            now,
            scale,
            is_system: false,
        })
    }

    /// Returns a clock that continues from a persisted state.
    pub fn restore(state: ClockState) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                anchor: (state.now, Instant::now()),
                scale: state.scale,
                is_system: state.is_system,
                sleepers: BTreeMap::new(),
                next_sleeper: 0,
                holds: 0,
            }),
            changed: watch::channel(()).0,
        }))
    }

    pub fn state(&self) -> ClockState {
        let state = self.lock();
        ClockState {
            now: state.now(),
            scale: state.scale,
            is_system: state.is_system,
        }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.lock().now()
    }

    pub fn scale(&self) -> TimeScale {
        self.lock().scale
    }

    /// Sets the time scale from now on.
    pub fn set_scale(&self, scale: TimeScale) {
        let mut state = self.lock();
        if scale == state.scale {
            return;
        }
        let now = state.now();
        state.set(now);
        state.scale = scale;
        drop(state);
        self.0.changed.send_replace(());
    }

    /// Advances the clock. It stops at each time until which there is a sleeper, and continues when
    /// the woken sleepers have dropped their [`Hold`]. The holder of a hold must not wait for this.
    pub async fn advance(&self, by: Duration) {
        let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        let now = self.now();
        let target = now
            .checked_add_signed(by)
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        let mut changed = self.0.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if self.lock().holds > 0 {
                // The sender lives as long as the clock.
                let _ = changed.changed().await;
                continue;
            }
            let due = self.step(target);
            if due.is_empty() {
                return;
            }
            for sleeper in due {
                // If the sleeper was dropped meanwhile, the hold is dropped here.
                let _ = sleeper.send(Hold(self.clone()));
            }
        }
    }

    /// Advances to the earliest time of a sleeper, or to the target if no sleeper is due by then.
    /// Returns the sleepers that are due, each of which counts as a hold.
    fn step(&self, target: DateTime<Utc>) -> Vec<oneshot::Sender<Hold>> {
        let mut state = self.lock();
        let first = state.sleepers.keys().next().map(|(instant, _)| *instant);
        let Some(first) = first.filter(|first| *first <= target) else {
            let now = state.now().max(target);
            state.set(now);
            drop(state);
            self.0.changed.send_replace(());
            return Vec::new();
        };
        let now = state.now().max(first);
        state.set(now);
        let later = state.sleepers.split_off(&(first, u64::MAX));
        let due = std::mem::replace(&mut state.sleepers, later);
        state.holds += due.len();
        due.into_values().collect()
    }

    /// Sleeps until a time. While the returned hold exists, [`Clock::advance`] waits.
    pub async fn sleep_until(&self, instant: DateTime<Utc>) -> Hold {
        self.wait(self.register(instant)).await
    }

    fn register(&self, instant: DateTime<Utc>) -> Sleeper<'_> {
        let (sender, woken) = oneshot::channel();
        let mut state = self.lock();
        let key = (instant, state.next_sleeper);
        state.next_sleeper += 1;
        state.sleepers.insert(key, sender);
        Sleeper {
            clock: self,
            key,
            woken,
        }
    }

    async fn wait(&self, mut sleeper: Sleeper<'_>) -> Hold {
        let mut changed = self.0.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let real = {
                let mut state = self.lock();
                let is_due = state.now() >= sleeper.key.0;
                // If the sleeper is no longer registered, `advance` has its sender and sends the
                // hold.
                if is_due && let Some(sender) = state.sleepers.remove(&sleeper.key) {
                    state.holds += 1;
                    drop(state);
                    drop(sender);
                    return Hold(self.clone());
                }
                state.real_until(sleeper.key.0)
            };
            let passing = async {
                match real {
                    Some(real) => tokio::time::sleep(real).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Ok(hold) = &mut sleeper.woken => return hold,
                _ = changed.changed() => {}
                () = passing => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

impl State {
    fn now(&self) -> DateTime<Utc> {
        if self.is_system && self.scale == TimeScale::REAL {
            return Utc::now();
        }
        let (time, real) = self.anchor;
        let passed = real.elapsed().as_secs_f64() * self.scale.get();
        let passed = Duration::try_from_secs_f64(passed).unwrap_or(Duration::MAX);
        let passed = TimeDelta::from_std(passed).unwrap_or(TimeDelta::MAX);
        time.checked_add_signed(passed)
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Sets the time. The clock no longer follows the system's.
    fn set(&mut self, now: DateTime<Utc>) {
        self.anchor = (now, Instant::now());
        self.is_system = false;
    }

    /// Returns the real time to wait before the clock may reach `instant`; `None` if the clock is
    /// stopped.
    fn real_until(&self, instant: DateTime<Utc>) -> Option<Duration> {
        if self.scale == TimeScale::STOPPED {
            return None;
        }
        let left = instant.signed_duration_since(self.now());
        let left = left.to_std().unwrap_or_default().as_secs_f64() / self.scale.get();
        let real = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
        // A timer may be early by less than a millisecond.
        let real = real.max(Duration::from_millis(1));
        Some(if self.is_system { real.min(LOOK) } else { real })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "2026-03-01T09:00:00Z";

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn stopped() -> Clock {
        Clock::starting_at(instant(START), TimeScale::STOPPED)
    }

    fn minutes(count: u32) -> Duration {
        Duration::from_mins(1) * count
    }

    /// Logs the time at an interval, `count` times.
    async fn every(clock: Clock, interval: u32, count: usize, log: Arc<Mutex<Vec<String>>>) {
        let mut next = instant(START) + minutes(interval);
        let mut hold = clock.sleep_until(next).await;
        for done in 1..=count {
            // The work takes real time while the hold exists.
            tokio::time::sleep(Duration::from_millis(2)).await;
            log.lock()
                .push(format!("{interval}@{}", clock.now().format("%H:%M")));
            if done < count {
                next += minutes(interval);
                hold = hold.sleep_until(next).await;
            }
        }
        drop(hold);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn stepping_does_what_is_due_in_order_at_its_own_time() {
        let clock = stopped();
        let log = Arc::new(Mutex::new(Vec::new()));
        let tasks = [(2, 4), (3, 3)].map(|(interval, count)| {
            tokio::spawn(every(clock.clone(), interval, count, Arc::clone(&log)))
        });
        while clock.lock().sleepers.len() < 2 {
            tokio::task::yield_now().await;
        }
        clock.advance(minutes(1)).await;
        assert_eq!(*log.lock(), [""; 0]);
        assert_eq!(clock.now(), instant("2026-03-01T09:01:00Z"));

        clock.advance(minutes(4)).await;
        assert_eq!(*log.lock(), ["2@09:02", "3@09:03", "2@09:04"]);
        clock.advance(minutes(10)).await;
        for task in tasks {
            task.await.unwrap();
        }
        let mut log = log.lock().split_off(3);
        // Two sleepers that are due at the same time wake in any order.
        log[..2].sort();
        assert_eq!(log, ["2@09:06", "3@09:06", "2@09:08", "3@09:09"]);
        assert_eq!(clock.now(), instant("2026-03-01T09:15:00Z"));
    }

    #[tokio::test]
    async fn a_time_that_has_passed_is_not_waited_for() {
        let clock = stopped();
        drop(clock.sleep_until(instant(START)).await);
        drop(clock.sleep_until(instant("2020-01-01T00:00:00Z")).await);
        clock.advance(Duration::ZERO).await;
        assert_eq!(clock.now(), instant(START));
    }

    #[tokio::test]
    async fn one_that_gave_up_sleeping_holds_nothing() {
        let clock = stopped();
        let later = instant("2026-03-01T09:05:00Z");
        let patience = Duration::from_millis(5);
        let slept = tokio::time::timeout(patience, clock.sleep_until(later)).await;
        assert!(slept.is_err());
        assert!(clock.lock().sleepers.is_empty());
        // A sleeper that is dropped at the moment at which it is woken.
        let mut asleep = Box::pin(clock.sleep_until(later));
        assert!(futures::poll!(&mut asleep).is_pending());
        let mut advance = Box::pin(clock.advance(minutes(6)));
        assert!(futures::poll!(&mut advance).is_pending());
        drop(asleep);
        advance.await;
        assert_eq!(
            (clock.now(), clock.lock().holds),
            (instant("2026-03-01T09:06:00Z"), 0)
        );
    }

    #[tokio::test]
    async fn a_scaled_clock_runs_faster() {
        let clock = Clock::starting_at(instant(START), TimeScale::try_from(1200.0).unwrap());
        let began = Instant::now();
        let _hold = clock.sleep_until(instant("2026-03-01T09:02:00Z")).await;
        let real = began.elapsed();
        assert!(clock.now() >= instant("2026-03-01T09:02:00Z"));
        assert!(real >= Duration::from_millis(99), "{real:?}");
        assert!(real < Duration::from_secs(20), "{real:?}");
    }

    #[tokio::test]
    async fn another_scale_reaches_those_who_sleep() {
        let clock = Clock::starting_at(instant(START), TimeScale::REAL);
        let sleeping = clock.clone();
        let sleeper = tokio::spawn(async move {
            drop(sleeping.sleep_until(instant("2026-03-01T12:00:00Z")).await);
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        clock.set_scale(TimeScale::try_from(100_000.0).unwrap());
        tokio::time::timeout(Duration::from_secs(20), sleeper)
            .await
            .unwrap()
            .unwrap();
    }

    #[test]
    fn the_time_is_kept_over_a_restart() {
        let clock = Clock::starting_at(instant(START), TimeScale::STOPPED);
        let saved = serde_json::to_string(&clock.state()).unwrap();
        assert_eq!(
            saved,
            r#"{"now":"2026-03-01T09:00:00Z","scale":0.0,"is_system":false}"#
        );
        let again = Clock::restore(serde_json::from_str(&saved).unwrap());
        assert_eq!(again.state(), clock.state());
        assert!(serde_json::from_str::<ClockState>(&saved.replace("0.0", "-1.0")).is_err());
    }

    #[tokio::test]
    async fn the_systems_clock_is_followed_until_it_is_stepped() {
        let clock = Clock::system();
        let away = |clock: &Clock| (clock.now() - Utc::now()).num_seconds().abs();
        assert!(away(&clock) < 5 && clock.state().is_system);
        // A clock that follows the system's has also advanced while nothing ran.
        let mut state = clock.state();
        state.now -= minutes(90);
        assert!(away(&Clock::restore(state)) < 5);

        clock.advance(minutes(60)).await;
        assert!((3595..3605).contains(&away(&clock)) && !clock.state().is_system);
    }

    #[test]
    fn scales() {
        assert_eq!("60".parse(), TimeScale::try_from(60.0));
        assert_eq!("0".parse(), Ok(TimeScale::STOPPED));
        for text in ["-1", "fast", "NaN", "inf", "100001"] {
            assert!(text.parse::<TimeScale>().is_err(), "{text}");
        }
        let error = "fast".parse::<TimeScale>().unwrap_err();
        assert!(error.to_string().contains("fast") && error.to_string().contains("from 0"));
    }
}
