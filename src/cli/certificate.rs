//! `holdfast certificate`: a certificate and its key, self-signed or by an authority of one's own, for servers and
//! clients.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use openssl::{nid::Nid, x509::X509};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData,
};

use super::{Failure, args::CertificateArgs, told};

/// Clocks of other machines may be behind ours.
const BACKDATED: Duration = Duration::from_secs(3600);
/// What an authority of one's own is valid for.
const AUTHORITY_DAYS: u32 = 3650;

pub(super) fn run(args: &CertificateArgs, out: &mut impl Write) -> Result<(), Failure> {
    let names = args.client.iter().chain(args.name.iter().filter(|_| args.client.is_none()));
    if let Some(name) = names.clone().find(|name| name.trim().is_empty() || name.contains(' ')) {
        let flag = if args.client.is_some() { "--client" } else { "--name" };
        return Err(Failure::Usage(format!(
            "{flag}: {name:?} is no name, expected host names and IP addresses such as wcs.example"
        )));
    }
    let params = parameters(args)?;
    let directory = &args.directory;
    fs::create_dir_all(directory).map_err(|error| {
        Failure::Unwritable(format!("cannot make the directory {}: {error}", directory.display()))
    })?;
    let stem = if args.client.is_some() { ["client.pem", "client-key.pem"] } else { ["cert.pem", "key.pem"] };
    let [certificate_path, key_path] = stem.map(|name| directory.join(name));
    if !args.force {
        for path in [&certificate_path, &key_path] {
            if fs::symlink_metadata(path).is_ok() {
                return Err(exists(path));
            }
        }
    }
    let authority = (args.local_ca || args.client.is_some()).then(|| Authority::of(directory)).transpose()?;
    let key = KeyPair::generate().map_err(internal)?;
    let certificate = match &authority {
        Some(authority) => params.signed_by(&key, &authority.issuer),
        None => params.self_signed(&key),
    };
    let certificate = certificate.map_err(internal)?.pem();
    write(&key_path, key.serialize_pem().as_bytes(), 0o600, args.force)?;
    write(&certificate_path, certificate.as_bytes(), 0o644, args.force)?;
    let names: Vec<_> = names.map(String::as_str).collect();
    told(writeln!(
        out,
        "wrote {} and {} for {}, valid for {} days\n\n{}",
        certificate_path.display(),
        key_path.display(),
        names.join(", "),
        args.days,
        next(args, authority.as_ref(), &certificate_path, &key_path),
    ));
    Ok(())
}

/// What to do with what was made.
fn next(args: &CertificateArgs, authority: Option<&Authority>, certificate: &Path, key: &Path) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    let ca = authority.map(|authority| authority.file.display());
    match ca {
        Some(ca) if args.client.is_some() => format!(
            "listen.client_auth = \"required\"\nlisten.client_ca = \"{ca}\"\n\n\
             A browser takes both as one file: openssl pkcs12 -export -in {certificate} -inkey {key} -out client.p12"
        ),
        Some(ca) => format!(
            "holdfast run --listen wss://0.0.0.0:8443 --tls-cert {certificate} --tls-key {key} --upstream URL\n\n\
             Whoever is to trust it imports {ca}: browsers among their authorities, Debian as \
             /usr/local/share/ca-certificates/NAME.crt (then update-ca-certificates). Keep ca-key.pem to yourself."
        ),
        None => format!(
            "holdfast run --listen wss://0.0.0.0:8443 --tls-cert {certificate} --tls-key {key} --upstream URL\n\n\
             Browsers do not trust it: open https://HOST:8443/ once and accept it, or import it. It is \
             for development; use one of a real authority in production."
        ),
    }
}

fn internal(error: rcgen::Error) -> Failure {
    Failure::Internal(format!("cannot make a certificate: {error}"))
}

/// What is to be certified: names of a server, or a client.
fn parameters(args: &CertificateArgs) -> Result<CertificateParams, Failure> {
    let names = if args.client.is_some() { Vec::new() } else { args.name.clone() };
    let mut params = CertificateParams::new(names).map_err(|error| {
        Failure::Usage(format!("--name: {} cannot be put into a certificate: {error}", args.name.join(", ")))
    })?;
    let common = args.client.as_deref().unwrap_or("Holdfast development certificate");
    params.distinguished_name = named(common);
    params.extended_key_usages = vec![match args.client {
        Some(_) => ExtendedKeyUsagePurpose::ClientAuth,
        None => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    params.use_authority_key_identifier_extension = args.local_ca || args.client.is_some();
    valid_for(&mut params, args.days);
    Ok(params)
}

fn named(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn valid_for(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + Duration::from_secs(24 * 3600) * days).into();
}

/// An authority of one's own.
struct Authority {
    file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The one in this directory, which is made if there is none.
    fn of(directory: &Path) -> Result<Self, Failure> {
        let [file, key_file] = ["ca.pem", "ca-key.pem"].map(|name| directory.join(name));
        let (key, common) = if fs::symlink_metadata(&file).is_ok() || fs::symlink_metadata(&key_file).is_ok()
        {
            Self::read(&file, &key_file)?
        } else {
            let key = KeyPair::generate().map_err(internal)?;
            let common = format!("Holdfast local CA {:08x}", rand::random::<u32>());
            let certificate = authority(&common)?.self_signed(&key).map_err(internal)?;
            write(&key_file, key.serialize_pem().as_bytes(), 0o600, false)?;
            write(&file, certificate.pem().as_bytes(), 0o644, false)?;
            (key, common)
        };
        Ok(Self { file, issuer: Issuer::new(authority(&common)?, key) })
    }

    /// Its key and the name it signs by.
    fn read(file: &Path, key_file: &Path) -> Result<(KeyPair, String), Failure> {
        let text = |path: &Path| {
            fs::read_to_string(path)
                .map_err(|error| Failure::Unreadable(format!("cannot read {}: {error}", path.display())))
        };
        let key = KeyPair::from_pem(&text(key_file)?)
            .map_err(|error| Failure::Usage(format!("{}: {error}", key_file.display())))?;
        let certificate = X509::from_pem(text(file)?.as_bytes()).ok();
        let is_its_key = |certificate: &X509| {
            let public = certificate.public_key().and_then(|key| key.public_key_to_der());
            public.is_ok_and(|public| public == key.subject_public_key_info())
        };
        let common = certificate.filter(is_its_key).and_then(|certificate| common_name(&certificate));
        let common = common.ok_or_else(|| {
            Failure::Usage(format!(
                "{} and {} are no authority that `holdfast certificate --local-ca` made: take another --directory",
                file.display(),
                key_file.display()
            ))
        })?;
        Ok((key, common))
    }
}

/// The name of an authority that we made: it has no other.
fn common_name(certificate: &X509) -> Option<String> {
    let mut entries = certificate.subject_name().entries();
    let only = entries.next().filter(|entry| entry.object().nid() == Nid::COMMONNAME)?;
    let name = String::from(&*only.data().to_string().ok()?);
    entries.next().is_none().then_some(name)
}

fn authority(common: &str) -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::new(Vec::new()).map_err(internal)?;
    params.distinguished_name = named(common);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, AUTHORITY_DAYS);
    Ok(params)
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
