//! Secrets of `pgduck_server`: DuckDB statements that configure access to S3, `CREATE SECRET …
//! (TYPE S3, …)`. They are in its init file, and may also be run later (DuckDB documentation,
//! "Secrets Manager" and "S3 API Support").
//!
//! A secret [without rights](Secret::without_rights) has empty keys. With empty keys DuckDB signs
//! no request and sends no session token (its extension httpfs, `CreateS3Header`). So the token can
//! hold the reason, which icebox's stand-in shows to its user.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sqlparser::ast::{Ident, SecretOption, Statement};
use sqlparser::dialect::DuckDbDialect;
use sqlparser::parser::Parser;

use super::storage::Refusal;
use icebox_postgres::server::quote_literal;
use icebox_postgres::statements::{self, Unclosed};
use icebox_s3_client::S3Config;

/// An S3 service, and the buckets that it is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The one bucket that the secret is for. `None` is for all buckets without a secret of their
    /// own.
    pub bucket: Option<String>,
    pub s3: S3Config,
}

impl Secret {
    /// Returns a secret without rights for a service; `why` is the reason. Without any secret
    /// DuckDB would send its requests to AWS.
    pub fn without_rights(s3: &S3Config, why: &Refusal) -> Self {
        let json = serde_json::to_vec(why).unwrap_or_default();
        Self {
            bucket: None,
            s3: S3Config {
                access_key_id: String::new(),
                secret_access_key: String::new(),
                session_token: Some(BASE64_STANDARD.encode(json)),
                ..s3.clone()
            },
        }
    }

    /// Returns why the secret has no rights, or `None` if it has keys.
    pub fn refusal(&self) -> Option<Refusal> {
        if !self.s3.access_key_id.is_empty() || !self.s3.secret_access_key.is_empty() {
            return None;
        }
        let token = self.s3.session_token.as_deref().unwrap_or_default();
        let told = BASE64_STANDARD.decode(token).ok();
        let told = told.and_then(|json| serde_json::from_slice(&json).ok());
        Some(told.unwrap_or_else(|| Refusal {
            message: "the S3 secret has no keys, so object storage cannot be reached".to_owned(),
            hint: "Give it KEY_ID and SECRET: CREATE OR REPLACE SECRET … (TYPE S3, …).".to_owned(),
        }))
    }
}

/// The change that a statement makes to the secrets. Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretChange {
    Create {
        name: String,
        secret: Secret,
        if_exists: IfExists,
    },
    Drop {
        name: String,
        if_exists: bool,
    },
}

/// The effect of `CREATE SECRET` when a secret of that name exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfExists {
    Replace,
    Keep,
    Fail,
}

/// An error: the statement does not fit the existing secrets.
#[derive(Debug, thiserror::Error)]
pub enum Conflict {
    #[error("a secret with the name \"{name}\" already exists")]
    Exists { name: String },
    #[error("there is no secret with the name \"{name}\"")]
    Missing { name: String },
}

/// The secrets by name.
#[derive(Clone, Debug, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    pub fn apply(&mut self, change: SecretChange) -> Result<(), Conflict> {
        match change {
            SecretChange::Create {
                name,
                secret,
                if_exists,
            } => match (self.0.contains_key(&name), if_exists) {
                (true, IfExists::Fail) => return Err(Conflict::Exists { name }),
                (true, IfExists::Keep) => {}
                (false, _) | (true, IfExists::Replace) => _ = self.0.insert(name, secret),
            },
            SecretChange::Drop { name, if_exists } => {
                if self.0.remove(&name).is_none() && !if_exists {
                    return Err(Conflict::Missing { name });
                }
            }
        }
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.values()
    }
}

/// An error in an init file or a statement.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("line {line}: {reason}")]
    Statement { line: usize, reason: String },
    #[error("{0}")]
    Conflict(#[from] Conflict),
    #[error(
        "the init file has no S3 secret; expected: CREATE SECRET s3 (TYPE S3, KEY_ID '…', SECRET '…', \
         ENDPOINT 'host:port', REGION 'us-east-1', URL_STYLE 'path', USE_SSL false)"
    )]
    NoSecret,
}

impl From<Unclosed> for Error {
    fn from(unclosed: Unclosed) -> Self {
        Self::Statement {
            line: unclosed.line,
            reason: unclosed.to_string(),
        }
    }
}

