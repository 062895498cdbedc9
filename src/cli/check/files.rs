//! Whether the files that a configuration names can be read by whoever will run the proxy, which is often another user
//! than the one who checks.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Last words of the settings that name a file to be read.
const FILES: [&str; 6] = ["ca", "cert", "certificate", "file", "key", "ocsp"];
/// Those of them that name files to be written.
const WRITTEN: [&str; 1] = ["log.file"];

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    id: u32,
    groups: Vec<u32>,
}

impl User {
    /// The one with this name, as `/etc/passwd` and `/etc/group` have it.
    pub(super) fn find(name: &str) -> Option<Self> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::parse(name, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn parse(name: &str, users: &str, groups: &str) -> Option<Self> {
        let of_user = |line: &&str| line.split(':').next() == Some(name);
        let mut parts = users.lines().find(of_user)?.split(':').skip(2);
        let (id, own) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let others = groups.lines().filter_map(|line| {
            let mut parts = line.split(':').skip(2);
            let (group, members) = (parts.next()?, parts.next()?);
            members.split(',').any(|member| member.trim() == name).then(|| group.parse().ok())?
        });
        Some(Self { name: name.to_owned(), id, groups: std::iter::once(own).chain(others).collect() })
    }

    /// Whether it has this right (4: read, 2: write, 1: search) by owner, group and mode.
    fn has(&self, right: u32, meta: &fs::Metadata) -> bool {
        let shift = if meta.uid() == self.id {
            6
        } else if self.groups.contains(&meta.gid()) {
            3
        } else {
            0
        };
        self.id == 0 || meta.mode() >> shift & right != 0
    }

    /// What keeps it from a file: the file itself, or a directory on the way there.
    fn barrier(&self, path: &Path) -> Option<PathBuf> {
        let path = fs::canonicalize(path).ok()?;
        let way =
            path.ancestors().skip(1).filter(|part| fs::metadata(part).is_ok_and(|meta| !self.has(1, &meta)));
        let last = way.last().map(Path::to_owned);
        let is_closed = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| !self.has(4, &meta));
        last.or_else(|| Some(path).filter(is_closed))
    }
}

/// The files that settings name, with the settings.
pub(super) fn named(config: &Value) -> Vec<(String, PathBuf)> {
    fn walk(key: &str, value: &Value, found: &mut Vec<(String, PathBuf)>) {
        match value {
            Value::Object(keys) => {
                for (name, inner) in keys {
                    let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                    walk(&key, inner, found);
                }
            }
            Value::Array(list) => list.iter().for_each(|inner| walk(key, inner, found)),
            Value::String(path) => {
                let last = key.rsplit(['.', '_']).next().unwrap_or_default();
                if FILES.contains(&last) && !WRITTEN.contains(&key) && !path.is_empty() {
                    found.push((key.to_owned(), path.into()));
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk("", config, &mut found);
    found
}

/// What keeps the user from one of these files, one sentence each. Those that are not there are told by whoever needs
/// them.
pub(super) fn closed_to(user: &User, files: &[(String, PathBuf)]) -> Vec<String> {
    let closed = files.iter().filter_map(|(key, path)| {
        let barrier = user.barrier(path)?;
        let (path, name) = (path.display(), &user.name);
        Some(format!(
            "{key}: the user {name} cannot read {path}: owner and mode of {} forbid it",
            barrier.display()
        ))
    });
    closed.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn users_and_their_groups_are_found() {
        let users = "root:x:0:0::/root:/bin/sh\nholdfast:x:998:997::/:/usr/sbin/nologin\n";
        let groups = "ssl-cert:x:105:postgres,holdfast\nadm:x:4:syslog\n";
        let user = User::parse("holdfast", users, groups).unwrap();
        assert_eq!((user.id, user.groups), (998, vec![997, 105]));
        assert_eq!(User::parse("nobody", users, groups), None);
    }

    #[test]
    fn files_of_settings_are_found_wherever_they_stand() {
        let config = json!({
            "listen": {"tls_cert": "a", "tls_key": null, "certificate": [{"cert": "b", "key": "c"}], "address": ["x"]},
            "admin": {"token_file": "d", "socket": "auto"}, "log": {"file": "written"}, "upstream": {"ca": ""},
        });
        let named = named(&config);
        let files: Vec<_> = named.iter().map(|(key, path)| (key.as_str(), path.to_str().unwrap())).collect();
        assert_eq!(
            files,
            [
                ("admin.token_file", "d"),
                ("listen.certificate.cert", "b"),
                ("listen.certificate.key", "c"),
                ("listen.tls_cert", "a")
            ]
        );
    }

    #[test]
    fn a_directory_on_the_way_is_a_barrier_too() {
        let root = fs::canonicalize(std::env::temp_dir()).unwrap();
        let directory = root.join(format!("holdfast-files-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("key.pem");
        fs::write(&file, "").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let owner = fs::metadata(&file).unwrap();
        let stranger = User { name: "x".to_owned(), id: owner.uid() + 1, groups: vec![owner.gid() + 1] };
        let fellow = User { groups: vec![owner.gid()], ..stranger.clone() };
        mode(&directory, 0o755);
        mode(&file, 0o640);
        assert_eq!(stranger.barrier(&file), Some(file.clone()));
        assert_eq!(fellow.barrier(&file), None);
        mode(&file, 0o644);
        assert_eq!(stranger.barrier(&file), None);
        mode(&directory, 0o700);
        assert_eq!(fellow.barrier(&file), Some(directory.clone()));
        let told = closed_to(&stranger, &[("listen.tls_key".to_owned(), file)]);
        assert!(
            told.first().is_some_and(|text| text.starts_with("listen.tls_key: the user x cannot read")),
            "{told:?}"
        );
        fs::remove_dir_all(&directory).unwrap();
    }
}
