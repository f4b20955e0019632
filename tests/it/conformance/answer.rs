//! Answers as text that can be compared: by value, and without details that differ between
//! installations.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::db::NULL;

/// The result of a statement, or of a pair of statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The error as `SQLSTATE: message`.
    pub error: Option<String>,
    /// The row count of the command tag.
    pub count: u64,
    pub rows: Vec<String>,
    /// Messages as `DETAIL: …`, `HINT: …`, `NOTICE: …` or `WARNING: …`.
    pub notes: Vec<String>,
    /// For a pair of statements: the first count, whether the second statement waited, and the
    /// second count.
    pub pair: Option<(u64, bool, u64)>,
}

impl Answer {
    pub fn of_pair(first: u64, waits: bool, second: u64) -> Self {
        Self {
            pair: Some((first, waits, second)),
            ..Self::default()
        }
    }

    /// Parses the lines of a transcript that follow a statement. `columns` are the indexes of the
    /// columns to compare; None compares all of them.
    pub fn parse(lines: &[&str], columns: Option<&[usize]>) -> Self {
        let mut answer = Self::default();
        let mut lines = lines.iter().map(|line| without_time(line));
        let first = lines.next().unwrap_or_default();
        if let Some(error) = first.strip_prefix("ERROR: ") {
            answer.error = Some(message(error));
        } else {
            let number = first.rsplit(' ').next().and_then(|word| word.parse().ok());
            answer.count = number.unwrap_or_default();
        }
        let mut has_header = false;
        for line in lines.filter(|line| line.starts_with("   ")) {
            let text = line.trim();
            let kind = text.split_once(": ").map(|(kind, _)| kind);
            match kind {
                Some("DETAIL" | "HINT" | "NOTICE" | "WARNING") => answer.notes.push(note(text)),
                // The context shows pg_lake's internal functions and is not compared.
                Some("CONTEXT") => {}
                _ if answer.error.is_some() => {}
                _ if !has_header => has_header = true,
                _ => {
                    let values: Vec<String> = text.split(" | ").map(from_capture).collect();
                    let values = match columns {
                        Some(columns) => columns.iter().map(|i| values[*i].clone()).collect(),
                        None => values,
                    };
                    answer.rows.push(values.join("|"));
                }
            }
        }
        // A row of one empty text is an empty line, which the capture has trimmed.
        if has_header && answer.rows.is_empty() && answer.count == 0 && first.starts_with("OK SHOW")
        {
            answer.rows.push(String::new());
        }
        answer
    }

    /// Renders the answer as text. Rows are sorted unless the statement has an ORDER BY.
    pub fn render(&self, statement: &str) -> String {
        if let Some((first, waits, second)) = self.pair {
            let waits = if waits { "waits" } else { "does not wait" };
            return format!("first OK {first}; second {waits}, OK {second}");
        }
        let mut text = match &self.error {
            Some(error) => format!("ERROR {}", normalized(error)),
            None if self.rows.is_empty() && self.count == 0 => "OK".to_owned(),
            None => {
                let mut rows: Vec<String> = self.rows.iter().map(|row| normalized(row)).collect();
                if !statement.to_uppercase().contains("ORDER BY") {
                    rows.sort();
                }
                let rows = rows.join(" / ");
                let colon = if rows.is_empty() { "" } else { ": " };
                format!("OK {}{colon}{rows}", self.count.max(self.rows.len() as u64))
            }
        };
        for note in &self.notes {
            text.push('\n');
            text.push_str(&normalized(note));
        }
        text
    }
}

/// Sends one message and returns its answer. If it has several statements, the answer is that of
/// the last one, as in the capture.
pub async fn send(
    client: &Client,
    statement: &str,
    notices: impl FnOnce() -> Vec<String>,
) -> Answer {
    let outcome = client.simple_query(statement).await;
    let mut answer = Answer::default();
    match outcome {
        Ok(messages) => {
            let mut rows = Vec::new();
            for message in messages {
                match message {
                    SimpleQueryMessage::Row(row) => {
                        let values =
                            (0..row.len()).map(|i| row.get(i).map_or(NULL.to_owned(), value));
                        rows.push(values.collect::<Vec<_>>().join("|"));
                    }
                    SimpleQueryMessage::CommandComplete(count) => {
                        answer.count = count;
                        answer.rows = std::mem::take(&mut rows);
                    }
                    _ => {}
                }
            }
        }
        Err(error) => match error.as_db_error() {
            Some(error) => {
                answer.error = Some(message(&format!(
                    "{}: {}",
                    error.code().code(),
                    error.message()
                )));
                let detail = error.detail().map(|text| note(&format!("DETAIL: {text}")));
                let hint = error.hint().map(|text| note(&format!("HINT: {text}")));
                answer.notes.extend(detail.into_iter().chain(hint));
            }
            None => answer.error = Some(format!("connection: {error}")),
        },
    }
    let said = notices().into_iter().map(|text| note(&text));
    answer.notes.extend(said);
    answer
}

