//! The parameters that a driver is told of.

use serde_json::{Value, json};

use super::Session;

/// Returns the parameters of the session and those of the endpoint.
pub(super) fn of_session(session: &dyn Session) -> Vec<Value> {
    // Results are JSON, and values are bound in the request, because there is no stage to send them
    // through.
    let own = [
        ("PYTHON_CONNECTOR_QUERY_RESULT_FORMAT", json!("JSON")),
        ("JDBC_QUERY_RESULT_FORMAT", json!("JSON")),
        ("ODBC_QUERY_RESULT_FORMAT", json!("JSON")),
        ("GO_QUERY_RESULT_FORMAT", json!("JSON")),
        ("CLIENT_STAGE_ARRAY_BINDING_THRESHOLD", json!(i32::MAX)),
        ("QUERY_CONTEXT_CACHE_SIZE", json!(0)),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let all = session.parameters().into_iter().chain(own);
    all.map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}
