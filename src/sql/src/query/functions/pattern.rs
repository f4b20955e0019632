//! LIKE and regular expressions.

use regex::{Regex, RegexBuilder};

use super::{Function, ScalarCall, argument, result_type};
use crate::error::{SqlError, SqlResult, code};
use crate::query::value::Value;

pub const FUNCTIONS: &[Function] = &[
    // Arguments: the text, the pattern, and the escape character or ''.
    Function::scalar("$like", (3, 3), result_type::boolean, |call, values| {
        like(call, values, false)
    }),
    Function::scalar("$ilike", (3, 3), result_type::boolean, |call, values| {
        like(call, values, true)
    }),
    Function::scalar("REGEXP_LIKE", (2, 3), result_type::boolean, matches)
        .with_synonyms(&["REGEXP"]),
    Function::scalar("RLIKE", (2, 3), result_type::boolean, matches),
    Function::scalar(
        "REGEXP_COUNT",
        (2, 4),
        result_type::integer,
        |call, values| {
            let regex = compiled(call, values, 3)?;
            let text = argument::text(call, values, 0)?;
            Ok(Value::integer(
                regex.find_iter(from(call, values, &text, 2)?.1).count() as i128,
            ))
        },
    ),
    Function::scalar(
        "REGEXP_SUBSTR",
        (2, 6),
        result_type::text,
        |call, values| {
            let regex = compiled(call, values, 4)?;
            let text = argument::text(call, values, 0)?;
            let found = occurrence(call, values, &regex, from(call, values, &text, 2)?.1)?;
            Ok(found.map_or(Value::Null, |(_, found)| Value::text(found)))
        },
    )
    .with_synonyms(&["REGEXP_EXTRACT"]),
    Function::scalar("REGEXP_INSTR", (2, 7), result_type::integer, instr),
    Function::scalar("REGEXP_REPLACE", (2, 6), result_type::text, replace),
];

/// A compiled LIKE pattern. Most patterns are a text with `%` before or after it, for which a
/// regular expression would be slow.
enum Pattern {
    Equal(String),
    Start(String),
    End(String),
    Inside(String),
    Regex(Regex),
}

impl Pattern {
    fn new(pattern: &str, escape: Option<char>, ignore_case: bool) -> SqlResult<Self> {
        let text = pattern.trim_matches('%');
        let is_plain = !ignore_case
            && !text.contains(['%', '_'])
            && !escape.is_some_and(|escape| pattern.contains(escape));
        let text = text.to_owned();
        Ok(
            match (is_plain, pattern.starts_with('%'), pattern.ends_with('%')) {
                (false, ..) => Self::Regex(like_regex(pattern, escape, ignore_case)?),
                (true, false, false) => Self::Equal(text),
                (true, false, true) => Self::Start(text),
                (true, true, false) => Self::End(text),
                (true, true, true) => Self::Inside(text),
            },
        )
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Equal(whole) => text == whole,
            Self::Start(start) => text.starts_with(start.as_str()),
            Self::End(end) => text.ends_with(end.as_str()),
            Self::Inside(part) => text.contains(part.as_str()),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

fn like<'a>(call: &ScalarCall, values: &[Value<'a>], ignore_case: bool) -> SqlResult<Value<'a>> {
    let (pattern, escape) = (
        argument::text(call, values, 1)?,
        argument::text(call, values, 2)?,
    );
    let compiled = call.compiled(&pattern, |pattern| {
        Pattern::new(pattern, escape.chars().next(), ignore_case)
    })?;
    Ok(Value::Boolean(
        compiled.matches(&argument::text(call, values, 0)?),
    ))
}

fn like_regex(pattern: &str, escape: Option<char>, ignore_case: bool) -> SqlResult<Regex> {
    let mut regex = String::from(r"\A(?:");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            _ if Some(c) == escape => {
                let next = chars.next().ok_or_else(|| {
                    SqlError::new(
                        code::INVALID_ESCAPE,
                        "Invalid escape sequence in LIKE pattern",
                    )
                })?;
                regex.push_str(&regex::escape(&next.to_string()));
            }
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex.push_str(r")\z");
    build(&regex, ignore_case, true, false)
}

fn build(pattern: &str, ignore_case: bool, dot_all: bool, multi_line: bool) -> SqlResult<Regex> {
    let regex = RegexBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .dot_matches_new_line(dot_all)
        .multi_line(multi_line)
        .build();
    regex.map_err(|error| {
        SqlError::new(
            code::INVALID_REGEX,
            format!("Invalid regular expression: '{pattern}', {error}"),
        )
    })
}

