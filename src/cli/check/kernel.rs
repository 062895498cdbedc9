//! What the kernel and the service manager allow, next to what the configuration asks for, with what to set.
//! Changes nothing.

use std::{fs, path::Path};

use rustix::process::{Resource, getrlimit};

use crate::{
    config::{Config, MediaMode},
    memory,
    net::{BACKLOG, sessions_that_fit},
};

/// Sessions that a proxy of some size should have room for.
const SESSIONS_EXPECTED: usize = 10_000;
/// Descriptors that are enough for them, and what `LimitNOFILE=` is set to where they are not.
const FILES_WANTED: u64 = 1_048_576;

/// One limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) text: String,
    /// What to set where it is low.
    pub(super) set: Option<String>,
}

impl Limit {
    fn fine(text: String) -> Self {
        Self { text, set: None }
    }
}

/// What the system says of itself. None where it does not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kernel {
    rmem_max: Option<u64>,
    wmem_max: Option<u64>,
    somaxconn: Option<u64>,
    /// First and last port for connections that go out.
    ports: Option<(u16, u16)>,
    /// Descriptors: what the process begins with, and what it may raise that to.
    files_soft: Option<u64>,
    files_hard: Option<u64>,
    memory: Option<u64>,
}

impl Kernel {
    /// As it is now; before the process raises its own limits.
    pub(super) fn of_this_machine() -> Self {
        let files = getrlimit(Resource::Nofile);
        let memory = memory::limit_bytes();
        Self {
            files_soft: files.current,
            files_hard: files.maximum,
            memory,
            ..Self::under(Path::new("/proc/sys"))
        }
    }

