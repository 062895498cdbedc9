//! `holdfast top` on a real terminal (tmux), beside a proxy that is restarted: it stays, tells, and gives the
//! terminal back as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use net_support::{PATIENCE, free_address, running::Running};

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");

/// A terminal of this test's own, with a shell in it.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    fn open(name: &str, columns: u16, rows: u16) -> Self {
        let socket = env::temp_dir().join(format!("holdfast-top-{name}-{}", std::process::id()));
        let terminal = Self { socket };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        // A prompt that is seen to be there, and no settings of whoever runs this.
        let shell = "env PS1='ready> ' HISTFILE= sh";
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, shell]);
        terminal.until("a prompt", |screen| screen.contains("ready>"));
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .args(arguments)
            .env_remove("TMUX")
            .output()
            .unwrap();
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn say(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until this is on the screen.
    #[expect(clippy::disallowed_methods, reason = "a terminal tells of no change: it has to be looked at")]
    fn until(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "in vain waited for {what}:\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn see(&self, part: &str) -> String {
        self.until(part, |screen| screen.contains(part))
    }

    /// Whether a program has the whole screen, and whether the cursor is seen.
    fn flags(&self) -> String {
        self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).trim().to_owned()
    }

    /// The shell has the terminal again, as it was before: its screen, its cursor, echo and lines.
    fn is_given_back(&self, code: i32) {
        // Until then whatever is typed is still the program's.
        let has_prompt = |screen: &str| screen.trim_end().lines().last() == Some("ready>");
        self.until("the next prompt", has_prompt);
        self.say(
            "echo code=$? $(stty -a | tr ' ;' '\\n\\n' | grep -xE '.?(echo|icanon|isig)' | tr '\\n' ' ')",
        );
        self.see(&format!("code={code} isig icanon echo"));
        assert_eq!(self.flags(), "0 1", "{}", self.screen());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What is still running in it ends with it.
        let _ =
            Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").env_remove("TMUX").output();
        let _ = std::fs::remove_file(&self.socket);
    }
}

#[test]
fn it_stays_while_the_proxy_is_restarted_and_q_gives_the_terminal_back() {
    let (listen, admin) = (free_address(), free_address());
    let terminal = Terminal::open("restart", 80, 24);
    terminal.say(&format!("{HOLDFAST} top --admin {admin}"));
    terminal.see("AWAY for");
    let proxy = Running::start(listen, admin);
    let screen =
        terminal.until("the node", |screen| screen.contains("lonely") && screen.contains("was away"));
    assert!(screen.contains("0 sessions") && screen.contains("Nodes, "), "{screen}");
    assert!(!screen.contains("AWAY"), "{screen}");
    assert_eq!(terminal.flags(), "1 0", "the screen of its own, without a cursor");
    drop(proxy);
    let screen = terminal.see("AWAY for");
    assert!(screen.contains("lonely"), "what was heard last stays\n{screen}");
    let _proxy = Running::start(listen, admin);
    terminal.until("it is back", |screen| !screen.contains("AWAY") && screen.contains("was away"));
    terminal.press("?");
    terminal.see("any key: back");
    terminal.press("Escape");
    terminal.until("the nodes again", |screen| screen.contains("lonely"));
    terminal.press("/");
    terminal.say("cam1");
    terminal.see("Sessions with `cam1`");
    for (columns, rows) in [(40, 8), (10, 3), (150, 40)] {
        terminal.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
        let is_new = |screen: &str| screen.lines().next().is_some_and(|line| line.contains("holdfast"));
        let screen = terminal.until("a picture of the new size", is_new);
        assert!(screen.lines().all(|line| line.chars().count() <= columns), "{screen}");
    }
    terminal.see("DIAL P99");
    terminal.press("q");
    terminal.is_given_back(0);
}

#[test]
fn ctrl_c_and_sigterm_give_the_terminal_back() {
    let (listen, admin) = (free_address(), free_address());
    let _proxy = Running::start(listen, admin);
    let terminal = Terminal::open("signals", 80, 24);
    let start = || {
        terminal.say(&format!("clear; {HOLDFAST} top --admin {admin}"));
        terminal.see("lonely");
    };
    start();
    terminal.press("C-c");
    terminal.is_given_back(0);
    start();
    let shell = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let children = Command::new("ps").args(["-o", "pid=", "--ppid", shell.trim()]).output().unwrap();
    let top = String::from_utf8(children.stdout).unwrap();
    assert!(Command::new("kill").args(["-TERM", top.trim()]).status().unwrap().success());
    terminal.is_given_back(0);
}

/// What runs in the terminal of the next test: the screen is taken, drawn, and something panics.
#[test]
#[ignore = "the next one runs it in a terminal"]
fn panic_on_the_screen() {
    let mut screen = holdfast::top::Screen::take().unwrap();
    screen.draw(|frame| frame.buffer_mut().set_string(0, 0, "drawn", ratatui::style::Style::new())).unwrap();
    // Until a key is pressed, so that the screen can be looked at.
    std::io::stdin().read_exact(&mut [0]).unwrap();
    panic!("on purpose");
}

#[test]
fn a_panic_gives_the_terminal_back_and_is_told_on_it() {
    let terminal = Terminal::open("panic", 80, 24);
    let this = env::current_exe().unwrap();
    terminal.say(&format!(
        "RUST_BACKTRACE=0 {} --ignored --exact --nocapture panic_on_the_screen",
        this.display()
    ));
    terminal.until("the picture", |screen| screen.starts_with("drawn"));
    assert_eq!(terminal.flags(), "1 0");
    terminal.press("x");
    terminal.see("on purpose");
    terminal.is_given_back(101);
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let output = Command::new(HOLDFAST).arg("top").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("no terminal") && said.contains("holdfast status --json"), "{said}");
    assert!(output.stdout.is_empty());
}

fn once(admin: SocketAddr) -> (Option<i32>, String, String) {
    let output =
        Command::new(HOLDFAST).args(["top", "--once", &format!("--admin={admin}")]).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn once_is_plain_text_or_an_error() {
    let (listen, admin) = (free_address(), free_address());
    let (code, out, said) = once(admin);
    assert_eq!((code, &*out), (Some(69), ""), "{said}");
    assert!(said.contains("Is holdfast running"), "{said}");
    let _proxy = Running::start(listen, admin);
    let (code, out, said) = once(admin);
    assert_eq!(code, Some(0), "{said}");
    assert!(out.contains("0 sessions  0 in outage") && out.contains("lonely"), "{out}");
    assert!(!out.contains('\u{1b}'), "{out:?}");
}

#[test]
fn an_answer_without_an_end_is_not_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let _ = socket.read(&mut head).unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[").unwrap();
        let piece = [b' '; 64 * 1024];
        let mut sent = 0_u64;
        while socket.write_all(&piece).is_ok() {
            sent += 64 * 1024;
        }
        sent
    });
    let (code, _, said) = once(admin);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("length limit exceeded"), "{said}");
    let sent = server.join().unwrap();
    assert!((16 << 20..40 << 20).contains(&sent), "{sent} bytes were taken");
}
