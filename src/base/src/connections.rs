//! HTTP connections of the sandbox's own servers.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a stopping server waits for requests under way.
const GRACE: Duration = Duration::from_secs(5);

/// The address that a request comes from: an extension of every request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The sockets that a server listens on: for this machine and, if requested, for others.
#[derive(Debug)]
pub struct Listeners {
    first: TcpListener,
    second: Option<TcpListener>,
    address: SocketAddr,
}

impl Listeners {
    /// Listens on `address`; port 0 takes a free port. With `public` it also listens on the same
    /// port of that address, which is an address of this machine or 0.0.0.0 for all of them.
    ///
    /// # Errors
    /// The machine does not have the address, or the port is in use.
    pub async fn bind(address: SocketAddr, public: Option<IpAddr>) -> io::Result<Self> {
        let first = match public {
            Some(ip) if ip.is_unspecified() => (ip, address.port()).into(),
            _ => address,
        };
        let first = TcpListener::bind(first).await?;
        let port = first.local_addr()?.port();
        let second = match public {
            Some(ip) if !ip.is_unspecified() => Some(TcpListener::bind((ip, port)).await?),
            _ => None,
        };
        Ok(Self {
            first,
            second,
            address: (address.ip(), port).into(),
        })
    }

    /// Returns the address that clients on this machine connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let Some(second) = &self.second else {
            return self.first.accept().await;
        };
        tokio::select! {
            accepted = self.first.accept() => accepted,
            accepted = second.accept() => accepted,
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Answers requests with `service` until `shutdown` completes. Then calls `on_stop` and gives
/// requests under way up to five seconds. Dropping the future stops at once. An error on one
/// connection is logged and ends only that connection.
pub async fn serve<S, B>(
    listener: Listeners,
    service: S,
    shutdown: impl Future<Output = ()>,
    on_stop: impl FnOnce(),
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let service = service.clone();
                    let with_peer = service_fn(move |mut request: Request<Incoming>| {
                        request.extensions_mut().insert(Peer(peer));
                        service.call(request)
                    });
                    connections.spawn(connection(stream, with_peer, stopped.clone()));
                }
                Err(error) => {
                    // For example, there are no free file descriptors. Connections that end release
                    // some.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let _ = stop.send(());
    on_stop();
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all_done).await.is_err() {
        tracing::warn!("requests were cut off: they took longer than {GRACE:?} after the stop");
    }
}

/// Serves one connection, request after request.
async fn connection<S, B>(stream: TcpStream, service: S, mut stopped: watch::Receiver<()>)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        // Whether the sender sent or was dropped, the server stops.
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
