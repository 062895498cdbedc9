//! Bytes that have come, or wait to go. While there are few they lie on the heap, as in any `Vec`;
//! many lie in pages of their own, which go back to the system when the buffer is dropped. An
//! allocator keeps what is freed for later, and a process that has been through a flood would go on
//! looking as if it were full.

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
};

use memmap2::{Advice, MmapMut};

/// More bytes than this lie in pages of their own.
const HEAP_BYTES_MAX: usize = 64 * 1024;
/// Pages that are taken at least for bytes that nobody announced, so that they are not moved, and
/// for a moment there twice, before there are many. They cost nothing until something is in them.
const PAGES_BYTES_MIN: usize = 8 * 1024 * 1024;

#[derive(Debug)]
struct Pages {
    map: MmapMut,
    length: usize,
}

#[derive(Debug)]
enum Store {
    Heap(Vec<u8>),
    // Boxed: most buffers are small, or empty.
    Pages(Box<Pages>),
}

/// A buffer that grows at its end. An empty one holds no memory.
pub struct Buffer(Store);

impl Buffer {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self(Store::Heap(Vec::new()))
    }

    /// Makes room for a whole of `total_bytes` that comes bit by bit: pages take no memory before
    /// something is written to them, so that what was only announced costs none.
    pub(crate) fn announce(&mut self, total_bytes: usize) {
        let fits = match &self.0 {
            Store::Heap(_) => total_bytes <= HEAP_BYTES_MAX,
            Store::Pages(pages) => total_bytes <= pages.map.len(),
        };
        if !fits {
            self.move_to_pages(total_bytes);
        }
    }

    fn grow(&mut self, bytes: usize) {
        self.move_to_pages(bytes.saturating_mul(4).max(PAGES_BYTES_MIN));
    }

    fn move_to_pages(&mut self, bytes: usize) {
        // Where the system gives no pages the heap has to do.
        let Ok(mut map) = MmapMut::map_anon(bytes) else { return };
        // A huge page would take 2 MiB for a few bytes; where there are none, that is as well.
        let _ = map.advise(Advice::NoHugePage);
        let length = self.len();
        if let Some(start) = map.get_mut(..length) {
            start.copy_from_slice(self);
            self.0 = Store::Pages(Box::new(Pages { map, length }));
        }
    }

    /// Lets `read` fill at most `bytes_max` bytes behind the end; it says how many it did.
    pub(crate) fn fill(
        &mut self,
        bytes_max: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let start = self.len();
        let end = start.saturating_add(bytes_max);
        if let Store::Pages(pages) = &self.0
            && pages.map.len() < end
        {
            self.grow(end);
        }
        match &mut self.0 {
            Store::Pages(pages) => {
                let read = read(pages.map.get_mut(start..end).unwrap_or_default())?;
                pages.length = start.saturating_add(read.min(bytes_max));
                Ok(read)
            }
            Store::Heap(bytes) => {
                bytes.resize(end, 0);
                let result = read(bytes.get_mut(start..).unwrap_or_default());
                bytes.truncate(start.saturating_add(result.as_ref().map_or(0, |read| *read)));
                result
            }
        }
    }

    /// Adds bytes at the end.
    pub fn extend_from_slice(&mut self, more: &[u8]) {
        let end = self.len().saturating_add(more.len());
        let fits = match &self.0 {
            Store::Heap(_) => end <= HEAP_BYTES_MAX,
            Store::Pages(pages) => end <= pages.map.len(),
        };
        if !fits {
            self.grow(end);
        }
        match &mut self.0 {
            Store::Heap(bytes) => bytes.extend_from_slice(more),
            Store::Pages(pages) => {
                if let Some(room) = pages.map.get_mut(pages.length..end) {
                    room.copy_from_slice(more);
                    pages.length = end;
                } else {
                    // The system gave no more pages.
                    let mut bytes = self.to_vec();
                    bytes.extend_from_slice(more);
                    self.0 = Store::Heap(bytes);
                }
            }
        }
    }

    /// Forgets this many bytes at the start.
    pub(crate) fn forget_start(&mut self, bytes: usize) {
        let bytes = bytes.min(self.len());
        let rest_bytes = self.len() - bytes;
        match &mut self.0 {
            Store::Heap(heap) => drop(heap.drain(..bytes)),
            Store::Pages(pages) if rest_bytes > HEAP_BYTES_MAX / 2 => {
                pages.map.copy_within(bytes..pages.length, 0);
                pages.length = rest_bytes;
            }
            Store::Pages(_) => {
                let rest = self.get(bytes..).unwrap_or_default().to_vec();
                self.0 = Store::Heap(rest);
            }
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Store::Heap(bytes) => bytes,
            Store::Pages(pages) => pages.map.get(..pages.length).unwrap_or_default(),
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Store::Heap(bytes) => bytes,
            Store::Pages(pages) => pages.map.get_mut(..pages.length).unwrap_or_default(),
        }
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Store::Heap(bytes))
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        let mut buffer = Self::new();
        buffer.extend_from_slice(bytes);
        buffer
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// Bytes that show where they stood.
    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn it_grows_from_the_heap_into_pages_and_shrinks_back() {
        let wanted = pattern(3 * HEAP_BYTES_MAX);
        let mut buffer = Buffer::new();
        for part in wanted.chunks(10_007) {
            buffer.extend_from_slice(part);
        }
        assert!(matches!(buffer.0, Store::Pages(_)));
        assert_eq!(*buffer, wanted[..]);
        buffer.forget_start(1_000);
        assert_eq!(*buffer, wanted[1_000..]);
        buffer.forget_start(wanted.len() - 2_000);
        assert!(matches!(buffer.0, Store::Heap(_)));
        assert_eq!(*buffer, wanted[wanted.len() - 1_000..]);
        buffer.forget_start(5_000);
        assert!(buffer.is_empty());
    }

    #[test]
    fn it_is_filled_by_a_reader() {
        for total in [1_000, 2 * HEAP_BYTES_MAX] {
            let wanted = pattern(total);
            let mut buffer = Buffer::from(&wanted[..10]);
            buffer.announce(total);
            while buffer.len() < total {
                let start = buffer.len();
                let read = buffer.fill(997.min(total - start), |room| {
                    room.copy_from_slice(&wanted[start..start + room.len()]);
                    Ok(room.len())
                });
                assert!(read.unwrap() > 0);
            }
            assert_eq!(*buffer, wanted[..]);
            assert!(buffer.fill(1, |_| Err(io::ErrorKind::WouldBlock.into())).is_err());
            assert_eq!(buffer.len(), total);
        }
    }

    #[test]
    fn what_is_announced_takes_no_memory() {
        let before = crate::memory::resident_bytes().unwrap();
        let buffers: Vec<Buffer> = (0..8)
            .map(|_| {
                let mut buffer = Buffer::from(&[1, 2, 3][..]);
                buffer.announce(256 * 1024 * 1024);
                buffer
            })
            .collect();
        // Other tests run besides.
        let taken = crate::memory::resident_bytes().unwrap().saturating_sub(before);
        assert!(taken < 1024 * 1024 * 1024, "{taken} bytes for {} announced ones", buffers.len());
    }
}
