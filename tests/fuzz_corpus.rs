//! The fuzz targets as an ordinary test: over the committed corpus and over mutations of it.
//!
//! The mutations come from a seed. A failure prints the input; put it into `fuzz/corpus` to keep
//! it. `HOLDFAST_FUZZ_SEED` and `HOLDFAST_FUZZ_ROUNDS` try others and more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use holdfast::media::fuzzing as media;
use holdfast::signaling::fuzzing;

/// Mutations per target.
const ROUNDS: u64 = 20_000;

/// Pieces that make a difference to a parser.
const TOKENS: [&[u8]; 22] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"\\u006d",
    b"\\ud800",
    b"\"message\":\"ping\"",
    b"\"data\":[",
    b"\"mediaSessionId\":\"x\"",
    b"\xff",
    b"\r\n",
    b"\n",
    b"m=video 9 X 96",
    b"a=rtpmap:96 H264/90000",
    b"a=fmtp:9",
    b" ",
];

#[test]
fn peek() {
    run("messages", fuzzing::peek);
}

#[test]
fn edits() {
    run("messages", fuzzing::edits);
}

#[test]
fn view() {
    run("messages", fuzzing::view);
}

#[test]
fn sdp() {
    run("sdp", fuzzing::sdp);
}

#[test]
fn redactor() {
    run("messages", fuzzing::redactor);
}

#[test]
fn redactor_of_descriptions() {
    run("sdp", fuzzing::redactor);
}

#[test]
fn recording() {
    run("recordings", holdfast::recording::fuzzing::replay);
}

#[test]
fn media_sdp() {
    run("sdp", media::media_sdp);
}

#[test]
fn datagram() {
    run("packets", media::datagram);
}

#[test]
fn framing() {
    run("frames", media::framing);
}

#[test]
fn payload() {
    run("packets", media::payload);
}

fn run(corpus: &str, target: fn(&[u8])) {
    let corpus = read_corpus(corpus);
    for input in &corpus {
        check(input, target);
    }
    let mut random = Random(setting("HOLDFAST_FUZZ_SEED", 1));
    for _ in 0..setting("HOLDFAST_FUZZ_ROUNDS", ROUNDS) {
        let mut input = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut input, &corpus, &mut random);
        }
        check(&input, target);
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn read_corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 8, "the corpus is missing");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs the target; shows the input if it panics.
fn check(input: &[u8], target: fn(&[u8])) {
    struct ShowInput<'a>(&'a [u8]);
    impl Drop for ShowInput<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("input: {}", self.0.escape_ascii());
            }
        }
    }
    let _show = ShowInput(input);
    target(input);
}

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(1 + input.len() / 4)).min(input.len());
    match random.below(7) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..end)),
        2 => {
            let again = input[at..end].to_vec();
            drop(input.splice(at..at, again));
        }
        3 => drop(input.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
        4 => drop(input.splice(at..end, TOKENS[random.below(TOKENS.len())].iter().copied())),
        5 => {
            let other = &corpus[random.below(corpus.len())];
            input.truncate(at);
            input.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

/// A small generator that is the same everywhere (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }
}
