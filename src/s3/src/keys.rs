//! Object keys and the file names that store them.
//!
//! A key is split at `/`. The last segment names a file, every other segment names a directory.
//! Ordinary keys look the same on disk. What a file system cannot store, or what would be
//! ambiguous, is written with `%`:
//!
//! | on disk | stands for |
//! | --- | --- |
//! | `%25`, `%00` … `%1F`, `%7F` | a percent sign, a control character |
//! | `%2E`, `%2E%2E` | the segments `.` and `..` |
//! | `%e` | an empty segment: the file `a/%e` is the key `a/`, and `a/%e/…` are keys `a//…` |
//! | `<start>%+/<rest>` | one segment longer than a file name may be, cut into several |
//! | `<name>%o` | the object `<name>` where a directory `<name>` has existed at the same time |
//!
//! No other segment encodes to a name that ends in `%e`, `%+` or `%o`, since a percent sign is
//! always followed by two hexadecimal digits. So every key has its own path, no path leaves the
//! bucket's directory, and a file that was put there by hand under a name that no key encodes to is
//! not an object.
//!
//! On a file system that ignores case (macOS by default), keys that differ only in case share a
//! file.

/// The longest file name that this module creates, in bytes, before a marker is appended. Every
/// common file system takes 255.
const MAX_NAME: usize = 250;
const EMPTY: &str = "%e";
const CONTINUED: &str = "%+";
const BESIDE_DIRECTORY: &str = "%o";

/// The path of an object's file, relative to its bucket's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// The directories that lead to the file, outermost first.
    pub dirs: Vec<String>,
    /// The file's name, if no directory has that name.
    pub name: String,
}

impl Location {
    pub fn of_key(key: &str) -> Self {
        let mut dirs = Vec::new();
        let mut segments = key.split('/').peekable();
        while let Some(segment) = segments.next() {
            let names = encode_segment(segment);
            if segments.peek().is_some() {
                dirs.extend(names);
            } else if let Some((name, leading)) = names.split_last() {
                dirs.extend_from_slice(leading);
                return Self {
                    dirs,
                    name: name.clone(),
                };
            }
        }
        unreachable!("split yields at least one segment, and a segment has at least one name")
    }
}

/// Returns the file name of an object whose plain name is, or was, used by a directory.
pub(super) fn beside_directory(name: &str) -> String {
    format!("{name}{BESIDE_DIRECTORY}")
}

/// Returns the directories of the longest part of `prefix` that ends with a slash, relative to the
/// bucket's directory.
pub(super) fn directories_of_prefix(prefix: &str) -> Vec<String> {
    match prefix.rfind('/') {
        Some(end) => prefix[..end].split('/').flat_map(encode_segment).collect(),
        None => Vec::new(),
    }
}

/// Returns the file names of one key segment. All but the last are directories that contain the
/// rest of the segment.
pub(super) fn encode_segment(segment: &str) -> Vec<String> {
    if segment.is_empty() {
        return vec![EMPTY.to_owned()];
    }
    let mut names = Vec::new();
    let mut name = String::with_capacity(segment.len());
    for c in segment.chars() {
        let escaped = c == '%' || c.is_ascii_control();
        let width = if escaped { 3 } else { c.len_utf8() };
        if name.len() + width > MAX_NAME {
            name.push_str(CONTINUED);
            names.push(std::mem::take(&mut name));
        }
        if escaped {
            name.push_str(&format!("%{:02X}", c as u32));
        } else {
            name.push(c);
        }
    }
    if name == "." || name == ".." {
        name = name.replace('.', "%2E");
    }
    names.push(name);
    names
}

/// The meaning of a name in a bucket's directory tree. The caller checks whether it is a file or a
/// directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A whole segment, or the end of a long one.
    Segment(String),
    /// The object of that segment, beside a directory of the same name.
    BesideDirectory(String),
    /// A directory that contains the rest of a long segment.
    Continued(String),
}

/// Decodes one file name; `None` if no key segment encodes to it.
pub(super) fn decode_name(name: &str) -> Option<Name> {
    if let Some(start) = name.strip_suffix(CONTINUED) {
        return unescape(start)
            .filter(|s| !s.is_empty())
            .map(Name::Continued);
    }
    let (name, beside) = match name.strip_suffix(BESIDE_DIRECTORY) {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let segment = if name == EMPTY {
        String::new()
    } else {
        unescape(name).filter(|s| !s.is_empty())?
    };
    Some(if beside {
        Name::BesideDirectory(segment)
    } else {
        Name::Segment(segment)
    })
}

/// Decodes the two-digit escapes. The caller checks whether they were needed, by encoding the
/// result again.
fn unescape(name: &str) -> Option<String> {
    if !name.contains('%') {
        return Some(name.to_owned());
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = u8::from_str_radix(rest.get(at + 1..at + 3)?, 16).ok()?;
        if !code.is_ascii() {
            return None;
        }
        out.push(char::from(code));
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str) -> String {
        let location = Location::of_key(key);
        let mut parts = location.dirs;
        parts.push(location.name);
        parts.join("/")
    }

    #[test]
    fn ordinary_keys_look_the_same_on_disk() {
        for key in [
            "a",
            "a/b.parquet",
            "frompg/tables/db/s/t/16384/data/0a/x y+é漢.avro",
            ".hidden",
        ] {
            assert_eq!(path(key), key);
        }
    }

    #[test]
    fn what_a_file_system_cannot_take_is_escaped() {
        assert_eq!(path("../../etc/passwd"), "%2E%2E/%2E%2E/etc/passwd");
        assert_eq!(path("./a/."), "%2E/a/%2E");
        assert_eq!(path("/abs"), "%e/abs");
        assert_eq!(path("a//b/"), "a/%e/b/%e");
        assert_eq!(path("100%/x\0y\n"), "100%25/x%00y%0A");
        assert_eq!(path("..."), "...");
    }

    #[test]
    fn no_two_keys_share_a_path_and_no_name_is_too_long() {
        let long = "é".repeat(400);
        let keys = [
            "a", "a/", "a//", "a//b", "a/b", "a%o", "a%25o", "%e", "%", "%2E", ".", "..", "a/../b",
            "%+", "x%+/y",
        ];
        let mut paths: Vec<String> = keys.iter().map(|k| path(k)).collect();
        for extra in [
            long.clone(),
            format!("{long}/x"),
            format!("{}..", "a".repeat(250)),
            "a".repeat(250),
        ] {
            let p = path(&extra);
            assert!(
                p.split('/')
                    .all(|n| n.len() <= 252 && n != "." && n != ".." && !n.is_empty()),
                "{p}"
            );
            paths.push(p);
        }
        let mut unique = paths.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), paths.len(), "{paths:?}");
    }

    #[test]
    fn names_decode_to_what_they_were_encoded_from() {
        for segment in ["a", "", "..", "50%", "x\u{7f}", "%2E", "é"] {
            assert_eq!(
                decode_name(&encode_segment(segment)[0]),
                Some(Name::Segment(segment.to_owned()))
            );
        }
        assert_eq!(decode_name("a%o"), Some(Name::BesideDirectory("a".into())));
        assert_eq!(
            decode_name("%e%o"),
            Some(Name::BesideDirectory(String::new()))
        );
        assert_eq!(decode_name("a%+"), Some(Name::Continued("a".into())));
        for stray in ["50%", "%zz", "%o", "%+", "%FF", "%é1"] {
            assert_eq!(decode_name(stray), None, "{stray}");
        }
    }
}
