//! Inputs that are almost right: mutations of the fuzz corpus.

use std::{path::Path, sync::OnceLock};

use rand::{Rng, RngExt as _, rngs::StdRng};

/// The kinds of the corpus that are used here.
#[derive(Clone, Copy, Debug)]
pub enum Corpus {
    Frames,
    Messages,
    Offers,
    Packets,
}

/// Every seed of a corpus.
pub fn seeds(corpus: Corpus) -> &'static [Vec<u8>] {
    static ALL: [OnceLock<Vec<Vec<u8>>>; 4] = [const { OnceLock::new() }; 4];
    let (index, folder) = match corpus {
        Corpus::Frames => (0, "frames"),
        Corpus::Messages => (1, "messages"),
        Corpus::Offers => (2, "sdp"),
        Corpus::Packets => (3, "packets"),
    };
    ALL[index].get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| std::fs::read(file).unwrap()).collect()
    })
}

/// A seed of the corpus with a few changes.
pub fn from(corpus: Corpus, random: &mut StdRng) -> Vec<u8> {
    let seeds = seeds(corpus);
    let seed = seeds[random.random_range(0..seeds.len())].clone();
    mutate(seed, random)
}

/// The same bytes but for a few changes: bits, bytes, cuts, repetitions, lengths.
pub fn mutate(mut bytes: Vec<u8>, random: &mut StdRng) -> Vec<u8> {
    for _ in 0..random.random_range(0..8) {
        if bytes.is_empty() {
            return noise(random, 64);
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..6) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => {
                let piece: Vec<u8> = bytes[at..].iter().copied().take(random.random_range(1..200)).collect();
                for _ in 0..random.random_range(1..20) {
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
            4 => bytes[at] = [0, 0xFF, b'"', b'\n', b'{', b'9'][random.random_range(0..6)],
            _ => {
                let end = random.random_range(at..bytes.len());
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

/// At most so many random bytes, at least one.
pub fn noise(random: &mut StdRng, bytes_max: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(1..=bytes_max)];
    random.fill_bytes(&mut bytes);
    bytes
}
