//! Ports on loopback addresses, chosen so that two sandboxes that start at the same time do not
//! choose the same one.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use super::Error;

/// PostgreSQL's usual port.
pub const POSTGRES: u16 = 5432;

/// A port that this sandbox holds, even while nothing listens on it.
#[derive(Debug)]
pub struct Port {
    pub address: SocketAddrV4,
    /// A locked file that reserves the port among this user's sandboxes; `None` if no such file can
    /// be kept.
    _claim: Option<File>,
}

impl Port {
    /// Takes this port of 127.0.0.1, or fails with an error that names the `option` that asked for
    /// it.
    pub fn exactly(port: u16, option: &'static str) -> Result<Self, Error> {
        claim(local(port)).ok_or(Error::PortInUse { port, option })
    }

    /// Takes the first of the `preferred` addresses that is free, or else any free port of
    /// 127.0.0.1.
    pub fn any(preferred: impl IntoIterator<Item = SocketAddrV4>) -> Result<Self, Error> {
        if let Some(port) = preferred.into_iter().find_map(claim) {
            return Ok(port);
        }
        let address = local(0);
        loop {
            let free = TcpListener::bind(address).and_then(|listener| listener.local_addr());
            let free = free.map_err(|source| Error::NoPort {
                address: address.into(),
                source,
            })?;
            if let Some(port) = claim(local(free.port())) {
                return Ok(port);
            }
        }
    }

    pub fn number(&self) -> u16 {
        self.address.port()
    }
}

/// Returns the address of a port of 127.0.0.1.
pub fn local(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

/// Returns PostgreSQL's usual port on the loopback addresses after the first one, which Linux has
/// without configuration.
pub fn postgres_addresses() -> impl Iterator<Item = SocketAddrV4> {
    (2..=254).map(|last| SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), POSTGRES))
}

/// Takes an address if nothing listens on it and no other sandbox holds it.
fn claim(address: SocketAddrV4) -> Option<Port> {
    let dir = std::env::temp_dir().join(format!("icebox-ports-{}", nix::unistd::geteuid()));
    let name = match *address.ip() {
        Ipv4Addr::LOCALHOST => address.port().to_string(),
        ip => format!("{ip}-{}", address.port()),
    };
    let file = std::fs::create_dir_all(&dir)
        .and_then(|()| {
            File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join(name))
        })
        .ok();
    if let Some(file) = &file
        && file.try_lock().is_err()
    {
        return None;
    }
    TcpListener::bind(address).ok()?;
    Some(Port {
        address,
        _claim: file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_once() {
        let first = Port::any([]).unwrap();
        assert!(matches!(
            Port::exactly(first.number(), "--pg-port"),
            Err(Error::PortInUse { .. })
        ));
        assert_ne!(Port::any([first.address]).unwrap().address, first.address);
        let number = first.number();
        drop(first);
        assert_eq!(Port::exactly(number, "--pg-port").unwrap().number(), number);
    }

    #[test]
    fn a_port_that_something_listens_on_is_not_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = listener.local_addr().unwrap().port();
        assert!(Port::exactly(number, "--s3-port").is_err());
    }
}