/// Compiles the pattern in the second argument, with the parameters (`c`, `i`, `m`, `e`, `s`) in
/// the argument at index `parameters`.
fn compiled(
    call: &ScalarCall,
    values: &[Value<'_>],
    parameters: usize,
) -> SqlResult<std::rc::Rc<Regex>> {
    compiled_as(call, values, parameters, ToOwned::to_owned)
}

fn compiled_as(
    call: &ScalarCall,
    values: &[Value<'_>],
    parameters: usize,
    form: impl FnOnce(&str) -> String,
) -> SqlResult<std::rc::Rc<Regex>> {
    let pattern = argument::text(call, values, 1)?;
    let parameters = match values.get(parameters) {
        Some(_) => argument::text(call, values, parameters)?,
        None => "c".into(),
    };
    let key = format!("{parameters}\u{0}{pattern}");
    call.compiled(&key, |_| {
        if let Some(bad) = parameters.chars().find(|c| !"cimes".contains(*c)) {
            return Err(SqlError::new(
                code::INVALID_REGEX_PARAMETER,
                format!("Invalid parameter '{bad}' for regular expression"),
            ));
        }
        // The last of `c` and `i` takes effect.
        let case = parameters
            .rfind(['c', 'i'])
            .map(|at| parameters.as_bytes()[at]);
        build(
            &form(&pattern),
            case == Some(b'i'),
            parameters.contains('s'),
            parameters.contains('m'),
        )
    })
}

/// Computes `REGEXP_LIKE`, which must match the whole text.
fn matches<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let regex = compiled_as(call, values, 2, |pattern| format!(r"\A(?:{pattern})\z"))?;
    Ok(Value::Boolean(
        regex.is_match(&argument::text(call, values, 0)?),
    ))
}

/// Returns the text from the start position on, and the byte offset of that position. The argument
/// at index `place` is the start position in characters, from 1.
fn from<'t>(
    call: &ScalarCall,
    values: &[Value<'_>],
    text: &'t str,
    place: usize,
) -> SqlResult<(usize, &'t str)> {
    let start = match values.get(place) {
        Some(_) => argument::integer(call, values, place)?,
        None => 1,
    };
    let start = usize::try_from(start - 1).map_err(|_| call.wrong_types())?;
    let at = text
        .char_indices()
        .nth(start)
        .map_or(text.len(), |(at, _)| at);
    Ok((at, &text[at..]))
}

/// Returns the match for `REGEXP_SUBSTR` and `REGEXP_INSTR`: its byte offset, and its text or that
/// of a group of it.
fn occurrence<'t>(
    call: &ScalarCall,
    values: &[Value<'_>],
    regex: &Regex,
    text: &'t str,
) -> SqlResult<Option<(usize, &'t str)>> {
    let number = |place: usize, default: i64| match values.get(place) {
        Some(_) => argument::integer(call, values, place),
        None => Ok(default),
    };
    let (parameters, group) = match call.name {
        "REGEXP_INSTR" => (5, 6),
        _ => (4, 5),
    };
    let wanted = usize::try_from(number(3, 1)? - 1).map_err(|_| call.wrong_types())?;
    let extracts = match values.get(parameters) {
        Some(_) => argument::text(call, values, parameters)?.contains('e'),
        None => false,
    };
    let group = number(group, i64::from(extracts))?;
    let group = usize::try_from(group).map_err(|_| call.wrong_types())?;
    let found = regex.captures_iter(text).nth(wanted);
    let found = found.and_then(|captures| captures.get(group));
    Ok(found.map(|found| (found.start(), found.as_str())))
}

fn instr<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let regex = compiled(call, values, 5)?;
    let text = argument::text(call, values, 0)?;
    let (skipped, rest) = from(call, values, &text, 2)?;
    let after = match values.get(4) {
        Some(_) => argument::integer(call, values, 4)? == 1,
        None => false,
    };
    let found = occurrence(call, values, &regex, rest)?;
    Ok(Value::integer(found.map_or(0, |(at, found)| {
        let end = skipped + at + if after { found.len() } else { 0 };
        (text[..end].chars().count() + 1) as i128
    })))
}

/// Computes
/// `REGEXP_REPLACE(text, pattern [, replacement [, position [, occurrence [, parameters]]]])`.
fn replace<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let regex = compiled(call, values, 5)?;
    let text = argument::text(call, values, 0)?;
    let replacement = match values.get(2) {
        Some(_) => template(&argument::text(call, values, 2)?),
        None => String::new(),
    };
    let (skipped, rest) = from(call, values, &text, 3)?;
    let occurrence = match values.get(4) {
        Some(_) => argument::integer(call, values, 4)?,
        None => 0,
    };
    let mut out = text[..skipped].to_owned();
    let mut done = 0;
    for (index, captures) in regex.captures_iter(rest).enumerate() {
        if occurrence != 0 && index as i64 + 1 != occurrence {
            continue;
        }
        let Some(found) = captures.get(0) else {
            continue;
        };
        out.push_str(&rest[done..found.start()]);
        captures.expand(&replacement, &mut out);
        done = found.end();
    }
    out.push_str(&rest[done..]);
    Ok(Value::text(out))
}

/// Translates a replacement text to the syntax of the regex crate: `\1` becomes `${1}`, and `$`
/// becomes `$$`, a plain dollar.
fn template(replacement: &str) -> String {
    let mut out = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                out.push_str(&format!("${{{digit}}}"));
                chars.next();
            }
            ('\\', Some('\\')) => {
                out.push('\\');
                chars.next();
            }
            ('$', _) => out.push_str("$$"),
            (c, _) => out.push(c),
        }
    }
    out
}
