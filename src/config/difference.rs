//! What one configuration says other than another, and what of it takes a restart. Plain comparison; what follows
//! from it is done elsewhere.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{AdminSettings, Config, LimitSettings, LogSettings, SessionBounds};

/// The settings in which two configurations differ, by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Those that can be put in force in a process that runs.
    pub live: Vec<String>,
    /// Those that take a restart.
    pub kept: Vec<String>,
}

impl Config {
    /// This configuration as far as it can be put in force where the other one is; what takes a restart is as it
    /// is there.
    #[must_use]
    pub fn where_this_runs(&self, running: &Self) -> Self {
        let mut config = self.clone();
        config.media = running.media.clone();
        config.log = LogSettings {
            level: self.log.level,
            anonymise_addresses: self.log.anonymise_addresses,
            ..running.log.clone()
        };
        config.access = running.access.clone();
        config.net.listen.reuse_port = running.net.listen.reuse_port;
        config.admin = AdminSettings {
            token_file: self.admin.token_file.clone(),
            required: self.admin.required,
            hosts: self.admin.hosts.clone(),
            ..running.admin.clone()
        };
        let limits = &running.net.limits;
        config.net.limits = LimitSettings {
            memory_bytes_max: limits.memory_bytes_max,
            memory_short_percent: limits.memory_short_percent,
            memory_full_percent: limits.memory_full_percent,
            kept_memory_percent_max: limits.kept_memory_percent_max,
            ..self.net.limits.clone()
        };
        config.session.bounds = SessionBounds {
            id_bytes_max: running.session.bounds.id_bytes_max,
            ..self.session.bounds.clone()
        };
        config
    }

    /// In what a new configuration differs from this one, which runs.
    #[must_use]
    pub fn difference(&self, new: &Self) -> Difference {
        let (running, wanted) = (self.to_json(), new.to_json());
        let possible = new.where_this_runs(self).to_json();
        Difference { live: keys(&running, &possible), kept: keys(&possible, &wanted) }
    }
}

/// The keys that differ, as they are called in messages: `section.key`, and of tables by name `section.NAME.key`.
fn keys(one: &Value, other: &Value) -> Vec<String> {
    let mut found = BTreeSet::new();
    collect(one, other, String::new(), &mut found);
    found.into_iter().collect()
}

fn collect(one: &Value, other: &Value, key: String, found: &mut BTreeSet<String>) {
    if one == other {
        return;
    }
    let (Value::Object(one), Value::Object(other)) = (one, other) else {
        found.insert(key);
        return;
    };
    for name in one.keys().chain(other.keys()) {
        let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        let of = |table: &serde_json::Map<String, Value>| table.get(name).cloned().unwrap_or(Value::Null);
        collect(&of(one), &of(other), inner, found);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Overrides;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("c.toml"), &Overrides::default()).unwrap()
    }

    const BASE: &str = "upstream.url = [\"a=ws://a:1\"]\n";

    #[test]
    fn each_change_is_named_and_what_takes_a_restart_is_kept() {
        let running = config(BASE);
        let new = config(
            "upstream.url = [\"a=ws://a:1\", \"b=ws://b:1\"]\nmedia.workers = 7\nlog.level = \"debug\"\n\
             log.format = \"json\"\nlimits.sessions_max = 9\nlimits.memory_full_percent = 96\n\
             app.x.restore_mode = \"notify\"\nadmin.hosts = [\"h\"]\nadmin.listen = \"off\"\n",
        );
        let difference = running.difference(&new);
        let live = ["admin.hosts", "app.x", "limits.sessions_max", "log.level", "upstream.url"];
        assert_eq!(difference.live, live);
        let kept = ["admin.listen", "limits.memory_full_percent", "log.format", "media.workers"];
        assert_eq!(difference.kept, kept);
        let runs = new.where_this_runs(&running);
        assert_eq!(runs.difference(&new), Difference { live: vec![], kept: difference.kept });
    }

    /// Lines of a configuration, each of which may stand in it or not.
    const LINES: [&str; 14] = [
        "listen.address = [\"127.0.0.1:1\", \"127.0.0.1:2\"]",
        "listen.allow = [\"10.0.0.0/8\"]",
        "listen.handshake_timeout_ms = 700",
        "upstream.policy = \"first\"",
        "limits.sessions_max = 10",
        "limits.message_bytes_max = 70000",
        "limits.memory_bytes_max = 99999999",
        "restore.mode = \"notify\"",
        "session.id_bytes_max = 100",
        "media.mode = \"direct\"",
        "log.level = \"warn\"",
        "log.flush_ms_max = 3",
        "health.live_path = \"/l\"",
        "pool.x.node = [{ url = \"ws://x:1\" }]",
    ];

    proptest! {
        #[test]
        fn what_is_put_in_force_leaves_nothing_but_what_takes_a_restart(one in 0_u32..1 << 14, other in 0_u32..1 << 14) {
            let config = |bits: u32| {
                let lines = LINES.iter().enumerate().filter(|(nth, _)| bits >> nth & 1 == 1);
                config(&(BASE.to_owned() + &lines.map(|(_, line)| format!("{line}\n")).collect::<String>()))
            };
            let (running, new) = (config(one), config(other));
            let difference = running.difference(&new);
            let runs = new.where_this_runs(&running);
            prop_assert_eq!(&running.difference(&running), &Difference::default());
            prop_assert_eq!(running == runs, difference.live.is_empty());
            prop_assert_eq!(runs == new, difference.kept.is_empty());
            prop_assert_eq!(runs.difference(&new), Difference { live: vec![], kept: difference.kept });
            // And back again.
            prop_assert_eq!(running.where_this_runs(&runs), running);
        }
    }
}
