//! Login, heartbeat, renewal and logout of sessions.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::endpoint::Endpoint;
use super::parameters;
use super::reply::{Failure, Reply};
use super::tokens::Issued;
use super::{Credentials, Login, SessionNames};
use icebox_sql::error::{SqlError, code};
use icebox_sql::names::Ident;

/// The only authenticator that is supported: user and password.
const AUTHENTICATOR: &str = "SNOWFLAKE";

#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct Data {
    login_name: Option<String>,
    password: Option<String>,
    authenticator: Option<String>,
    client_app_id: Option<String>,
    client_app_version: Option<String>,
    session_parameters: Option<Map<String, Value>>,
}

pub(super) async fn login(endpoint: &Endpoint, call: &Call) -> Result<Reply, Failure> {
    let Body { data } = call.json()?;
    let authenticator = data
        .authenticator
        .unwrap_or_else(|| AUTHENTICATOR.to_owned());
    if !authenticator.eq_ignore_ascii_case(AUTHENTICATOR) {
        let text = format!(
            "Authenticator '{authenticator}' is not supported. Log in with a user and a password (authenticator {AUTHENTICATOR})."
        );
        return Err(SqlError::new(code::INVALID_TOKEN, text).into());
    }
    let client = [data.client_app_id, data.client_app_version];
    let named = |name: &str| call.query.get(name).map(String::as_str);
    let login = Login {
        credentials: Credentials::Password {
            user: data.login_name.unwrap_or_default(),
            password: data.password.unwrap_or_default(),
        },
        names: names([
            named("databaseName"),
            named("schemaName"),
            named("warehouse"),
            named("roleName"),
        ]),
        client: client.into_iter().flatten().collect::<Vec<_>>().join(" "),
        parameters: data.session_parameters.unwrap_or_default(),
    };
    let session = endpoint.account.login(login).await?;
    let names = session.names();
    let mut data = json!({
        "sessionId": session.id(),
        "parameters": parameters::of_session(session.as_ref()),
        "sessionInfo": {
            "databaseName": names.database,
            "schemaName": names.schema,
            "warehouseName": names.warehouse,
            "roleName": names.role,
        },
        "displayUserName": session.user(),
        "serverVersion": env!("CARGO_PKG_VERSION"),
        "firstLogin": false,
    });
    let issued = endpoint.sessions.open(session)?;
    data["token"] = json!(issued.session);
    data["masterToken"] = json!(issued.master);
    data["validityInSeconds"] = json!(endpoint.sessions.session_validity().as_secs());
    data["masterValidityInSeconds"] = json!(endpoint.sessions.master_validity().as_secs());
    Ok(Reply::success(data))
}

pub(super) fn renew(endpoint: &Endpoint, call: &Call) -> Result<Reply, Failure> {
    let Issued { session, master } = endpoint.sessions.renew(call.token())?;
    Ok(Reply::success(json!({
        "sessionToken": session,
        "validityInSecondsST": endpoint.sessions.session_validity().as_secs(),
        "masterToken": master,
        "validityInSecondsMT": endpoint.sessions.master_validity().as_secs(),
        "masterValidityInSeconds": endpoint.sessions.master_validity().as_secs(),
    })))
}

pub(super) fn heartbeat(endpoint: &Endpoint, call: &Call) -> Result<Reply, Failure> {
    endpoint.sessions.get(call.token())?;
    Ok(Reply::success(Value::Null))
}

pub(super) fn close(endpoint: &Endpoint, call: &Call) -> Result<Reply, Failure> {
    if call.query.get("delete").map(String::as_str) == Some("true") {
        endpoint.sessions.get(call.token())?;
        endpoint.sessions.close(call.token());
    }
    Ok(Reply::success(Value::Null))
}

/// Parses the names that a client gives: upper case unless in double quotes.
pub(super) fn names(given: [Option<&str>; 4]) -> SessionNames {
    let ident = |text: &str| {
        let inner = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        match inner {
            Some(inner) => Ident::quoted(inner.replace("\"\"", "\"")),
            None => Ident::unquoted(text),
        }
    };
    let given = given.map(|text| text.filter(|text| !text.is_empty()).map(ident));
    let [database, schema, warehouse, role] = given;
    SessionNames {
        database,
        schema,
        warehouse,
        role,
    }
}
