//! How much memory there is for this process, and how much it takes, as Linux tells it. Elsewhere
//! nothing is known, and what callers count themselves has to do.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// What the process may take: the memory of the machine, or the limit of a control group it is in
/// (version 1 or 2), whichever is lower.
#[must_use]
pub fn limit_bytes() -> Option<u64> {
    limit_under(Path::new("/"))
}

/// What the process takes of it now (its resident set), kernel buffers of sockets not included.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

fn limit_under(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| group_limit(root, line));
    limits.chain(machine_bytes(root)).min()
}

fn machine_bytes(root: &Path) -> Option<u64> {
    let info = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The lowest limit of a control group and those around it. A line is `ID:CONTROLLERS:PATH`; for
/// version 2 it is `0::PATH`.
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let mounts: &[&str] = if id == "0" && controllers.is_empty() {
        &["sys/fs/cgroup", "sys/fs/cgroup/unified"]
    } else if controllers.split(',').any(|one| one == "memory") {
        &["sys/fs/cgroup/memory"]
    } else {
        return None;
    };
    mounts.iter().filter_map(|mount| lowest_limit(&root.join(mount), Path::new(path))).min()
}

/// A container sees its own group at the root of the mount, whatever its path is outside: where the
/// path does not exist, its end is looked for nearer to the root.
fn lowest_limit(mount: &Path, path: &Path) -> Option<u64> {
    let named = path.components().filter(|part| matches!(part, Component::Normal(_)));
    let inside: PathBuf = named.collect();
    let groups = inside.ancestors().map(|group| mount.join(group));
    groups.filter_map(|group| read_limit(&group)).min()
}

fn read_limit(group: &Path) -> Option<u64> {
    let files = ["memory.max", "memory.high", "memory.limit_in_bytes"];
    let read = |file| fs::read_to_string(group.join(file)).ok()?.trim().parse().ok();
    files.into_iter().filter_map(read).min()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    /// Files of a machine with 1,000 KiB.
    fn machine(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("holdfast-memory-{}-{name}", std::process::id()));
        for (path, text) in [("proc/meminfo", "MemTotal:    1000 kB\nMemFree: 1 kB\n")].iter().chain(files) {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn limit(name: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = machine(name, files);
        let limit = limit_under(&root);
        fs::remove_dir_all(root).unwrap();
        limit
    }

    #[test]
    fn without_a_group_it_is_the_machine() {
        assert_eq!(limit("none", &[]), Some(1_024_000));
        let unlimited = [("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")];
        assert_eq!(limit("unlimited", &unlimited), Some(1_024_000));
    }

    #[test]
    fn a_group_of_version_2_and_those_around_it_limit() {
        let own = [("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/b/memory.max", "4096\n")];
        assert_eq!(limit("own", &own), Some(4096));
        let around = [
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "8192\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ];
        assert_eq!(limit("around", &around), Some(8192));
        let container = [("proc/self/cgroup", "0::/../docker/x\n"), ("sys/fs/cgroup/memory.max", "2048\n")];
        assert_eq!(limit("container", &container), Some(2048));
    }

    #[test]
    fn a_group_of_version_1_limits() {
        let files = [
            ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/x\n0::/\n"),
            ("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "16384\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(limit("version-1", &files), Some(16_384));
    }

    #[test]
    fn this_process_takes_memory_and_there_is_more() {
        let (resident, limit) = (resident_bytes().unwrap(), limit_bytes().unwrap());
        assert!(resident > 1024 * 1024 && resident < limit, "{resident} of {limit}");
    }
}
