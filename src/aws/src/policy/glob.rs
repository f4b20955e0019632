//! Patterns with `*` and `?`: matching, coverage and intersection.

/// The maximum number of patterns in an intersection. Only patterns with many stars need more.
const MAX_PATTERNS: usize = 32;

/// Returns whether the pattern matches the whole text. Pieces for which `is_many` holds match any
/// run of the text. The search is greedy with one backtracking point, so it takes at most pattern
/// length times text length steps.
pub fn matches<P, T>(
    pattern: &[P],
    text: &[T],
    is_many: impl Fn(&P) -> bool,
    accepts: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(piece) if is_many(piece) => {
                back = Some((p, t));
                p += 1;
            }
            Some(piece) if accepts(piece, &text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(is_many)
}

/// Returns whether `general` matches every text that `special` matches. It may return false
/// although the answer is true, but not the reverse.
pub fn covers(general: &str, special: &str) -> bool {
    let general: Vec<char> = general.chars().collect();
    let special: Vec<char> = special.chars().collect();
    let accepts = |own: &char, other: &char| (*own == '?' && *other != '*') || own == other;
    matches(&general, &special, |c| *c == '*', accepts)
}

/// Returns what can remain of the pattern after `start`, one pattern for each way of matching
/// `start`. Patterns that another one covers are left out.
pub fn remainders(pattern: &str, start: &str) -> Vec<String> {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut places = vec![0];
    for c in start.chars() {
        let mut next = Vec::new();
        for place in skip_stars(&pattern, &places) {
            match pattern.get(place) {
                Some('*') => next.push(place),
                Some(own) if *own == '?' || *own == c => next.push(place + 1),
                _ => {}
            }
        }
        next.sort_unstable();
        next.dedup();
        places = next;
    }
    let rests = places.into_iter().map(|place| pattern[place..].iter());
    without_covered(
        rests
            .map(Iterator::collect)
            .map(String::from_iter::<Vec<&char>>),
    )
}

/// Returns the positions, and those that are reached by skipping the stars at them.
fn skip_stars(pattern: &[char], places: &[usize]) -> Vec<usize> {
    let mut all = places.to_vec();
    let mut next = 0;
    while let Some(place) = all.get(next).copied() {
        if pattern.get(place) == Some(&'*') && !all.contains(&(place + 1)) {
            all.push(place + 1);
        }
        next += 1;
    }
    all
}

/// Returns patterns that together match the texts that both patterns match; an empty list if there
/// are no such texts. `None` if there would be too many patterns.
pub fn intersection(one: &str, other: &str) -> Option<Vec<String>> {
    if covers(one, other) {
        return Some(vec![other.to_owned()]);
    }
    if covers(other, one) {
        return Some(vec![one.to_owned()]);
    }
    let one: Vec<char> = one.chars().collect();
    let other: Vec<char> = other.chars().collect();
    let mut found = Vec::new();
    let is_complete = intersect(&one, &other, &mut String::new(), &mut found);
    let found = without_covered(found.into_iter());
    is_complete.then_some(found)
}

/// Adds the intersection of two patterns to `found`, each pattern with the prefix `begun`. Returns
/// whether the intersection is complete.
fn intersect(one: &[char], other: &[char], begun: &mut String, found: &mut Vec<String>) -> bool {
    let mut step = |c: Option<char>, one: &[char], other: &[char]| {
        let length = begun.len();
        // Two adjacent stars are written as one.
        begun.extend(c.filter(|c| *c != '*' || !begun.ends_with('*')));
        let is_all = intersect(one, other, begun, found);
        begun.truncate(length);
        is_all
    };
    match (one, other) {
        ([], []) => {
            if found.len() < MAX_PATTERNS {
                found.push(begun.clone());
                return true;
            }
            found.contains(begun)
        }
        (['*', a @ ..], ['*', b @ ..]) => step(Some('*'), a, other) && step(Some('*'), one, b),
        (['*', a @ ..], [b, rest @ ..]) => step(None, a, other) && step(Some(*b), one, rest),
        ([a, rest @ ..], ['*', b @ ..]) => step(None, one, b) && step(Some(*a), rest, other),
        (['*', rest @ ..], []) => step(None, rest, &[]),
        ([], ['*', rest @ ..]) => step(None, &[], rest),
        (['?', a @ ..], [c, b @ ..]) | ([c, a @ ..], ['?', b @ ..]) => step(Some(*c), a, b),
        ([x, a @ ..], [y, b @ ..]) if x == y => step(Some(*x), a, b),
        _ => true,
    }
}

/// Returns the patterns without those that another one covers.
pub fn without_covered(patterns: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for pattern in patterns {
        if !kept.iter().any(|other| covers(other, &pattern)) {
            kept.retain(|other| !covers(&pattern, other));
            kept.push(pattern);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether a pattern matches a text without wildcards.
    fn is(pattern: &str, text: &str) -> bool {
        covers(pattern, text)
    }

    fn texts(length: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..length {
            last = last
                .iter()
                .flat_map(|text| ["a", "/"].map(|c| text.clone() + c))
                .collect();
            all.extend(last.clone());
        }
        all
    }

    const PATTERNS: &[&str] = &[
        "", "*", "a", "a*", "*a", "a/*", "a/?*", "*/a", "?", "??", "a*a", "*a*", "a?*", "*/*",
        "a*/a*",
    ];

    #[test]
    fn what_two_have_in_common_is_what_both_stand_for() {
        let texts = texts(6);
        for one in PATTERNS {
            for other in PATTERNS {
                let both = intersection(one, other).expect("few");
                for text in &texts {
                    let expected = is(one, text) && is(other, text);
                    let found = both.iter().any(|pattern| is(pattern, text));
                    assert_eq!(found, expected, "{one} and {other}: {both:?} on {text:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_left_after_a_start() {
        let texts = texts(4);
        for pattern in PATTERNS {
            for start in ["a", "a/", "/"] {
                let rests = remainders(pattern, start);
                for text in &texts {
                    let expected = is(pattern, &format!("{start}{text}"));
                    let found = rests.iter().any(|rest| is(rest, text));
                    assert_eq!(
                        found, expected,
                        "{pattern} after {start}: {rests:?} on {text:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn covering_is_of_all_texts() {
        let texts = texts(6);
        for general in PATTERNS {
            for special in PATTERNS.iter().filter(|special| covers(general, special)) {
                for text in texts.iter().filter(|text| is(special, text)) {
                    assert!(
                        is(general, text),
                        "{general} covers {special} but not {text:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn too_many_alternatives_are_given_up_soon() {
        let (one, other) = ("*a".repeat(30), "*b".repeat(30));
        assert_eq!(intersection(&one, &(other + "*")), None);
    }
}