/// Returns the first line of a message; the other lines show `pg_lake`'s internal queries.
fn message(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn note(text: &str) -> String {
    let (kind, rest) = text.split_once(':').unwrap_or(("", text));
    format!("{kind}: {}", message(rest.trim()))
}

fn without_time(line: &str) -> &str {
    match line.rsplit_once(" (") {
        Some((text, time)) if time.ends_with(" ms)") => text,
        _ => line,
    }
}

/// Converts a value from the capture, which is printed by Python, to PostgreSQL's text.
fn from_capture(text: &str) -> String {
    match text {
        "None" => return NULL.to_owned(),
        "True" => return "t".to_owned(),
        "False" => return "f".to_owned(),
        _ => {}
    }
    let call = |name: &str| text.strip_prefix(name)?.strip_suffix(')');
    if let Some(number) = call("Decimal(") {
        return value(number.trim_matches('\''));
    }
    let moment = call("datetime.datetime(").or_else(|| call("datetime.date("));
    if let Some(parts) = moment {
        let (parts, zone) = match parts.split_once(", tzinfo=") {
            Some((parts, _)) => (parts, "+00"),
            None => (parts, ""),
        };
        let part: Vec<&str> = parts.split(", ").collect();
        let at = |i: usize| {
            part.get(i)
                .and_then(|part| part.parse::<u32>().ok())
                .unwrap_or(0)
        };
        let date = format!("{:04}-{:02}-{:02}", at(0), at(1), at(2));
        if text.starts_with("datetime.date(") {
            return date;
        }
        let mut time = format!("{:02}:{:02}:{:02}", at(3), at(4), at(5));
        if at(6) > 0 {
            time.push_str(format!(".{:06}", at(6)).trim_end_matches('0'));
        }
        return format!("{date} {time}{zone}");
    }
    if text.starts_with("{'") {
        return value(&text.replace('\'', "\""));
    }
    value(text)
}

/// Normalizes a value: numbers without trailing zeros, JSON without insignificant spaces.
fn value(text: &str) -> String {
    if text.starts_with('{')
        && let Ok(json) = serde_json::from_str::<serde_json::Value>(text)
    {
        return json.to_string();
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_decimal = digits
        .split_once('.')
        .is_some_and(|(a, b)| is_number(a) && is_number(b));
    if is_decimal {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Replaces what differs between installations: object ids, random names, and the location of a
/// database's tables under a prefix.
pub fn normalized(text: &str) -> String {
    // A quoted URL of a request in an error message is dropped: each client requests an object in
    // its own way.
    let quoted = text.split('\'').enumerate().map(|(place, part)| {
        let is_request = part.starts_with("http://")
            || part.contains('?') && (part.starts_with('/') || part.contains("://"));
        if place % 2 == 1 && is_request {
            "…".to_owned()
        } else {
            without_port(part)
        }
    });
    let text = quoted
        .collect::<Vec<_>>()
        .join("'")
        .replace("/frompg/tables/scratch/", "/scratch/")
        .replace("/frompg/tables/capture/", "/capture/");
    let mut before = "";
    let words = text.split('/').enumerate().map(|(place, segment)| {
        let (stem, tail) = match segment.find(['.', '|', ' ', '\'', '"']) {
            Some(end) => segment.split_at(end),
            None => (segment, ""),
        };
        let in_data = std::mem::replace(&mut before, segment) == "data";
        let stem = match stem {
            _ if place == 0 => stem.to_owned(),
            _ if is_number(stem) && !in_data => "OID".to_owned(),
            _ if in_data && stem.len() == 2 && is_hex(stem) => "HH".to_owned(),
            _ => without_uuids(stem),
        };
        format!("{stem}{tail}")
    });
    words.collect::<Vec<_>>().join("/")
}

/// Replaces the address of the object store.
fn without_port(text: &str) -> String {
    match text.split_once("http://") {
        Some((before, url)) => {
            let key = url.find('/').map_or("", |at| &url[at..]);
            format!("{before}http://S3{key}")
        }
        None => text.to_owned(),
    }
}

/// Replaces the random parts of names such as `snap-123-1-<uuid>` by words.
fn without_uuids(text: &str) -> String {
    let mut named = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let candidate = rest.get(..36).unwrap_or_default();
        let parts: Vec<&str> = candidate.split('-').collect();
        if parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
            && parts.iter().all(|part| is_hex(part))
        {
            named.push_str("UUID");
            rest = &rest[36..];
        } else {
            named.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    match named
        .strip_prefix("snap-")
        .and_then(|rest| rest.split_once('-'))
    {
        Some((number, rest)) if is_number(number) => format!("snap-ID-{rest}"),
        _ => named,
    }
}

#[test]
fn what_differs_between_installations_is_left_out() {
    let location = "s3://probe-lake/x/scratch/public/d1/19080/metadata/00008-0d64f11f-0b6a-44c4-a020-fb475d333098.metadata.json|2";
    let ours = location
        .replace("/scratch/", "/frompg/tables/scratch/")
        .replace("19080", "7");
    assert_eq!(
        normalized(location),
        "s3://probe-lake/x/scratch/public/d1/OID/metadata/00008-UUID.metadata.json|2"
    );
    assert_eq!(normalized(location), normalized(&ours));
    assert_eq!(
        normalized("a/snap-12-1-0d64f11f-0b6a-44c4-a020-fb475d333098.avro"),
        "a/snap-ID-1-UUID.avro"
    );
    assert_eq!(from_capture("Decimal('1.500')"), value("1.50"));
    assert_eq!(
        from_capture("datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)"),
        "9999-12-31 23:59:59.999999"
    );
    assert_eq!(
        from_capture("{'operation': 'append'}"),
        value("{\"operation\":  \"append\"}")
    );
}
