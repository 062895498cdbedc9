//! Writing frames.

use std::ops::DerefMut;

use crate::wire::buffer::Buffer;

use super::{
    close::sendable_close_code,
    header::{MaskKey, Opcode},
    mask::apply_mask,
};

/// Where frames are written to.
pub trait FrameSink: DerefMut<Target = [u8]> {
    /// Adds bytes at the end.
    fn put(&mut self, bytes: &[u8]);
}

impl FrameSink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl FrameSink for Buffer {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Appends the header of an unfragmented frame.
pub fn write_header(out: &mut impl FrameSink, opcode: Opcode, payload_bytes: usize, mask: Option<MaskKey>) {
    let first = 0x80 | opcode.bits();
    let masked = if mask.is_some() { 0x80 } else { 0 };
    if let Ok(length) = u8::try_from(payload_bytes)
        && length < 126
    {
        out.put(&[first, masked | length]);
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        out.put(&[first, masked | 126]);
        out.put(&length.to_be_bytes());
    } else {
        out.put(&[first, masked | 127]);
        // A `usize` always fits: the targets have at most 64 bits.
        let length = u64::try_from(payload_bytes).unwrap_or(u64::MAX);
        out.put(&length.to_be_bytes());
    }
    if let Some(key) = mask {
        out.put(&key);
    }
}

/// Appends a whole frame.
pub fn encode_frame(out: &mut impl FrameSink, opcode: Opcode, payload: &[u8], mask: Option<MaskKey>) {
    write_header(out, opcode, payload.len(), mask);
    let start = out.len();
    out.put(payload);
    if let (Some(key), Some(payload)) = (mask, out.get_mut(start..)) {
        apply_mask(payload, key);
    }
}

/// Longest reason that a close frame has room for, in bytes.
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

/// Appends a close frame. Without a code, or with one that must not be sent, it is empty. A reason that
/// does not fit is cut at the end of a character.
pub fn encode_close(out: &mut impl FrameSink, code: Option<u16>, reason: &str, mask: Option<MaskKey>) {
    match code.and_then(sendable_close_code) {
        Some(code) => {
            let mut cuts = (0..=reason.len().min(CLOSE_REASON_BYTES_MAX)).rev();
            let cut = cuts.find(|cut| reason.is_char_boundary(*cut)).unwrap_or(0);
            let mut payload = code.to_be_bytes().to_vec();
            payload.extend_from_slice(reason.get(..cut).unwrap_or_default().as_bytes());
            encode_frame(out, Opcode::Close, &payload, mask);
        }
        None => encode_frame(out, Opcode::Close, &[], mask),
    }
}
