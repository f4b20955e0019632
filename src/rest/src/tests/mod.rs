//! Tests of the endpoint over HTTP.

mod account;
mod api;
mod clients;
mod http;
mod protocol;
mod sessions;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::account::TestAccount;
use super::{Config, serve};
use icebox_base::connections::Listeners;

/// A running endpoint, which stops when this is dropped.
struct Running {
    address: SocketAddr,
    account: Arc<TestAccount>,
    /// Dropping this stops the endpoint.
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

async fn start(config: Config) -> Running {
    let listener = Listeners::bind(([127, 0, 0, 1], 0).into(), None).await;
    let listener = listener.unwrap();
    let address = listener.address();
    let account = Arc::new(TestAccount::new());
    let (stop, stopped) = oneshot::channel::<()>();
    let until = async move { _ = stopped.await };
    let served = tokio::spawn(serve(listener, account.clone(), config, until));
    Running {
        address,
        account,
        stop,
        served,
    }
}
