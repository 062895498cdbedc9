//! One read buffer per thread instead of one per session: a session borrows it while it is
//! polled and gives it back before it waits.

use std::cell::Cell;

/// Size of the buffer. Frames up to this size are handled where they were read.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `work` with the buffer of this thread, always [`SCRATCH_BYTES`] long. What is in it is
/// left over from whoever used it before.
pub(crate) fn with<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut scratch = SCRATCH.take();
    if scratch.len() != SCRATCH_BYTES {
        scratch = vec![0; SCRATCH_BYTES];
    }
    let result = work(&mut scratch);
    SCRATCH.set(scratch);
    result
}
