//! Ports on 127.0.0.1, chosen so that two sandboxes that start at the same time do not choose the same one.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::Error;

/// A port that this sandbox uses, also while nothing listens on it.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    /// Tells other sandboxes of this user; `None` where no such file can be kept.
    _claim: Option<File>,
}

impl Port {
    /// Takes the port that was asked for, or fails naming the `option` that asked.
    pub fn exactly(number: u16, option: &'static str) -> Result<Port, Error> {
        claim(number).ok_or(Error::PortInUse {
            port: number,
            option,
        })
    }

    /// Takes the first of `preferred` that is free, else any free port.
    pub fn any(preferred: &[u16]) -> Result<Port, Error> {
        if let Some(port) = preferred.iter().find_map(|&number| claim(number)) {
            return Ok(port);
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        loop {
            let free = TcpListener::bind(address).and_then(|listener| listener.local_addr());
            let number = free
                .map_err(|source| Error::NoPort { address, source })?
                .port();
            if let Some(port) = claim(number) {
                return Ok(port);
            }
        }
    }
}

/// Takes `number` if nobody listens on it and no other sandbox has it.
fn claim(number: u16) -> Option<Port> {
    let dir = std::env::temp_dir().join(format!("icebox-ports-{}", nix::unistd::geteuid()));
    let file = std::fs::create_dir_all(&dir)
        .and_then(|()| {
            File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join(number.to_string()))
        })
        .ok();
    if let Some(file) = &file
        && file.try_lock().is_err()
    {
        return None;
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
    Some(Port {
        number,
        _claim: file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_once() {
        let first = Port::any(&[]).unwrap();
        assert!(matches!(
            Port::exactly(first.number, "--pg-port"),
            Err(Error::PortInUse { .. })
        ));
        assert_ne!(Port::any(&[first.number]).unwrap().number, first.number);
        let number = first.number;
        drop(first);
        assert_eq!(Port::exactly(number, "--pg-port").unwrap().number, number);
    }

    #[test]
    fn a_port_that_something_listens_on_is_not_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = listener.local_addr().unwrap().port();
        assert!(Port::exactly(number, "--s3-port").is_err());
    }
}
