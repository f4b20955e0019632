//! Lists keys in S3's order (bytes of UTF-8), read lazily from a directory tree.
//!
//! Every directory stands for a key prefix that ends with a slash, and the keys under it are
//! consecutive in the order of all keys. So a walk that sorts each directory by key, with a slash
//! after the names of directories, returns the keys in order. Directories outside the requested
//! prefix, or before the place where a page begins, are never read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::keys::{self, Name};

/// The parameters of a listing.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    /// Only keys that begin with this are listed.
    pub prefix: String,
    /// Keys that contain this after the prefix are folded into one common prefix that ends with it.
    pub delimiter: Option<String>,
    pub after: After,
}

/// The position where a page begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum After {
    #[default]
    Start,
    /// Keys greater than this.
    Key(String),
    /// Keys greater than this that do not begin with it: those that follow a common prefix.
    Group(String),
}

impl After {
    fn excludes_key(&self, key: &str) -> bool {
        match self {
            Self::Start => false,
            Self::Key(after) => key <= after.as_str(),
            Self::Group(group) => key <= group.as_str() || key.starts_with(group.as_str()),
        }
    }

    /// Returns whether every key that begins with `start` is excluded.
    fn excludes_all(&self, start: &str) -> bool {
        match self {
            Self::Start => false,
            Self::Key(after) => start <= after.as_str() && !after.starts_with(start),
            Self::Group(group) => {
                start.starts_with(group.as_str())
                    || (start <= group.as_str() && !group.starts_with(start))
            }
        }
    }

    /// Returns whether no key that begins with `start` is excluded.
    fn excludes_none(&self, start: &str) -> bool {
        match self {
            Self::Start => true,
            Self::Key(after) => after.as_str() < start,
            Self::Group(group) => group.as_str() < start && !start.starts_with(group.as_str()),
        }
    }
}

/// An item of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Object { key: String, path: PathBuf },
    CommonPrefix(String),
}

/// A walk over the items of a bucket in order.
pub(super) struct Walk {
    query: Query,
    /// The directories that are being read, the innermost last.
    open: Vec<std::vec::IntoIter<Entry>>,
    last_group: Option<String>,
}

#[derive(Debug)]
struct Entry {
    /// An object's key, or the prefix of a directory's keys.
    key: String,
    path: PathBuf,
    is_dir: bool,
}

impl Walk {
    pub fn new(bucket_dir: &Path, query: Query) -> io::Result<Self> {
        let mut start = bucket_dir.to_owned();
        start.extend(keys::directories_of_prefix(&query.prefix));
        let base = query
            .prefix
            .rfind('/')
            .map_or("", |end| &query.prefix[..=end])
            .to_owned();
        let mut walk = Self {
            query,
            open: Vec::new(),
            last_group: None,
        };
        walk.enter(&start, &base)?;
        Ok(walk)
    }

    /// Reads a directory. A directory that no longer exists counts as empty.
    fn enter(&mut self, dir: &Path, base: &str) -> io::Result<()> {
        let mut entries = Vec::new();
        read_directory(
            dir,
            &mut Vec::new(),
            base,
            "",
            &self.query.prefix,
            &mut entries,
        )?;
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        entries.dedup_by(|a, b| a.key == b.key);
        self.open.push(entries.into_iter());
        Ok(())
    }

    /// Returns the common prefix that a key, or all keys of a directory, belong to.
    fn group<'a>(&self, key: &'a str) -> Option<&'a str> {
        let delimiter = self.query.delimiter.as_deref()?;
        let rest = key.strip_prefix(self.query.prefix.as_str())?;
        let at = rest.find(delimiter)?;
        Some(&key[..self.query.prefix.len() + at + delimiter.len()])
    }

    /// Returns the next item, or `None` at the end.
    pub fn next_item(&mut self) -> io::Result<Option<Item>> {
        while let Some(entries) = self.open.last_mut() {
            let Some(entry) = entries.next() else {
                self.open.pop();
                continue;
            };
            let group = self.group(&entry.key).map(str::to_owned);
            if group.is_some() && group == self.last_group {
                continue;
            }
            if entry.is_dir {
                if self.query.after.excludes_all(&entry.key) {
                    continue;
                }
                match group {
                    Some(group) if self.query.after.excludes_none(&entry.key) => {
                        if !has_object(&entry.path)? {
                            continue;
                        }
                        self.last_group = Some(group.clone());
                        return Ok(Some(Item::CommonPrefix(group)));
                    }
                    _ => self.enter(&entry.path, &entry.key)?,
                }
                continue;
            }
            if self.query.after.excludes_key(&entry.key) {
                continue;
            }
            return Ok(Some(match group {
                Some(group) => {
                    self.last_group = Some(group.clone());
                    Item::CommonPrefix(group)
                }
                None => Item::Object {
                    key: entry.key,
                    path: entry.path,
                },
            }));
        }
        Ok(None)
    }
}