    fn under(root: &Path) -> Self {
        let read = |name: &str| fs::read_to_string(root.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse().ok();
        let ports = read("net/ipv4/ip_local_port_range").and_then(|text| {
            let mut words = text.split_ascii_whitespace().map(str::parse);
            Some((words.next()?.ok()?, words.next()?.ok()?))
        });
        Self {
            rmem_max: number("net/core/rmem_max"),
            wmem_max: number("net/core/wmem_max"),
            somaxconn: number("net/core/somaxconn"),
            ports,
            ..Self::default()
        }
    }

    /// Each limit that is known, next to what is wanted of it.
    pub(super) fn limits(&self, config: &Config) -> Vec<Limit> {
        let wanted = config.media.socket_buffer_bytes as u64;
        let is_anchored = config.media.mode == MediaMode::Anchor;
        let buffer = |name: &str, value: Option<u64>| {
            let value = value.filter(|_| is_anchored)?;
            let what = format!("net.core.{name} is {value}");
            Some(if value >= wanted {
                Limit::fine(what)
            } else {
                Limit {
                    text: format!(
                        "{what}, less than media.socket_buffer_bytes, which is {wanted}: media is lost in bursts"
                    ),
                    set: Some(format!("sysctl -w net.core.{name}={wanted}")),
                }
            })
        };
        let found = [
            buffer("rmem_max", self.rmem_max),
            buffer("wmem_max", self.wmem_max),
            self.backlog(),
            self.files(),
            self.outgoing(config),
            self.memory(config),
        ];
        found.into_iter().flatten().collect()
    }

    fn backlog(&self) -> Option<Limit> {
        let value = self.somaxconn?;
        let what = format!("net.core.somaxconn is {value}");
        let wanted = u64::from(BACKLOG);
        Some(if value >= wanted {
            Limit::fine(what)
        } else {
            Limit {
                text: format!(
                    "{what}: so many clients that come at once wait to be accepted, where {wanted} could"
                ),
                set: Some(format!("sysctl -w net.core.somaxconn={wanted}")),
            }
        })
    }

    fn files(&self) -> Option<Limit> {
        let hard = self.files_hard.unwrap_or(FILES_WANTED);
        let soft = self.files_soft.unwrap_or(hard);
        let what = format!("open files: {soft}, which the proxy raises to {hard}");
        let is_low = hard < (SESSIONS_EXPECTED * 3) as u64;
        Some(Limit {
            text: if is_low { format!("{what}: enough for few sessions") } else { what },
            set: is_low.then(|| {
                format!("LimitNOFILE={FILES_WANTED} in the unit, or ulimit -Hn {FILES_WANTED} in the shell")
            }),
        })
    }

    /// Each session takes a port of this machine for its connection to a node.
    fn outgoing(&self, config: &Config) -> Option<Limit> {
        let (first, last) = self.ports?;
        let ports = usize::from(last.saturating_sub(first)) + 1;
        let nodes = config.net.nodes().len();
        let room = ports.saturating_mul(nodes.max(1));
        let wanted = config
            .net
            .limits
            .sessions_max
            .unwrap_or_else(|| sessions_that_fit(config).min(SESSIONS_EXPECTED));
        let what =
            format!("net.ipv4.ip_local_port_range is {first} {last}: {ports} sessions per address of a node");
        Some(if room >= wanted {
            Limit::fine(what)
        } else {
            Limit {
                text: format!("{what}, {room} in all, less than the {wanted} that may come"),
                set: Some("sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"".to_owned()),
            }
        })
    }

    fn memory(&self, config: &Config) -> Option<Limit> {
        const MIB: u64 = 1_048_576;
        let there = self.memory?;
        let what = format!("memory: {} MiB for this process (machine or control group)", there / MIB);
        Some(match config.net.limits.memory_bytes_max {
            Some(asked) if asked > there => Limit {
                text: format!("{what}, less than limits.memory_bytes_max, which is {} MiB", asked / MIB),
                set: Some(format!("limits.memory_bytes_max = {}", there / 4 * 3)),
            },
            _ => Limit::fine(what),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    fn config(text: &str) -> Config {
        let text = format!("[upstream]\nurl = [\"ws://a:1\", \"ws://b:1\"]\n{text}");
        Config::parse(&text, Path::new("x.toml"), &Overrides::default()).unwrap()
    }

    const GOOD: Kernel = Kernel {
        rmem_max: Some(8_388_608),
        wmem_max: Some(8_388_608),
        somaxconn: Some(4_096),
        ports: Some((32_768, 60_999)),
        files_soft: Some(1_024),
        files_hard: Some(524_288),
        memory: Some(1 << 30),
    };

    /// What is to be set.
    fn sets(kernel: Kernel, config: &Config) -> Vec<String> {
        kernel.limits(config).into_iter().filter_map(|limit| limit.set).collect()
    }

    #[test]
    fn what_is_enough_is_told_and_nothing_is_to_be_set() {
        let config = config("[limits]\nsessions_max = 56464\nmemory_bytes_max = 1073741824\n");
        assert_eq!(GOOD.limits(&config).len(), 6);
        assert_eq!(sets(GOOD, &config), [""; 0]);
    }

    #[test]
    fn each_low_limit_has_its_line() {
        let config = config("[limits]\nsessions_max = 56465\nmemory_bytes_max = 1073741825\n");
        let low = Kernel {
            rmem_max: Some(212_992),
            wmem_max: Some(212_992),
            somaxconn: Some(128),
            files_hard: Some(4_096),
            ..GOOD
        };
        assert_eq!(
            sets(low, &config),
            [
                "sysctl -w net.core.rmem_max=8388608",
                "sysctl -w net.core.wmem_max=8388608",
                "sysctl -w net.core.somaxconn=4096",
                "LimitNOFILE=1048576 in the unit, or ulimit -Hn 1048576 in the shell",
                "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"",
                "limits.memory_bytes_max = 805306368",
            ]
        );
    }

    #[test]
    fn without_anchored_media_its_buffers_are_nothing() {
        let low = Kernel { rmem_max: Some(1), wmem_max: Some(1), ..GOOD };
        assert_eq!(sets(low, &config("[media]\nmode = \"direct\"\n")), [""; 0]);
    }

    #[test]
    fn it_is_read_as_linux_writes_it() {
        let root = std::env::temp_dir().join(format!("holdfast-kernel-{}", std::process::id()));
        for (name, text) in [
            ("net/core/rmem_max", "212992\n"),
            ("net/core/somaxconn", "4096\n"),
            ("net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ] {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
        }
        let kernel = Kernel::under(&root);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!((kernel.rmem_max, kernel.wmem_max, kernel.somaxconn), (Some(212_992), None, Some(4_096)));
        assert_eq!(kernel.ports, Some((32_768, 60_999)));
    }
}
