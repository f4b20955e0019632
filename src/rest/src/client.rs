//! A client of the drivers' protocol for icebox's own front ends. The server is
//! [`rest`](crate).

use std::net::SocketAddr;
use std::time::Duration;

use chrono_tz::Tz;
use datafusion::common::ScalarValue;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::{Value, json};

use icebox_sql::error::SqlError;
use icebox_sql::query::{self, DEFAULT_ZONE};
use icebox_sql::rows::Rows;
use icebox_sql::types::DataType;

/// The application name that this client logs in with.
pub(super) const APPLICATION: &str = "icebox";

/// A session on the Snowflake side.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    zone: Tz,
    current: CurrentObjects,
}

/// The current objects of a session; `None` where none is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentObjects {
    pub role: Option<String>,
    pub warehouse: Option<String>,
    pub database: Option<String>,
    pub schema: Option<String>,
}

/// The result of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub columns: Vec<Column>,
    /// Values as Snowflake's clients show them; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    pub query_id: String,
    /// The account's notices, each of which is sent once only.
    pub notices: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub is_number: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach the Snowflake side at {base}; is the sandbox up? (icebox status)")]
    Unreachable {
        base: String,
        #[source]
        source: reqwest::Error,
    },
    /// An error of a statement, as Snowflake's clients print it: code, SQLSTATE, text.
    #[error("{code} ({state}): {message}")]
    Statement {
        code: String,
        state: String,
        message: String,
    },
    #[error("unexpected response from the Snowflake side: {0}")]
    Protocol(String),
}

#[derive(Deserialize)]
struct Reply {
    success: bool,
    code: Option<String>,
    message: Option<String>,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Finished {
    rowtype: Vec<ColumnType>,
    rowset: Vec<Vec<Option<String>>>,
    query_id: String,
    #[serde(default)]
    parameters: Vec<Parameter>,
    final_database_name: Option<String>,
    final_schema_name: Option<String>,
    final_warehouse_name: Option<String>,
    final_role_name: Option<String>,
    #[serde(default)]
    icebox_notices: Vec<String>,
}

#[derive(Deserialize)]
struct ColumnType {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    scale: Option<u8>,
}

#[derive(Deserialize)]
struct Parameter {
    name: String,
    value: Value,
}

impl Client {
    /// Logs in. A `database` that does not exist is ignored: the session then has none.
    pub async fn connect(
        address: SocketAddr,
        account: &str,
        user: &str,
        password: &str,
        database: Option<&str>,
    ) -> Result<Self, ClientError> {
        let mut client = Self {
            // The sandbox is on the local machine, which a proxy could not reach.
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .map_err(|source| ClientError::Protocol(source.to_string()))?,
            base: format!("http://{address}"),
            token: "None".to_owned(),
            zone: DEFAULT_ZONE,
            current: CurrentObjects::default(),
        };
        let body = json!({"data": {
            "CLIENT_APP_ID": APPLICATION,
            "CLIENT_APP_VERSION": env!("CARGO_PKG_VERSION"),
            "ACCOUNT_NAME": account,
            "LOGIN_NAME": user,
            "PASSWORD": password,
        }});
        let mut path = "/session/v1/login-request".to_owned();
        if let Some(database) = database {
            path.push_str(&format!("?databaseName={database}"));
        }
        let data = client.post(&path, &body).await?.data;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        client.token = text(&data["token"]).ok_or_else(|| not_of_protocol("no token"))?;
        let names = &data["sessionInfo"];
        client.current = CurrentObjects {
            role: text(&names["roleName"]),
            warehouse: text(&names["warehouseName"]),
            database: text(&names["databaseName"]),
            schema: text(&names["schemaName"]),
        };
        Ok(client)
    }

    /// Returns the session's current objects after the last statement.
    pub fn current(&self) -> &CurrentObjects {
        &self.current
    }

    /// Runs one statement to its end. Returns its rows as the texts that Snowflake's clients show.
    pub async fn run(&mut self, sql: &str) -> Result<Answer, ClientError> {
        let result = self.finish(sql).await?;
        let types = &result.rowtype;
        let rows = result.rowset.into_iter().map(|row| {
            let cells = types.iter().zip(row);
            cells.map(|(ty, cell)| self.shown(ty, cell)).collect()
        });
        let rows = rows.collect::<Result<_, _>>()?;
        let columns = result.rowtype.into_iter().map(|column| Column {
            is_number: column.ty == "fixed" || column.ty == "real",
            name: column.name,
        });
        Ok(Answer {
            columns: columns.collect(),
            rows,
            query_id: result.query_id,
            notices: result.icebox_notices,
        })
    }

    /// Runs one statement to its end. Returns its rows as values.
    pub async fn rows(&mut self, sql: &str) -> Result<Rows, ClientError> {
        let result = self.finish(sql).await?;
        let mut rows = Vec::with_capacity(result.rowset.len());
        for row in &result.rowset {
            let cells = row.iter().zip(&result.rowtype);
            let cells = cells.map(|(cell, column)| match cell {
                None => Ok(ScalarValue::Null),
                Some(text) => column.value(text),
            });
            rows.push(cells.collect::<Result<Vec<_>, _>>()?);
        }
        let columns = result.rowtype.iter();
        let columns: Vec<_> = columns
            .map(|column| (column.name.as_str(), column.data_type()))
            .collect();
        Rows::from_values(&columns, rows).map_err(|error| not_of_protocol(&error.to_string()))
    }