/// Reads the S3 secrets of an init file. Other statements matter to DuckDB only; they are skipped
/// with a warning.
///
/// # Errors
/// A statement about secrets that is malformed or conflicts with an earlier one, or no S3 secret at
/// all.
pub fn parse(text: &str) -> Result<Secrets, Error> {
    let mut secrets = Secrets::default();
    for statement in statements::split(text)? {
        if !is_about_secrets(&statement.sql) {
            tracing::warn!(
                line = statement.line,
                "skipping a statement of the init file that is not about secrets"
            );
            continue;
        }
        for change in read(&statement)? {
            secrets.apply(change)?;
        }
    }
    if secrets.0.is_empty() {
        Err(Error::NoSecret)
    } else {
        Ok(secrets)
    }
}

/// Reads the changes that a message of one or more statements makes to the secrets. Returns `None`
/// if the first statement is about something else.
pub fn changes(sql: &str) -> Result<Option<Vec<SecretChange>>, Error> {
    if !is_about_secrets(sql) {
        return Ok(None);
    }
    let mut changes = Vec::new();
    for statement in statements::split(sql)? {
        changes.extend(read(&statement)?);
    }
    Ok(Some(changes))
}

fn read(statement: &statements::Statement) -> Result<Vec<SecretChange>, Error> {
    let failed = |reason: String| Error::Statement {
        line: statement.line,
        reason,
    };
    let parsed = Parser::parse_sql(&DuckDbDialect {}, &statement.sql)
        .map_err(|error| failed(without_token(&error.to_string())))?;
    parsed
        .into_iter()
        .map(|one| change(one).map_err(failed))
        .collect()
}

/// Removes the offending token from a parser's error, because it may be a key.
fn without_token(error: &str) -> String {
    match (error.find(", found: "), error.rfind(" at Line: ")) {
        (Some(end), Some(place)) if end < place => format!("{}{}", &error[..end], &error[place..]),
        _ => error.to_owned(),
    }
}

fn change(statement: Statement) -> Result<SecretChange, String> {
    let lower = |name: Ident| name.value.to_lowercase();
    match statement {
        Statement::CreateSecret {
            or_replace,
            if_not_exists,
            name,
            secret_type,
            options,
            ..
        } => {
            if !secret_type.value.eq_ignore_ascii_case("s3") {
                let kind = secret_type.value;
                return Err(format!(
                    "secrets of type {kind} are not supported, only S3 is"
                ));
            }
            Ok(SecretChange::Create {
                // DuckDB's name for a secret without a name.
                name: name.map_or_else(|| "__default_s3".to_owned(), lower),
                secret: secret(&options)?,
                if_exists: match (or_replace, if_not_exists) {
                    (true, _) => IfExists::Replace,
                    (false, true) => IfExists::Keep,
                    (false, false) => IfExists::Fail,
                },
            })
        }
        Statement::DropSecret {
            if_exists, name, ..
        } => Ok(SecretChange::Drop {
            name: lower(name),
            if_exists,
        }),
        _ => Err("only CREATE SECRET and DROP SECRET are supported".to_owned()),
    }
}

/// Returns the statement that creates or replaces the secret.
pub fn statement(name: &str, secret: &Secret) -> String {
    let s3 = &secret.s3;
    let (endpoint, uses_ssl) = match s3.endpoint.split_once("://") {
        Some((scheme, endpoint)) => (endpoint, scheme == "https"),
        None => (s3.endpoint.as_str(), false),
    };
    let scope = match &secret.bucket {
        Some(bucket) => format!(", SCOPE {}", quote_literal(&format!("s3://{bucket}"))),
        None => String::new(),
    };
    let token = match &s3.session_token {
        Some(token) => format!(", SESSION_TOKEN {}", quote_literal(token)),
        None => String::new(),
    };
    format!(
        "CREATE OR REPLACE SECRET {name} (TYPE S3, KEY_ID {}, SECRET {}, ENDPOINT {}, REGION {}, URL_STYLE 'path', USE_SSL {uses_ssl}{token}{scope});\n",
        quote_literal(&s3.access_key_id),
        quote_literal(&s3.secret_access_key),
        quote_literal(endpoint),
        quote_literal(&s3.region),
    )
}

