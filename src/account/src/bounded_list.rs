//! A list of the newest entries, bounded by their number and by their total size.

use std::collections::VecDeque;

pub struct BoundedList<T> {
    /// The entries with their sizes in bytes, oldest first.
    entries: VecDeque<(T, usize)>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl<T> BoundedList<T> {
    /// Returns an empty list of at most `most` entries and `most_bytes` bytes in total.
    pub fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            most,
            most_bytes,
        }
    }

    /// Adds an entry of `bytes` bytes. Entries beyond the bounds are dropped, oldest first; an
    /// entry that is too large by itself is dropped at once.
    pub fn push(&mut self, entry: T, bytes: usize) {
        self.entries.push_back((entry, bytes));
        self.bytes += bytes;
        while self.entries.len() > self.most || self.bytes > self.most_bytes {
            let Some((_, bytes)) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= bytes;
        }
    }

    /// Iterates over the entries, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.entries.iter().map(|(entry, _)| entry)
    }

    /// Iterates over the entries mutably, oldest first. Their recorded sizes do not change.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.entries.iter_mut().map(|(entry, _)| entry)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Removes and returns all entries.
    pub fn drain(&mut self) -> Vec<T> {
        self.bytes = 0;
        self.entries.drain(..).map(|(entry, _)| entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::BoundedList;

    #[test]
    fn the_oldest_go_by_number_and_by_size() {
        let mut list = BoundedList::new(3, 10);
        for entry in 1..=4 {
            list.push(entry, 1);
        }
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [2, 3, 4]);
        list.push(5, 9);
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [4, 5]);
        list.push(6, 11);
        assert_eq!(list.len(), 0);
        list.push(7, 10);
        assert_eq!(list.drain(), [7]);
        assert_eq!(list.len(), 0);
    }
}
