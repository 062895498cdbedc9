//! `holdfast certificate`: a self-signed certificate and its key, for development.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};

use super::{Failure, args::CertificateArgs, told};

/// Clocks of other machines may be behind ours.
const BACKDATED: Duration = Duration::from_secs(3600);

pub(super) fn run(args: &CertificateArgs, out: &mut impl Write) -> Result<(), Failure> {
    if let Some(name) = args.name.iter().find(|name| name.trim().is_empty() || name.contains(' ')) {
        return Err(Failure::Usage(format!(
            "--name: {name:?} is no name, expected host names and IP addresses such as wcs.example"
        )));
    }
    let (certificate, key) = make(args)?;
    let directory = &args.directory;
    fs::create_dir_all(directory).map_err(|error| {
        Failure::Unwritable(format!("cannot make the directory {}: {error}", directory.display()))
    })?;
    let certificate_path = directory.join("cert.pem");
    let key_path = directory.join("key.pem");
    if !args.force {
        for path in [&certificate_path, &key_path] {
            if fs::symlink_metadata(path).is_ok() {
                return Err(exists(path));
            }
        }
    }
    write(&key_path, key.as_bytes(), 0o600, args.force)?;
    write(&certificate_path, certificate.as_bytes(), 0o644, args.force)?;
    told(writeln!(
        out,
        "wrote {cert} and {key} for {names}, valid for {days} days\n\n\
         holdfast run --listen wss://0.0.0.0:8443 --tls-cert {cert} --tls-key {key} --upstream URL\n\n\
         Browsers do not trust it: open https://HOST:8443/ once and accept it, or import it. It is \
         for development; use one of a real authority in production.",
        cert = certificate_path.display(),
        key = key_path.display(),
        names = args.name.join(", "),
        days = args.days,
    ));
    Ok(())
}

/// A certificate for the names, and its key, as PEM.
fn make(args: &CertificateArgs) -> Result<(String, String), Failure> {
    let names = || args.name.join(", ");
    let mut params = CertificateParams::new(args.name.clone()).map_err(|error| {
        Failure::Usage(format!("--name: {} cannot be put into a certificate: {error}", names()))
    })?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Holdfast development certificate");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 3600);
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + day * args.days).into();
    let internal = |error: rcgen::Error| {
        Failure::Internal(format!("cannot make a certificate for {}: {error}", names()))
    };
    let key = KeyPair::generate().map_err(internal)?;
    let certificate = params.self_signed(&key).map_err(internal)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Writes a file with these permissions from its first byte on: an old file is removed, not
/// written into, so that a key never takes over looser ones.
fn write(path: &Path, content: &[u8], mode: u32, replace: bool) -> Result<(), Failure> {
    if replace {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(path, &error)),
            _ => {}
        }
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists { exists(path) } else { unwritable(path, &error) }
        })?;
    file.write_all(content).map_err(|error| unwritable(path, &error))
}

fn exists(path: &Path) -> Failure {
    Failure::Unwritable(format!("{} exists; --force replaces it", path.display()))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::Unwritable(format!("cannot write {}: {error}", path.display()))
}
