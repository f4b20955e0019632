//! Bounded caches of data from immutable files.
//!
//! A general cache crate (moka) is no gain here: it enforces its limit later, in batches, while
//! this one never holds more than its bytes after an insert.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use parquet::file::metadata::ParquetMetaData;
use roaring::RoaringTreemap;

const FOOTER_BYTES: usize = 64 << 20;
const DELETE_BYTES: usize = 32 << 20;

/// A Parquet file's metadata, and the whole file if it is small.
pub(super) struct Footer {
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) whole: Option<Bytes>,
}

/// The contents of one delete file: deleted positions (from 0) by data file location.
pub(super) type PositionDeletes = HashMap<String, RoaringTreemap>;

/// The caches of an access to lakes, each by location.
pub(super) struct Caches {
    pub(super) footers: Cache<Footer>,
    pub(super) deletes: Cache<PositionDeletes>,
    /// Parts of data files, by location and range.
    pub(super) ranges: Cache<Bytes>,
}

impl Caches {
    /// Creates empty caches. Those of footers and deletes have a fixed capacity.
    pub(super) fn new(range_bytes: usize) -> Self {
        Self {
            footers: Cache::new(FOOTER_BYTES),
            deletes: Cache::new(DELETE_BYTES),
            ranges: Cache::new(range_bytes),
        }
    }
}

/// Values by location. When their total weight exceeds the capacity, the least recently used are
/// dropped.
///
/// Iceberg never rewrites a file in place, so an entry is never stale and cannot be invalidated.
pub(super) struct Cache<V> {
    capacity: usize,
    state: Mutex<State<V>>,
}

struct State<V> {
    entries: HashMap<String, Entry<V>>,
    weight: usize,
    clock: u64,
}

struct Entry<V> {
    value: Arc<V>,
    weight: usize,
    last_use: u64,
}

impl<V> Cache<V> {
    /// Creates a cache. `capacity` has the unit of the weights given to [`Cache::insert`], which is
    /// always bytes in this crate.
    pub(super) fn new(capacity: usize) -> Self {
        let state = State {
            entries: HashMap::new(),
            weight: 0,
            clock: 0,
        };
        Self {
            capacity,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock()
    }

    pub(super) fn get(&self, location: &str) -> Option<Arc<V>> {
        let mut state = self.lock();
        state.clock += 1;
        let now = state.clock;
        let entry = state.entries.get_mut(location)?;
        entry.last_use = now;
        Some(Arc::clone(&entry.value))
    }

    /// Whether the cache stores anything.
    pub(super) fn is_enabled(&self) -> bool {
        self.capacity > 0
    }

    /// Stores `value`, unless its weight exceeds a quarter of the capacity.
    pub(super) fn insert(&self, location: &str, value: &Arc<V>, weight: usize) {
        if weight > self.capacity / 4 {
            return;
        }
        let mut state = self.lock();
        state.clock += 1;
        let entry = Entry {
            value: Arc::clone(value),
            weight,
            last_use: state.clock,
        };
        state.weight += weight;
        if let Some(old) = state.entries.insert(location.to_owned(), entry) {
            state.weight -= old.weight;
        }
        if state.weight > self.capacity {
            state.evict_to(self.capacity * 3 / 4);
        }
    }
}

impl<V> State<V> {
    // Evicting a quarter at a time keeps the sort rare, so that an insert costs O(1) amortised.
    fn evict_to(&mut self, target: usize) {
        let mut by_age: Vec<(u64, String)> = self
            .entries
            .iter()
            .map(|(location, entry)| (entry.last_use, location.clone()))
            .collect();
        by_age.sort_unstable();
        for (_, location) in by_age {
            if self.weight <= target {
                return;
            }
            if let Some(entry) = self.entries.remove(&location) {
                self.weight -= entry.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_entries_go_first() {
        let cache = Cache::new(100);
        for name in ["a", "b", "c", "d", "e"] {
            cache.insert(name, &Arc::new(name), 20);
        }
        assert!(cache.get("a").is_some());
        cache.insert("f", &Arc::new("f"), 20);
        assert!(cache.get("b").is_none());
        assert!(cache.get("a").is_some());
        assert!(cache.get("f").is_some());
        assert!(cache.lock().weight <= 100);
    }

    #[test]
    fn an_entry_that_would_push_out_the_rest_is_not_kept() {
        let cache = Cache::new(100);
        cache.insert("big", &Arc::new(()), 26);
        assert!(cache.get("big").is_none());
    }
}