/// Adds the entries of `dir` whose keys can have the prefix. If `dir` continues a long segment,
/// `start` is the beginning of that segment, and `parts` are the file names that store it.
fn read_directory(
    dir: &Path,
    parts: &mut Vec<String>,
    base: &str,
    start: &str,
    prefix: &str,
    out: &mut Vec<Entry>,
) -> io::Result<()> {
    let listing = match fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    for found in listing {
        let found = found?;
        let Ok(name) = found.file_name().into_string() else {
            continue;
        };
        let file_type = found.file_type()?;
        if !file_type.is_dir() && !file_type.is_file() {
            continue;
        }
        let Some(decoded) = keys::decode_name(&name) else {
            continue;
        };
        let segment = match decoded {
            Name::Continued(more) if file_type.is_dir() => {
                let start = format!("{start}{more}");
                parts.push(name);
                read_directory(&found.path(), parts, base, &start, prefix, out)?;
                parts.pop();
                continue;
            }
            Name::Segment(segment) => segment,
            Name::BesideDirectory(segment) if file_type.is_file() => segment,
            Name::Continued(_) | Name::BesideDirectory(_) => continue,
        };
        let segment = format!("{start}{segment}");
        if !is_encoded(&segment, parts, &name) {
            continue;
        }
        let slash = if file_type.is_dir() { "/" } else { "" };
        let key = format!("{base}{segment}{slash}");
        if key.starts_with(prefix) || (file_type.is_dir() && prefix.starts_with(&key)) {
            out.push(Entry {
                key,
                path: found.path(),
                is_dir: file_type.is_dir(),
            });
        }
    }
    Ok(())
}

/// Returns whether `segment` encodes to exactly these names. Otherwise a file was put there by
/// hand, and no key leads to it.
fn is_encoded(segment: &str, parts: &[String], name: &str) -> bool {
    let names = keys::encode_segment(segment);
    let Some((last, leading)) = names.split_last() else {
        return false;
    };
    leading == parts && (last == name || keys::beside_directory(last) == name)
}

