//! The init file of `pgduck_server`: statements of DuckDB that tell it where S3 is, `CREATE SECRET … (TYPE S3, …)`
//! (DuckDB documentation, "Secrets Manager" and "S3 API Support").

use sqlparser::ast::{SecretOption, Statement};
use sqlparser::dialect::DuckDbDialect;
use sqlparser::parser::Parser;

use crate::objectstore::S3Config;
use crate::postgres::server::quote_literal;
use crate::postgres::statements::{self, Unclosed};

/// An S3 service, and which buckets it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// `None` is for all buckets without a secret of their own.
    pub bucket: Option<String>,
    pub s3: S3Config,
}

/// What is wrong with an init file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("line {}", source.line)]
    Unclosed {
        #[from]
        source: Unclosed,
    },
    #[error("line {line}: {reason}")]
    Statement { line: usize, reason: String },
    #[error(
        "there is no S3 secret in it; expected: CREATE SECRET s3 (TYPE S3, KEY_ID '…', SECRET '…', \
         ENDPOINT 'host:port', REGION 'us-east-1', URL_STYLE 'path', USE_SSL false)"
    )]
    NoSecret,
}

/// The S3 secrets of an init file. Its other statements are for DuckDB only and have no meaning for the lake engine.
pub fn parse(text: &str) -> Result<Vec<Secret>, Error> {
    let mut secrets = Vec::new();
    for statement in statements::split(text)? {
        let failed = |reason: String| Error::Statement {
            line: statement.line,
            reason,
        };
        if !is_about_secrets(&statement.sql) {
            tracing::warn!(
                line = statement.line,
                "a statement of the init file has no meaning here and is left out"
            );
            continue;
        }
        let parsed = Parser::parse_sql(&DuckDbDialect {}, &statement.sql)
            .map_err(|error| failed(error.to_string()))?;
        for parsed in parsed {
            let Statement::CreateSecret {
                secret_type,
                options,
                ..
            } = parsed
            else {
                return Err(failed("it is not CREATE SECRET".to_owned()));
            };
            if !secret_type.value.eq_ignore_ascii_case("s3") {
                let kind = secret_type.value;
                return Err(failed(format!(
                    "a secret of type {kind} is of no use here, only S3 is"
                )));
            }
            secrets.push(secret(&options).map_err(failed)?);
        }
    }
    match secrets.is_empty() {
        true => Err(Error::NoSecret),
        false => Ok(secrets),
    }
}

/// The statement that makes the secret, under a name that is its own.
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
        "CREATE SECRET {name} (TYPE S3, KEY_ID {}, SECRET {}, ENDPOINT {}, REGION {}, URL_STYLE 'path', USE_SSL {uses_ssl}{token}{scope});\n",
        quote_literal(&s3.access_key_id),
        quote_literal(&s3.secret_access_key),
        quote_literal(endpoint),
        quote_literal(&s3.region),
    )
}

/// Whether a statement begins with CREATE and has SECRET among the words before its parenthesis.
fn is_about_secrets(sql: &str) -> bool {
    let head = sql.split('(').next().unwrap_or_default();
    let mut words = head.split_whitespace();
    let is = |word: &str, name: &str| word.eq_ignore_ascii_case(name);
    words.next().is_some_and(|word| is(word, "create")) && words.any(|word| is(word, "secret"))
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
                "the option {key} is not supported here; these are: {}",
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
        other => return Err(format!("USE_SSL is true or false, not {other}")),
    };
    // DuckDB takes bucket names into the host name where nothing else is said, which a service on this machine
    // cannot resolve.
    match get("URL_STYLE").unwrap_or("vhost") {
        "path" => {}
        other => {
            return Err(format!(
                "URL_STYLE '{other}' is not supported here, only 'path' is"
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
                _ => return Err(format!("SCOPE is s3://<bucket> here, not {scope}")),
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
        assert_eq!(parse(&text).unwrap(), secrets);
    }

    #[test]
    fn statements_as_people_write_them() {
        let text = "-- where the lake is\nSET threads = 4;\n\
                    create or replace persistent secret (type s3, key_id 'k', secret 's',\n\
                    endpoint 'localhost:9000', url_style 'path', use_ssl 'false', scope 's3://lake/');";
        let secrets = parse(text).unwrap();
        assert_eq!(secrets.len(), 1);
        assert_eq!(secrets[0].bucket.as_deref(), Some("lake"));
        assert_eq!(secrets[0].s3.endpoint, "http://localhost:9000");
        assert_eq!(secrets[0].s3.region, "us-east-1");
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
                "line 3: URL_STYLE 'vhost' is not supported here, only 'path' is",
            ),
            (
                "TYPE GCS, KEY_ID 'k', SECRET 's'",
                "line 3: a secret of type GCS is of no use here, only S3 is",
            ),
            (
                "TYPE S3, KMS_KEY_ID 't'",
                "line 3: the option KMS_KEY_ID is not supported here; these are: \
                 KEY_ID, SECRET, SESSION_TOKEN, ENDPOINT, REGION, URL_STYLE, USE_SSL, SCOPE",
            ),
            (
                "TYPE S3, KEY_ID 'k', SECRET 's', ENDPOINT 'e', URL_STYLE 'path', SCOPE 's3://b/part'",
                "line 3: SCOPE is s3://<bucket> here, not s3://b/part",
            ),
        ] {
            assert_eq!(secret(options), error);
        }
        assert_eq!(secret("TYPE S3, KEY_ID 'k"), "line 3");
        assert!(matches!(parse("SET x = 1"), Err(Error::NoSecret)));
    }
}
