//! Debian's nginx, in a directory of its own. No part of it needs to be root.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
};

/// A process of it that ends with the test.
pub struct Nginx {
    child: Child,
    /// With its configuration and what it writes.
    pub directory: PathBuf,
}

impl Nginx {
    /// The directory of one that listens here; what its sections name can be put there before it starts.
    pub fn directory(name: &str, front: SocketAddr) -> PathBuf {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", front.port()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// With these sections; it tells of what is at least this bad.
    pub fn start(directory: PathBuf, level: &str, sections: &str) -> Self {
        let dir = directory.display();
        let config = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log {level};
             {sections}
             events {{ worker_connections 1000; }}"
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, config).unwrap();
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("nginx is missing; `scripts/install test` installs it");
        let mut command = Command::new(program);
        command.arg("-p").arg(&directory).arg("-e").arg(directory.join("error.log"));
        Self { child: command.arg("-c").arg(file).spawn().unwrap(), directory }
    }

    /// Whether it listens there. It must not have ended.
    pub fn listens(&mut self, front: SocketAddr) -> bool {
        assert_eq!(self.child.try_wait().unwrap(), None, "nginx ended: {}", self.errors());
        TcpStream::connect(front).is_ok()
    }

    pub fn errors(&self) -> String {
        fs::read_to_string(self.directory.join("error.log")).unwrap_or_default()
    }
}

/// What a section `http` has to say so that nothing is written elsewhere.
pub fn temporary(directory: &Path) -> String {
    let dir = directory.display();
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("{of}_temp_path {dir}/{of};"))
        .concat()
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
