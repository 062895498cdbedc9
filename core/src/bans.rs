//! Shows that each entry of `clippy.toml` bites: `expect` is a warning, and so an error of the checks,
//! where nothing is banned any more. Never called.
#![allow(dead_code)]

macro_rules! banned_methods {
    ($($name:ident: $path:expr;)*) => {$(
        #[expect(clippy::disallowed_methods)]
        fn $name() {
            let _ = $path;
        }
    )*};
}

macro_rules! banned_types {
    ($($name:ident: $path:ty;)*) => {$(
        #[expect(clippy::disallowed_types)]
        type $name = $path;
    )*};
}

banned_methods! {
    thread_spawn: std::thread::spawn::<fn(), ()>;
    thread_scope: std::thread::scope::<fn(&std::thread::Scope<'_, '_>), ()>;
    thread_sleep: std::thread::sleep;
    thread_yield_now: std::thread::yield_now;
    thread_park: std::thread::park;
    thread_current: std::thread::current;
    thread_available_parallelism: std::thread::available_parallelism;
    env_var: std::env::var::<&str>;
    env_var_os: std::env::var_os::<&str>;
    env_vars: std::env::vars;
    env_args: std::env::args;
    env_current_dir: std::env::current_dir;
    env_temp_dir: std::env::temp_dir;
    fs_read: std::fs::read::<&str>;
    fs_read_to_string: std::fs::read_to_string::<&str>;
    fs_read_dir: std::fs::read_dir::<&str>;
    fs_write: std::fs::write::<&str, &str>;
    fs_metadata: std::fs::metadata::<&str>;
    fs_rename: std::fs::rename::<&str, &str>;
    fs_copy: std::fs::copy::<&str, &str>;
    fs_remove_file: std::fs::remove_file::<&str>;
    fs_create_dir_all: std::fs::create_dir_all::<&str>;
    process_exit: std::process::exit;
    process_abort: std::process::abort;
    process_id: std::process::id;
    io_stdin: std::io::stdin;
    io_stdout: std::io::stdout;
    io_stderr: std::io::stderr;
}

banned_types! {
    TimeInstant: std::time::Instant;
    TimeSystemTime: std::time::SystemTime;
    NetTcpStream: std::net::TcpStream;
    NetTcpListener: std::net::TcpListener;
    NetUdpSocket: std::net::UdpSocket;
    OsUnixNetUnixStream: std::os::unix::net::UnixStream;
    OsUnixNetUnixListener: std::os::unix::net::UnixListener;
    OsUnixNetUnixDatagram: std::os::unix::net::UnixDatagram;
    FsFile: std::fs::File;
    FsOpenOptions: std::fs::OpenOptions;
    ProcessCommand: std::process::Command;
    ThreadBuilder: std::thread::Builder;
    CollectionsHashMapRandomState: std::collections::hash_map::RandomState;
    CollectionsHashMap: std::collections::HashMap<u8, u8>;
    CollectionsHashSet: std::collections::HashSet<u8>;
    SyncMutex: std::sync::Mutex<u8>;
    SyncRwLock: std::sync::RwLock<u8>;
    SyncCondvar: std::sync::Condvar;
    SyncMpscSender: std::sync::mpsc::Sender<u8>;
    SyncMpscSyncSender: std::sync::mpsc::SyncSender<u8>;
    SyncMpscReceiver: std::sync::mpsc::Receiver<u8>;
}

#[expect(clippy::disallowed_macros)]
fn print() {
    print!("never");
}

#[expect(clippy::disallowed_macros)]
fn println() {
    println!("never");
}

#[expect(clippy::disallowed_macros)]
fn eprint() {
    eprint!("never");
}

#[expect(clippy::disallowed_macros)]
fn eprintln() {
    eprintln!("never");
}

#[expect(clippy::disallowed_macros)]
fn dbg() {
    dbg!("never");
}
