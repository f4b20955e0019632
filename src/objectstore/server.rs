//! PLACEHOLDER for the S3 server: answers every request with an empty 200. Replaced at merge.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub struct ServerConfig {
    pub root: PathBuf,
    pub listen: SocketAddr,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub region: String,
}

pub struct Server {
    listener: tokio::net::TcpListener,
}

impl Server {
    pub async fn bind(config: ServerConfig) -> std::io::Result<Server> {
        Ok(Server {
            listener: tokio::net::TcpListener::bind(config.listen).await?,
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.listener
            .local_addr()
            .expect("a bound listener has an address")
    }

    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> std::io::Result<()> {
        let answer = async {
            loop {
                if let Ok((mut stream, _)) = self.listener.accept().await {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                        .await;
                }
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = answer => {}
        }
        Ok(())
    }
}
