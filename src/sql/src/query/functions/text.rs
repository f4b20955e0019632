//! Functions of texts. Positions and lengths count characters.

use super::{Function, ScalarCall, argument, result_type};
use crate::error::{SqlError, SqlResult, code};
use crate::query::value::Value;
use crate::types::{DataType, MAX_TEXT};

pub const FUNCTIONS: &[Function] = &[
    text_map("UPPER"),
    text_map("LOWER"),
    text_map("INITCAP"),
    text_map("REVERSE"),
    Function::scalar("||", (2, 2), result_type::text, concat),
    Function::scalar("CONCAT", (1, usize::MAX), result_type::text, concat),
    Function::scalar(
        "CONCAT_WS",
        (2, usize::MAX),
        result_type::text,
        |call, values| {
            let gap = argument::text(call, values, 0)?;
            let texts = (1..values.len()).map(|index| argument::text(call, values, index));
            Ok(Value::text(
                texts.collect::<SqlResult<Vec<_>>>()?.join(&gap),
            ))
        },
    ),
    Function::scalar("LENGTH", (1, 1), result_type::integer, length)
        .with_synonyms(&["CHARACTER_LENGTH", "CHAR_LENGTH"]),
    Function::scalar("LEN", (1, 1), result_type::integer, length),
    Function::scalar(
        "OCTET_LENGTH",
        (1, 1),
        result_type::integer,
        |call, values| match &values[0] {
            Value::Binary(bytes) => Ok(Value::integer(bytes.len() as i128)),
            _ => Ok(Value::integer(
                argument::text(call, values, 0)?.len() as i128
            )),
        },
    ),
    Function::scalar("SUBSTR", (2, 3), result_type::text, substring),
    Function::scalar("SUBSTRING", (2, 3), result_type::text, substring),
    Function::scalar("LEFT", (2, 2), result_type::text, |call, values| {
        let count = argument::integer(call, values, 1)?.max(0) as usize;
        Ok(Value::text(
            argument::text(call, values, 0)?
                .chars()
                .take(count)
                .collect::<String>(),
        ))
    }),
    Function::scalar("RIGHT", (2, 2), result_type::text, |call, values| {
        let count = argument::integer(call, values, 1)?.max(0) as usize;
        let text = argument::text(call, values, 0)?;
        let skipped = text.chars().count().saturating_sub(count);
        Ok(Value::text(text.chars().skip(skipped).collect::<String>()))
    }),
    Function::scalar("TRIM", (1, 2), result_type::text, trim),
    Function::scalar("LTRIM", (1, 2), result_type::text, trim),
    Function::scalar("RTRIM", (1, 2), result_type::text, trim),
    Function::scalar("LPAD", (2, 3), result_type::text, pad),
    Function::scalar("RPAD", (2, 3), result_type::text, pad),
    Function::scalar("REPEAT", (2, 2), result_type::text, |call, values| {
        let count = argument::integer(call, values, 1)?.max(0) as usize;
        let text = argument::text(call, values, 0)?;
        check_length(text.len().saturating_mul(count))?;
        Ok(Value::text(text.repeat(count)))
    }),
    Function::scalar("SPACE", (1, 1), result_type::text, |call, values| {
        let count = argument::integer(call, values, 0)?.max(0) as usize;
        check_length(count)?;
        Ok(Value::text(" ".repeat(count)))
    }),
    Function::scalar("REPLACE", (2, 3), result_type::text, |call, values| {
        let (text, from) = (
            argument::text(call, values, 0)?,
            argument::text(call, values, 1)?,
        );
        let to = match values.len() {
            3 => argument::text(call, values, 2)?,
            _ => "".into(),
        };
        Ok(if from.is_empty() {
            Value::Text(text)
        } else {
            Value::text(text.replace(from.as_ref(), &to))
        })
    }),
    Function::scalar("TRANSLATE", (3, 3), result_type::text, |call, values| {
        let from: Vec<char> = argument::text(call, values, 1)?.chars().collect();
        let to: Vec<char> = argument::text(call, values, 2)?.chars().collect();
        let text = argument::text(call, values, 0)?;
        let translated = text
            .chars()
            .filter_map(|c| match from.iter().position(|f| *f == c) {
                Some(place) => to.get(place).copied(),
                None => Some(c),
            });
        Ok(Value::text(translated.collect::<String>()))
    }),
    Function::scalar("CHARINDEX", (2, 3), result_type::integer, position),
    Function::scalar("POSITION", (2, 3), result_type::integer, position),
    Function::scalar("CONTAINS", (2, 2), result_type::boolean, |call, values| {
        let part = argument::text(call, values, 1)?;
        Ok(Value::Boolean(
            argument::text(call, values, 0)?.contains(part.as_ref()),
        ))
    }),
    Function::scalar(
        "STARTSWITH",
        (2, 2),
        result_type::boolean,
        |call, values| {
            let part = argument::text(call, values, 1)?;
            Ok(Value::Boolean(
                argument::text(call, values, 0)?.starts_with(part.as_ref()),
            ))
        },
    ),
    Function::scalar("ENDSWITH", (2, 2), result_type::boolean, |call, values| {
        let part = argument::text(call, values, 1)?;
        Ok(Value::Boolean(
            argument::text(call, values, 0)?.ends_with(part.as_ref()),
        ))
    }),
    Function::scalar("SPLIT_PART", (3, 3), result_type::text, split_part),
    Function::scalar("STRTOK", (1, 3), result_type::text, token),
    Function::scalar("ASCII", (1, 1), result_type::integer, |call, values| {
        let text = argument::text(call, values, 0)?;
        Ok(Value::integer(text.chars().next().map_or(0, |c| c as u32)))
    })
    .with_synonyms(&["UNICODE"]),
    Function::scalar("CHR", (1, 1), result_type::text, |call, values| {
        let code = u32::try_from(argument::integer(call, values, 0)?).ok();
        let c = code
            .and_then(char::from_u32)
            .ok_or_else(|| call.wrong_types())?;
        Ok(Value::text(c.to_string()))
    })
    .with_synonyms(&["CHAR"]),
    Function::scalar(
        "EDITDISTANCE",
        (2, 2),
        result_type::integer,
        |call, values| {
            let a: Vec<char> = argument::text(call, values, 0)?.chars().collect();
            let b: Vec<char> = argument::text(call, values, 1)?.chars().collect();
            Ok(Value::integer(distance(&a, &b) as i128))
        },
    ),
    Function::scalar("HEX_ENCODE", (1, 1), result_type::text, |call, values| {
        let text = argument::text(call, values, 0)?;
        Ok(Value::text(hex::encode_upper(text.as_bytes())))
    }),
    Function::scalar(
        "BASE64_ENCODE",
        (1, 1),
        result_type::text,
        |call, values| {
            use base64::Engine as _;
            let text = argument::text(call, values, 0)?;
            Ok(Value::text(
                base64::engine::general_purpose::STANDARD.encode(text.as_bytes()),
            ))
        },
    ),
    Function::scalar(
        "BASE64_DECODE_STRING",
        (1, 1),
        result_type::text,
        |call, values| {
            use base64::Engine as _;
            let text = argument::text(call, values, 0)?;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
            let decoded = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            decoded.map(Value::text).ok_or_else(|| {
                let text =
                    format!("The following string is not a legal base64-encoded value: '{text}'");
                SqlError::new(code::INVALID_ENCODING, text)
            })
        },
    ),
];

