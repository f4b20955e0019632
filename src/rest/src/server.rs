//! Connections and routes of the endpoint.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;

use super::call::Call;
use super::endpoint::Endpoint;
use super::reply::{Failure, Reply};
use super::{Account, Config, api, query, session};
use icebox_base::connections::{self, Listeners};

/// Serves drivers until `shutdown` completes. Then running statements are cancelled, and requests
/// have five seconds to end.
///
/// # Errors
/// None at present: an error of one connection is logged and ends that connection.
pub async fn serve(
    listeners: Listeners,
    account: Arc<dyn Account>,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let endpoint = Arc::new(Endpoint::new(account, config));
    let service = {
        let endpoint = Arc::clone(&endpoint);
        service_fn(move |request| answer(Arc::clone(&endpoint), request))
    };
    let cancel = || endpoint.statements.cancel_all();
    connections::serve(listeners, service, shutdown, cancel).await;
    endpoint.statements.abort_all();
    Ok(())
}

async fn answer(
    endpoint: Arc<Endpoint>,
    request: Request<Incoming>,
) -> Result<Response<String>, Infallible> {
    let is_api = request.uri().path().starts_with("/api/");
    let outcome = async {
        let call = Call::read(request, endpoint.config.max_request).await?;
        tracing::debug!(method = %call.method, path = ?call.path, "a request");
        route(&endpoint, call).await
    };
    let reply = outcome.await.unwrap_or_else(|failure| {
        tracing::debug!(error = %failure.error(), "a request failed");
        if is_api {
            failure.into_api_reply()
        } else {
            failure.into_reply()
        }
    });
    Ok(reply.into_response())
}

async fn route(endpoint: &Endpoint, call: Call) -> Result<Reply, Failure> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match (&call.method, path.as_slice()) {
        (&Method::POST, ["session", "v1", "login-request"]) => {
            session::login(endpoint, &call).await
        }
        (&Method::POST, ["session", "token-request"]) => session::renew(endpoint, &call),
        (&Method::POST, ["session", "heartbeat"]) => session::heartbeat(endpoint, &call),
        (&Method::POST, ["session"]) => session::close(endpoint, &call),
        // Telemetry is accepted and ignored.
        (&Method::POST, ["telemetry", "send"]) => Ok(Reply::success("Log Received")),
        (&Method::POST, ["queries", "v1", "query-request"]) => query::submit(endpoint, &call).await,
        (&Method::POST, ["queries", "v1", "abort-request"]) => query::abort(endpoint, &call),
        (&Method::POST, ["queries", id, "abort-request"]) => query::abort_one(endpoint, &call, id),
        (&Method::GET, ["queries", id, "result"]) => query::result(endpoint, &call, id).await,
        (&Method::GET, ["monitoring", "queries", id]) => query::status(endpoint, &call, id),
        (&Method::POST, ["api", "v2", "statements"]) => api::submit(endpoint, &call).await,
        (&Method::GET, ["api", "v2", "statements", id]) => api::result(endpoint, &call, id).await,
        (&Method::POST, ["api", "v2", "statements", id, "cancel"]) => {
            api::cancel(endpoint, &call, id).await
        }
        _ => {
            let text = format!("icebox has no {} {}.", call.method, call.path.join("/"));
            Err(Failure::of(390_404, text).with_status(StatusCode::NOT_FOUND))
        }
    }
}