/// Returns whether there is any object under a directory.
fn has_object(dir: &Path) -> io::Result<bool> {
    let listing = match fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let mut inner = Vec::new();
    for found in listing {
        let found = found?;
        let file_type = found.file_type()?;
        if file_type.is_file()
            && found
                .file_name()
                .to_str()
                .and_then(keys::decode_name)
                .is_some()
        {
            return Ok(true);
        }
        if file_type.is_dir() {
            inner.push(found.path());
        }
    }
    for dir in inner {
        if has_object(&dir)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Location;

    fn bucket(keys: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for key in keys {
            let location = Location::of_key(key);
            let mut path = dir.path().to_owned();
            path.extend(&location.dirs);
            fs::create_dir_all(&path).unwrap();
            path.push(location.name);
            if path.is_dir() {
                path = path.with_file_name(keys::beside_directory(
                    path.file_name().unwrap().to_str().unwrap(),
                ));
            }
            fs::write(path, key).unwrap();
        }
        dir
    }

    fn list(dir: &Path, prefix: &str, delimiter: Option<&str>, after: After) -> Vec<String> {
        let query = Query {
            prefix: prefix.into(),
            delimiter: delimiter.map(str::to_owned),
            after,
        };
        let mut walk = Walk::new(dir, query).unwrap();
        let mut out = Vec::new();
        while let Some(item) = walk.next_item().unwrap() {
            out.push(match item {
                Item::Object { key, .. } => key,
                Item::CommonPrefix(group) => format!("[{group}]"),
            });
        }
        out
    }

    /// Returns keys whose order differs from the order of their paths, longest first so that
    /// conflicts occur.
    fn awkward() -> Vec<String> {
        let long = "l".repeat(300);
        let mut keys: Vec<String> = [
            "a/b", "a/", "a//", "a//b", "a", "a-b", "a/b/c", "a.b", "a0", "b/x/1", "b/x/2",
            "b/x-1", "é/ü", "%", "..", "./x",
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        keys.extend([
            long.clone(),
            format!("{long}!"),
            format!("{long}/x"),
            format!("{long}0"),
            "l".repeat(250),
            format!("{}/y", "l".repeat(250)),
            format!("{}0", "l".repeat(249)),
        ]);
        // A directory must exist before the object of the same name is put beside it.
        keys.sort_by_key(|k| std::cmp::Reverse(k.len()));
        keys
    }

    /// Returns what S3 answers, computed from all keys at once.
    fn model(keys: &[String], prefix: &str, delimiter: Option<&str>, after: &After) -> Vec<String> {
        let mut sorted = keys.to_vec();
        sorted.sort();
        let mut out: Vec<String> = Vec::new();
        for key in sorted {
            if !key.starts_with(prefix) || after.excludes_key(&key) {
                continue;
            }
            let line = match delimiter
                .and_then(|d| Some(key[prefix.len()..].find(d)? + prefix.len() + d.len()))
            {
                Some(end) => format!("[{}]", &key[..end]),
                None => key,
            };
            if out.last() != Some(&line) {
                out.push(line);
            }
        }
        out
    }

    #[test]
    fn every_prefix_delimiter_and_start_gives_what_sorting_all_keys_gives() {
        let keys = awkward();
        let dir = bucket(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(list(dir.path(), "", None, After::Start).len(), keys.len());
        let mut prefixes: Vec<String> = keys.clone();
        prefixes
            .extend(["", "a/b/", "b/", "b/x", "b/x/", "l", "zz", "a/nothing/"].map(str::to_owned));
        for prefix in &prefixes {
            for delimiter in [None, Some("/"), Some("b"), Some("x/"), Some("-")] {
                let mut starts = vec![After::Start];
                starts.extend(keys.iter().map(|k| After::Key(k.clone())));
                starts.extend(["a/", "b/", "b/x"].map(|g| After::Group(g.into())));
                for after in starts {
                    assert_eq!(
                        list(dir.path(), prefix, delimiter, after.clone()),
                        model(&keys, prefix, delimiter, &after),
                        "prefix {prefix:?}, delimiter {delimiter:?}, after {after:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_the_wanted_directories_are_read() {
        use std::os::unix::fs::PermissionsExt;
        let dir = bucket(&["other/x", "wanted/deep/1", "wanted/shut/2"]);
        // Permissions do not apply to root, so root skips the listing that would fail.
        let shut = [dir.path().join("other"), dir.path().join("wanted/shut")];
        for d in &shut {
            fs::set_permissions(d, fs::Permissions::from_mode(0o000)).unwrap();
        }
        let reading_fails = fs::read_dir(&shut[0]).is_err();
        let listed = list(dir.path(), "wanted/deep", None, After::Start);
        let after = if reading_fails {
            list(
                dir.path(),
                "wanted/",
                None,
                After::Key("wanted/shut/9".into()),
            )
        } else {
            Vec::new()
        };
        for d in &shut {
            fs::set_permissions(d, fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_eq!(listed, ["wanted/deep/1"]);
        assert!(after.is_empty());
    }

    #[test]
    fn files_that_no_key_leads_to_and_empty_directories_are_not_listed() {
        let dir = bucket(&["seen"]);
        fs::write(dir.path().join("50%"), "stray").unwrap();
        fs::write(dir.path().join("%41"), "an A written with an escape").unwrap();
        fs::create_dir_all(dir.path().join("empty/inside")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
        assert_eq!(list(dir.path(), "", Some("/"), After::Start), ["seen"]);
        assert_eq!(list(dir.path(), "", None, After::Start), ["seen"]);
    }
}