const fn text_map(name: &'static str) -> Function {
    Function::scalar(name, (1, 1), same_length, |call, values| {
        let text = argument::text(call, values, 0)?;
        Ok(Value::text(match call.name {
            "UPPER" => text.to_uppercase(),
            "LOWER" => text.to_lowercase(),
            "REVERSE" => text.chars().rev().collect(),
            _ => capitalised(&text),
        }))
    })
}

fn same_length(call: &ScalarCall) -> SqlResult<DataType> {
    Ok(match call.ty(0) {
        text @ DataType::Text { .. } => text,
        _ => DataType::TEXT,
    })
}

/// Puts the first letter of each word in upper case and the others in lower case. A word ends at
/// any character that is neither a letter nor a digit.
fn capitalised(text: &str) -> String {
    let mut in_word = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if in_word {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        in_word = c.is_alphanumeric();
    }
    out
}

fn check_length(length: usize) -> SqlResult<()> {
    if length <= MAX_TEXT as usize {
        Ok(())
    } else {
        Err(SqlError::new(
            code::STRING_TOO_LONG,
            format!("String of {length} characters is too long; the maximum is {MAX_TEXT}"),
        ))
    }
}

fn concat<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let mut out = String::new();
    for index in 0..values.len() {
        out.push_str(&argument::text(call, values, index)?);
    }
    Ok(Value::text(out))
}

