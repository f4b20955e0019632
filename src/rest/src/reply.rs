//! Replies of the endpoint, which are always JSON.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use icebox_sql::error::{ErrorCode, SqlError};

/// A complete reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub body: String,
}

impl Reply {
    pub fn json(body: &impl Serialize) -> Self {
        let (status, body) = match serde_json::to_string(body) {
            Ok(body) => (StatusCode::OK, body),
            // This happens only for a map whose keys are not texts, which no reply has.
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        };
        Self { status, body }
    }

    /// Returns the reply of a successful call.
    pub fn success(data: impl Serialize) -> Self {
        Self::with_code(None, None, data)
    }

    /// Returns the reply of a successful call, with a code for the kind of success.
    pub fn with_code(code: Option<&str>, message: Option<&str>, data: impl Serialize) -> Self {
        Self::json(&Envelope {
            data,
            code,
            message,
            success: true,
        })
    }

    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub fn into_response(self) -> Response<String> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    data: T,
    code: Option<&'a str>,
    message: Option<&'a str>,
    success: bool,
}

/// The failure of a call. Its status is 200 unless the request itself was wrong: drivers take most
/// other statuses for a network failure and try again.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    error: SqlError,
    query_id: Option<String>,
    status: StatusCode,
}

impl Failure {
    pub fn of(code: i32, message: impl Into<String>) -> Self {
        let code = ErrorCode {
            number: code,
            state: "08001",
        };
        SqlError::new(code, message).into()
    }

    pub fn of_query(error: SqlError, query_id: &str) -> Self {
        Self {
            query_id: Some(query_id.to_owned()),
            ..Self::from(error)
        }
    }

    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub fn error(&self) -> &SqlError {
        &self.error
    }

    /// Returns the failure as a reply of the drivers' protocol.
    pub fn into_reply(self) -> Reply {
        let SqlError {
            code,
            state,
            message,
            position,
        } = self.error;
        let code = six_digits(code);
        let place = position.map_or((-1, -1), |at| (i64::from(at.line), i64::from(at.column)));
        let kind = if message.starts_with("SQL compilation error") {
            json!("COMPILATION")
        } else {
            Value::Null
        };
        let body = json!({
            "data": {
                "internalError": false,
                "errorCode": code,
                "age": 0,
                "sqlState": state,
                "queryId": self.query_id,
                "line": place.0,
                "pos": place.1,
                "type": kind,
            },
            "code": code,
            "message": message,
            "success": false,
            "headers": null,
        });
        Reply::json(&body).status(self.status)
    }

    /// Returns the failure as a reply of the SQL API, with an HTTP status that shows what went
    /// wrong.
    pub fn into_api_reply(self) -> Reply {
        let status = match (self.status, &self.query_id) {
            (StatusCode::OK, Some(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            (StatusCode::OK, None) => StatusCode::BAD_REQUEST,
            (status, _) => status,
        };
        let mut body = json!({
            "code": six_digits(self.error.code),
            "message": self.error.message,
            "sqlState": self.error.state,
        });
        if let Some(query_id) = self.query_id {
            body["statementHandle"] = Value::String(query_id);
        }
        Reply::json(&body).status(status)
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self {
            error,
            query_id: None,
            status: StatusCode::OK,
        }
    }
}

/// Formats a code as drivers expect it.
pub(super) fn six_digits(code: i32) -> String {
    format!("{code:06}")
}
