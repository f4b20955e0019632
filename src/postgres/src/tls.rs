//! The server's self-signed certificate.

use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Error;

/// The files of a certificate for `localhost`, `127.0.0.1`, `::1` and the server's own address, and
/// of its private key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, as PEM. Clients that verify the server trust this file.
    pub certificate: PathBuf,
    /// The private key, as PEM with mode 0600.
    pub key: PathBuf,
}

impl Certificate {
    /// Returns the certificate for `address` in `dir`, and creates it on first use. It is kept over
    /// restarts, so clients can store it.
    pub fn ensure(dir: &Path, address: Ipv4Addr) -> Result<Self, Error> {
        let mut names = ["localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .to_vec();
        let mut dir = dir.to_path_buf();
        if address != Ipv4Addr::LOCALHOST {
            names.push(address.to_string());
            dir.push(address.to_string());
        }
        let files = Self {
            certificate: dir.join("server.crt"),
            key: dir.join("server.key"),
        };
        if files.certificate.exists() && files.key.exists() {
            return Ok(files);
        }
        std::fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
        let mut params = rcgen::CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "icebox PostgreSQL");
        let key = rcgen::KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        write(&files.key, &key.serialize_pem(), 0o600)?;
        write(&files.certificate, &certificate.pem(), 0o644)?;
        Ok(files)
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    use std::io::Write;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::file("write", path))
}