fn length<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    Ok(match &values[0] {
        Value::Binary(bytes) => Value::integer(bytes.len() as i128),
        _ => Value::integer(argument::text(call, values, 0)?.chars().count() as i128),
    })
}

/// Computes SUBSTR. The start counts from 1, or from the end if it is negative.
fn substring<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let text = argument::text(call, values, 0)?;
    let start = argument::integer(call, values, 1)?;
    let length = match values.len() {
        3 => argument::integer(call, values, 2)?,
        _ => i64::MAX,
    };
    let count = text.chars().count() as i64;
    let skipped = match start {
        // A start of 0 is the same as 1.
        0 => 0,
        1.. => start - 1,
        _ if -start > count => return Ok(Value::text("")),
        _ => count + start,
    };
    let kept = text
        .chars()
        .skip(skipped as usize)
        .take(length.max(0) as usize);
    Ok(Value::text(kept.collect::<String>()))
}

fn trim<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let text = argument::text(call, values, 0)?;
    let characters = match values.len() {
        2 => argument::text(call, values, 1)?,
        _ => " ".into(),
    };
    let is_trimmed = |c: char| characters.contains(c);
    Ok(Value::text(match call.name {
        "LTRIM" => text.trim_start_matches(is_trimmed),
        "RTRIM" => text.trim_end_matches(is_trimmed),
        _ => text.trim_matches(is_trimmed),
    }))
}

fn pad<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let text = argument::text(call, values, 0)?;
    let length = argument::integer(call, values, 1)?.max(0) as usize;
    check_length(length)?;
    let filler = match values.len() {
        3 => argument::text(call, values, 2)?,
        _ => " ".into(),
    };
    let missing = length.saturating_sub(text.chars().count());
    let padding: String = filler.chars().cycle().take(missing).collect();
    let padded = match call.name {
        "LPAD" => format!("{padding}{text}"),
        _ => format!("{text}{padding}"),
    };
    Ok(Value::text(padded.chars().take(length).collect::<String>()))
}

/// Returns the position of a part in a text, from 1; 0 if the text does not contain it.
fn position<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let (part, text) = (
        argument::text(call, values, 0)?,
        argument::text(call, values, 1)?,
    );
    let start = match values.len() {
        3 => argument::integer(call, values, 2)?.max(1) as usize,
        _ => 1,
    };
    let from = text
        .char_indices()
        .nth(start - 1)
        .map_or(text.len(), |(at, _)| at);
    let found = text[from..].find(part.as_ref());
    Ok(Value::integer(found.map_or(0, |at| {
        (text[..from + at].chars().count() + 1) as i128
    })))
}

/// Computes `SPLIT_PART`. The number of the part counts from 1, or from the end if it is negative.
/// The result is an empty text if there is no such part.
fn split_part<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let (text, gap) = (
        argument::text(call, values, 0)?,
        argument::text(call, values, 1)?,
    );
    let wanted = argument::integer(call, values, 2)?;
    let parts: Vec<&str> = if gap.is_empty() {
        vec![&text]
    } else {
        text.split(gap.as_ref()).collect()
    };
    let index = match wanted {
        0 => Some(0),
        1.. => usize::try_from(wanted - 1).ok(),
        _ => parts.len().checked_sub(wanted.unsigned_abs() as usize),
    };
    let part = index.and_then(|index| parts.get(index));
    Ok(Value::text(part.copied().unwrap_or_default()))
}

fn token<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let text = argument::text(call, values, 0)?;
    let delimiters = match values.len() {
        1 => " ".into(),
        _ => argument::text(call, values, 1)?,
    };
    let wanted = match values.len() {
        3 => argument::integer(call, values, 2)?,
        _ => 1,
    };
    let mut tokens = text
        .split(|c| delimiters.contains(c))
        .filter(|token| !token.is_empty());
    let index = usize::try_from(wanted - 1).map_err(|_| call.wrong_types())?;
    Ok(tokens.nth(index).map_or(Value::Null, Value::text))
}

/// Computes the Levenshtein distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
