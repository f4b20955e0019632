//! The addresses and ports at which a sandbox listens.

use std::time::Duration;

use icebox_sandbox::SandboxInfo;

/// Returns whether connections are accepted at this address and port.
pub fn answers(ip: [u8; 4], port: u16) -> bool {
    let address = std::net::SocketAddr::from((ip, port));
    std::net::TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()
}

/// Checks that a sandbox listens for other machines only if `--listen` says so. `icebox` runs the
/// command with its arguments.
pub fn assert_listens_only_where_asked(
    engine: &str,
    icebox: impl Fn(&[&str]) -> String,
    info: impl Fn() -> SandboxInfo,
) {
    // Loopback addresses of the host stand for its addresses in a network.
    let (own, public, other) = ([127, 0, 0, 1], [127, 0, 3, 1], [127, 0, 3, 2]);
    let port = free_port();
    let up = ["up", "--engine", engine, "--pg-port", &port];
    let output = icebox(&[&up[..], &["--listen", "127.0.3.1"]].concat());
    assert!(
        output.contains("WARNING: other machines can connect at 127.0.3.1"),
        "{output}"
    );
    let info = info();
    let ports = [
        info.postgres.port,
        info.s3_port(),
        info.snowflake.as_ref().unwrap().address.port(),
    ];
    for port in ports {
        assert!(answers(own, port) && answers(public, port), "{port}");
        assert!(!answers(other, port), "{port}");
    }
    icebox(&["down"]);
    // `--listen` applies to one start only.
    let output = icebox(&up);
    assert!(!output.contains("WARNING: other machines"), "{output}");
    for port in ports {
        assert!(answers(own, port) && !answers(public, port), "{port}");
    }
    icebox(&["down"]);
    icebox(&[&up[..], &["--listen", "0.0.0.0"]].concat());
    for port in ports {
        assert!(answers(public, port) && answers(other, port), "{port}");
    }
}

/// Returns a free port of 127.0.0.1. It is not PostgreSQL's default port, which another test's
/// sandbox may take while this one is down.
pub fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}