/// Whether a statement begins with CREATE or DROP and has SECRET among the words before its
/// parenthesis.
fn is_about_secrets(sql: &str) -> bool {
    let head = sql.split('(').next().unwrap_or_default();
    let mut words = head.split_whitespace();
    let is = |word: &str, name: &str| word.eq_ignore_ascii_case(name);
    words
        .next()
        .is_some_and(|word| is(word, "create") || is(word, "drop"))
        && words.any(|word| is(word, "secret"))
}

fn secret(options: &[SecretOption]) -> Result<Secret, String> {
    const KNOWN: [&str; 8] = [
        "KEY_ID",
        "SECRET",
        "SESSION_TOKEN",
        "ENDPOINT",
        "REGION",
        "URL_STYLE",
        "USE_SSL",
        "SCOPE",
    ];
    for option in options {
        let key = &option.key.value;
        if !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(key)) {
            return Err(format!(
                "the option {key} is not supported; supported options: {}",
                KNOWN.join(", ")
            ));
        }
    }
    let get = |name: &str| {
        let option = options
            .iter()
            .find(|option| option.key.value.eq_ignore_ascii_case(name));
        option.map(|option| option.value.value.as_str())
    };
    let need = |name: &str| get(name).ok_or(format!("the S3 secret has no {name}"));
    let scheme = match get("USE_SSL").unwrap_or("true").to_lowercase().as_str() {
        "true" | "1" => "https",
        "false" | "0" => "http",
        other => return Err(format!("USE_SSL must be true or false, not {other}")),
    };
    // By default DuckDB puts the bucket's name into the host name, which does not resolve for a
    // local service.
    match get("URL_STYLE").unwrap_or("vhost") {
        "path" => {}
        other => {
            return Err(format!(
                "URL_STYLE '{other}' is not supported, it must be given as 'path'"
            ));
        }
    }
    let bucket = match get("SCOPE") {
        None | Some("s3://") => None,
        Some(scope) => {
            let bucket = scope
                .strip_prefix("s3://")
                .map(|rest| rest.trim_end_matches('/'));
            match bucket {
                Some(bucket) if !bucket.is_empty() && !bucket.contains('/') => {
                    Some(bucket.to_owned())
                }
                _ => return Err(format!("SCOPE must be s3://<bucket>, not {scope}")),
            }
        }
    };
    Ok(Secret {
        bucket,
        s3: S3Config {
            endpoint: format!("{scheme}://{}", need("ENDPOINT")?.trim_end_matches('/')),
            region: get("REGION").unwrap_or("us-east-1").to_owned(),
            access_key_id: need("KEY_ID")?.to_owned(),
            secret_access_key: need("SECRET")?.to_owned(),
            session_token: get("SESSION_TOKEN").map(str::to_owned),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(endpoint: &str, secret: &str) -> S3Config {
        S3Config {
            endpoint: endpoint.to_owned(),
            region: "eu-west-1".to_owned(),
            access_key_id: "KEY".to_owned(),
            secret_access_key: secret.to_owned(),
            session_token: None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let secrets = [
            Secret {
                bucket: None,
                s3: s3("http://127.0.0.1:9000", "it's; a (secret)"),
            },
            Secret {
                bucket: Some("other".to_owned()),
                s3: S3Config {
                    session_token: Some("a token; it's long".to_owned()),
                    ..s3("https://minio:9000", "another")
                },
            },
        ];
        let text: String = secrets
            .iter()
            .enumerate()
            .map(|(i, secret)| statement(&format!("s{i}"), secret))
            .collect();
        let read = parse(&text).unwrap();
        assert!(read.iter().eq(&secrets), "{read:?}");
    }

    #[test]
    fn statements_as_people_write_them() {
        let text = "-- where the lake is\nSET threads = 4;\n\
                    create or replace persistent secret (type s3, key_id 'k', secret 's',\n\
                    endpoint 'localhost:9000', url_style 'path', use_ssl 'false', scope 's3://lake/');";
        let secrets = parse(text).unwrap();
        let [secret] = secrets.iter().collect::<Vec<_>>()[..] else {
            panic!("{secrets:?}");
        };
        assert_eq!(secret.bucket.as_deref(), Some("lake"));
        assert_eq!(secret.s3.endpoint, "http://localhost:9000");
        assert_eq!(secret.s3.region, "us-east-1");
        assert_eq!(secret.refusal(), None);
    }

    #[test]
    fn a_secret_without_rights_says_why() {
        let why = Refusal {
            message: "no \\ 'access'; (none)\nat all".to_owned(),
            hint: "Ask.".to_owned(),
        };
        let refused = Secret::without_rights(&s3("http://127.0.0.1:9000", "known"), &why);
        let text = statement("s", &refused);
        assert!(!text.contains("known"), "{text}");
        let secrets = parse(&text).unwrap();
        let found: Vec<_> = secrets.iter().filter_map(Secret::refusal).collect();
        assert_eq!(found, [why]);

        let nothing_said =
            "CREATE SECRET (TYPE S3, KEY_ID '', SECRET '', ENDPOINT 'e', URL_STYLE 'path')";
        let secrets = parse(nothing_said).unwrap();
        let found: Vec<_> = secrets.iter().filter_map(Secret::refusal).collect();
        assert!(found[0].message.contains("no keys"), "{found:?}");
    }

    #[test]
    fn secrets_come_and_go_by_name() {
        let mut secrets = Secrets::default();
        let mut run = |sql: &str| -> Result<String, String> {
            let changes = changes(sql).map_err(|error| error.to_string())?;
            for change in changes.ok_or("something else")? {
                secrets.apply(change).map_err(|error| error.to_string())?;
            }
            let keys = secrets
                .iter()
                .map(|secret| secret.s3.access_key_id.as_str());
            Ok(keys.collect::<Vec<_>>().join(" "))
        };
        let with = |head: &str, key: &str| {
            format!("{head} (TYPE S3, KEY_ID '{key}', SECRET 's', ENDPOINT 'e', URL_STYLE 'path')")
        };
        let ok = |keys: &str| Ok(keys.to_owned());
        let error = |text: &str| Err(text.to_owned());
        assert_eq!(run(&with("CREATE SECRET a", "1")), ok("1"));
        assert_eq!(
            run(&with("CREATE SECRET A", "2")),
            error("a secret with the name \"a\" already exists")
        );
        assert_eq!(run(&with("CREATE SECRET IF NOT EXISTS a", "2")), ok("1"));
        assert_eq!(run(&with("CREATE OR REPLACE SECRET a", "2")), ok("2"));
        let two = format!("{}; DROP SECRET a", with("CREATE SECRET b", "3"));
        assert_eq!(run(&two), ok("3"));
        assert_eq!(
            run("DROP SECRET a"),
            error("there is no secret with the name \"a\"")
        );
        assert_eq!(run("drop secret if exists a"), ok("3"));
        assert_eq!(run("SELECT 'secret'"), error("something else"));
        assert_eq!(run("CREATE TABLE t (secret int)"), error("something else"));
    }

    #[test]
    fn errors_name_the_line_and_the_option() {
        let secret = |options: &str| {
            let text = format!("SET x = 1;\n\nCREATE SECRET s ({options});");
            parse(&text).unwrap_err().to_string()
        };
        for (options, error) in [
            (
                "TYPE S3, KEY_ID 'k', ENDPOINT 'e', URL_STYLE 'path'",
                "line 3: the S3 secret has no SECRET",
            ),
            (
                "TYPE S3, KEY_ID 'k', SECRET 's', ENDPOINT 'e'",
                "line 3: URL_STYLE 'vhost' is not supported, it must be given as 'path'",
            ),
            (
                "TYPE GCS, KEY_ID 'k', SECRET 's'",
                "line 3: secrets of type GCS are not supported, only S3 is",
            ),
            (
                "TYPE S3, KMS_KEY_ID 't'",
                "line 3: the option KMS_KEY_ID is not supported; supported options: \
                 KEY_ID, SECRET, SESSION_TOKEN, ENDPOINT, REGION, URL_STYLE, USE_SSL, SCOPE",
            ),
            (
                "TYPE S3, KEY_ID 'k', SECRET 's', ENDPOINT 'e', URL_STYLE 'path', SCOPE 's3://b/part'",
                "line 3: SCOPE must be s3://<bucket>, not s3://b/part",
            ),
        ] {
            assert_eq!(secret(options), error);
        }
        assert_eq!(
            secret("TYPE S3, KEY_ID 'k"),
            "line 3: a string is not closed"
        );
        let error = secret("TYPE S3, KEY_ID 'k', SECRET 'the ' 'key'");
        assert!(error.contains("Expected: )"), "{error}");
        assert!(error.contains("at Line: 1"), "{error}");
        assert!(!error.contains("key"), "{error}");
        assert!(matches!(parse("SET x = 1"), Err(Error::NoSecret)));
    }
}