    /// Runs one statement to its end, asking again while it is in progress.
    async fn finish(&mut self, sql: &str) -> Result<Finished, ClientError> {
        let request = uuid::Uuid::new_v4();
        let path = format!("/queries/v1/query-request?requestId={request}");
        let body = json!({"sqlText": sql, "asyncExec": false, "sequenceId": 1});
        let mut reply = self.post(&path, &body).await?;
        while let Some("333333" | "333334") = reply.code.as_deref() {
            let next = reply.data["getResultUrl"].as_str();
            let next = next.ok_or_else(|| not_of_protocol("no getResultUrl"))?;
            reply = self
                .read(self.http.get(format!("{}{next}", self.base)))
                .await?;
        }
        let mut result: Finished = serde_json::from_value(reply.data)
            .map_err(|error| not_of_protocol(&error.to_string()))?;
        self.current = CurrentObjects {
            role: result.final_role_name.take(),
            warehouse: result.final_warehouse_name.take(),
            database: result.final_database_name.take(),
            schema: result.final_schema_name.take(),
        };
        let zone = result.parameters.iter().find(|one| one.name == "TIMEZONE");
        if let Some(zone) = zone.and_then(|zone| zone.value.as_str()?.parse().ok()) {
            self.zone = zone;
        }
        Ok(result)
    }

    /// Ends the session. Without this call it lasts until it expires unused.
    pub async fn close(self) {
        let _ = self.post("/session?delete=true", &json!({})).await;
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Reply, ClientError> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        self.read(request).await
    }

    async fn read(&self, request: reqwest::RequestBuilder) -> Result<Reply, ClientError> {
        let failed = |source| ClientError::Unreachable {
            base: self.base.clone(),
            source,
        };
        let token = format!("Snowflake Token=\"{}\"", self.token);
        let request = request
            .header(AUTHORIZATION, token)
            .timeout(Duration::from_mins(2));
        let answer = request.send().await.map_err(failed)?;
        let reply: Reply = answer.json().await.map_err(failed)?;
        if reply.success || matches!(reply.code.as_deref(), Some("333333" | "333334")) {
            return Ok(reply);
        }
        let state = reply.data["sqlState"].as_str().unwrap_or("XX000");
        Err(ClientError::Statement {
            code: reply.code.unwrap_or_default(),
            state: state.to_owned(),
            message: reply.message.unwrap_or_default(),
        })
    }

    fn shown(&self, ty: &ColumnType, cell: Option<String>) -> Result<Option<String>, ClientError> {
        let Some(text) = cell else {
            return Ok(None);
        };
        if matches!(ty.ty.as_str(), "fixed" | "real" | "text" | "binary") {
            return Ok(Some(text));
        }
        query::render(&ty.value(&text)?, ty.data_type(), self.zone)
            .map_err(|error: SqlError| not_of_protocol(&error.to_string()))
    }
}

impl ColumnType {
    fn data_type(&self) -> DataType {
        let scale = self.scale.unwrap_or(9);
        match self.ty.as_str() {
            "fixed" => DataType::Number {
                precision: 38,
                scale: self.scale.unwrap_or(0),
            },
            "real" => DataType::Float,
            "boolean" => DataType::Boolean,
            "date" => DataType::Date,
            "time" => DataType::Time { scale },
            "timestamp_ntz" => DataType::TimestampNtz { scale },
            "timestamp_ltz" => DataType::TimestampLtz { scale },
            "timestamp_tz" => DataType::TimestampTz { scale },
            "variant" | "object" | "array" => DataType::Variant,
            _ => DataType::TEXT,
        }
    }

    fn value(&self, text: &str) -> Result<ScalarValue, ClientError> {
        let bad = || not_of_protocol(&format!("{text} is not of the type {}", self.ty));
        value(self.data_type(), text).ok_or_else(bad)
    }
}

/// Parses a value from its text in the protocol; `None` if the text is not of the type.
fn value(ty: DataType, text: &str) -> Option<ScalarValue> {
    let moment = |text, zone: Option<String>| {
        let zone = zone.map(Into::into);
        Some(ScalarValue::TimestampNanosecond(Some(nanos(text)?), zone))
    };
    Some(match ty {
        DataType::Number { .. } => {
            let text = ScalarValue::from(text);
            text.cast_to(&ty.to_arrow()).ok()?
        }
        DataType::Float => ScalarValue::from(text.parse::<f64>().ok()?),
        DataType::Boolean => ScalarValue::from(text == "1"),
        DataType::Date => ScalarValue::Date32(Some(text.parse().ok()?)),
        DataType::Time { .. } => ScalarValue::Time64Nanosecond(Some(nanos(text)?)),
        DataType::TimestampNtz { .. } => moment(text, None)?,
        DataType::TimestampLtz { .. } => moment(text, Some("UTC".to_owned()))?,
        DataType::TimestampTz { .. } => {
            let (text, offset) = text.split_once(' ')?;
            let minutes = offset.parse::<i32>().ok()? - 1440;
            let (sign, size) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
            moment(
                text,
                Some(format!("{sign}{:02}:{:02}", size / 60, size % 60)),
            )?
        }
        _ => ScalarValue::from(text),
    })
}

/// Parses seconds with a fraction into nanoseconds.
fn nanos(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_negative = whole.starts_with('-');
    let whole: i64 = whole.parse().ok()?;
    let part: i64 = format!("{part:0<9}").get(..9)?.parse().ok()?;
    let part = if is_negative { -part } else { part };
    whole.checked_mul(1_000_000_000)?.checked_add(part)
}

fn not_of_protocol(what: &str) -> ClientError {
    ClientError::Protocol(what.to_owned())
}
