//! Row ids in the remote protocol. `postgres_fdw` passes a `ctid` from a scan to the UPDATE or
//! DELETE of the row.

use std::collections::HashMap;

/// The bits of a `ctid` that hold the row's position in its file. The other 20 bits hold the file's
/// number.
const POSITION_BITS: u32 = 28;

/// The id of a row. It is valid until the transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RowId {
    pub file: u32,
    pub position: u64,
}

impl RowId {
    /// Appends the id as the text of a `ctid`: 48 bits, which PostgreSQL splits into block and
    /// offset.
    pub(super) fn write(self, out: &mut String) {
        use std::fmt::Write as _;
        let bits = u64::from(self.file) << POSITION_BITS | self.position;
        _ = write!(out, "({},{})", bits >> 16, bits & 0xffff);
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (block, offset) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
        let bits = block.parse::<u64>().ok()? << 16 | offset.parse::<u64>().ok()?;
        Some(Self {
            file: (bits >> POSITION_BITS) as u32,
            position: bits & ((1 << POSITION_BITS) - 1),
        })
    }

    /// Whether the 48 bits of a `ctid` can hold this id.
    pub(super) fn fits(self) -> bool {
        self.position < 1 << POSITION_BITS && self.file < 1 << (48 - POSITION_BITS)
    }
}

/// The numbers assigned to file locations.
#[derive(Debug, Default)]
pub(super) struct FileNumbers {
    locations: Vec<String>,
    numbers: HashMap<String, u32>,
    /// The number returned last. Rows arrive file by file, so the next one is often the same.
    last: u32,
}

impl FileNumbers {
    pub(super) fn number(&mut self, location: &str) -> u32 {
        if self.location(self.last) == Some(location) {
            return self.last;
        }
        if let Some(number) = self.numbers.get(location) {
            self.last = *number;
            return *number;
        }
        let number = self.locations.len() as u32;
        self.last = number;
        self.locations.push(location.to_owned());
        self.numbers.insert(location.to_owned(), number);
        number
    }

    /// Whether a row of this file has been given an id.
    pub(super) fn has(&self, location: &str) -> bool {
        self.numbers.contains_key(location)
    }

    pub(super) fn location(&self, number: u32) -> Option<&str> {
        self.locations.get(number as usize).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_ids_survive_the_wire() {
        for id in [
            RowId {
                file: 0,
                position: 0,
            },
            RowId {
                file: 3,
                position: 122_880,
            },
            RowId {
                file: (1 << 20) - 1,
                position: (1 << 28) - 1,
            },
        ] {
            let mut text = String::new();
            id.write(&mut text);
            assert!(id.fits());
            assert_eq!(RowId::parse(text.as_bytes()), Some(id), "{text}");
        }
    }
}
