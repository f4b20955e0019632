//! The accounts that buckets belong to.
//!
//! Buckets are directories and can be created by hand. A bucket without a recorded owner belongs to
//! the first account, so only the owners of other buckets are recorded, in
//! `<root>/.icebox/owners.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::RwLock;

use icebox_aws::AccountId;

/// The owners of all buckets.
#[derive(Debug)]
pub(super) struct Owners {
    path: PathBuf,
    first: AccountId,
    others: RwLock<BTreeMap<String, AccountId>>,
}

impl Owners {
    /// Reads the recorded owners. `first` owns all other buckets.
    pub fn open(path: &Path, first: AccountId) -> io::Result<Self> {
        let others = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(e),
        };
        Ok(Self {
            path: path.to_owned(),
            first,
            others: RwLock::new(others),
        })
    }

    /// Returns the account that a bucket belongs to, if the bucket exists.
    pub fn owner_of(&self, bucket: &str) -> AccountId {
        let others = self.others.read();
        others.get(bucket).unwrap_or(&self.first).clone()
    }

    /// Records the owner of a bucket that is being created; `None` removes the record of a deleted
    /// bucket.
    pub fn set(&self, bucket: &str, owner: Option<&AccountId>) -> io::Result<()> {
        let owner = owner.filter(|owner| **owner != self.first);
        let mut others = self.others.write();
        if others.get(bucket) == owner {
            return Ok(());
        }
        let mut changed = others.clone();
        match owner {
            Some(owner) => changed.insert(bucket.to_owned(), owner.clone()),
            None => changed.remove(bucket),
        };
        let temporary = self.path.with_extension("new");
        fs::write(&temporary, serde_json::to_vec_pretty(&changed)?)?;
        fs::rename(&temporary, &self.path)?;
        *others = changed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("owners.json");
        let [first, other]: [AccountId; 2] =
            ["000000000000", "111111111111"].map(|id| id.parse().expect("an id"));
        let owners = Owners::open(&path, first.clone()).expect("owners");
        owners.set("own", Some(&first)).expect("set");
        assert!(!path.exists(), "the first account's need no file");
        owners.set("theirs", Some(&other)).expect("set");
        owners.set("gone", Some(&other)).expect("set");
        owners.set("gone", None).expect("set");
        let again = Owners::open(&path, first.clone()).expect("owners");
        for (bucket, owner) in [("own", &first), ("theirs", &other), ("gone", &first)] {
            assert_eq!(again.owner_of(bucket), *owner, "{bucket}");
        }
    }
}
