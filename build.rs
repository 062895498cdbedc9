//! What the binary says of how it was built: the compiler's version, and the commit where whoever builds names
//! it (`scripts/release` does). A build from a tarball knows no commit, and says so.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=HOLDFAST_COMMIT");
    let unknown = || "unknown".to_owned();
    let commit = env::var("HOLDFAST_COMMIT").ok().filter(|commit| !commit.is_empty());
    println!("cargo:rustc-env=HOLDFAST_COMMIT={}", commit.unwrap_or_else(unknown));
    println!("cargo:rustc-env=HOLDFAST_RUSTC={}", rustc_version().unwrap_or_else(unknown));
}

/// The second word of `rustc 1.95.0 (…)`.
fn rustc_version() -> Option<String> {
    let rustc = env::var_os("RUSTC")?;
    let output = Command::new(rustc).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1).map(str::to_owned)
}
