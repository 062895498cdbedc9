//! Writing frames.

use super::{
    close::sendable_close_code,
    header::{MaskKey, Opcode},
    mask::apply_mask,
};

/// Appends the header of an unfragmented frame.
pub fn write_header(out: &mut Vec<u8>, opcode: Opcode, payload_bytes: usize, mask: Option<MaskKey>) {
    out.push(0x80 | opcode.bits());
    let masked = if mask.is_some() { 0x80 } else { 0 };
    if let Ok(length) = u8::try_from(payload_bytes)
        && length < 126
    {
        out.push(masked | length);
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        out.push(masked | 126);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(masked | 127);
        // A `usize` always fits: the targets have at most 64 bits.
        let length = u64::try_from(payload_bytes).unwrap_or(u64::MAX);
        out.extend_from_slice(&length.to_be_bytes());
    }
    if let Some(key) = mask {
        out.extend_from_slice(&key);
    }
}

/// Appends a whole frame.
pub fn encode_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<MaskKey>) {
    out.reserve(payload.len().saturating_add(super::HEADER_BYTES_MAX));
    write_header(out, opcode, payload.len(), mask);
    let start = out.len();
    out.extend_from_slice(payload);
    if let (Some(key), Some(payload)) = (mask, out.get_mut(start..)) {
        apply_mask(payload, key);
    }
}

/// Appends a close frame. Without a code, or with one that must not be sent, it is empty.
pub fn encode_close(out: &mut Vec<u8>, code: Option<u16>, mask: Option<MaskKey>) {
    match code.and_then(sendable_close_code) {
        Some(code) => encode_frame(out, Opcode::Close, &code.to_be_bytes(), mask),
        None => encode_frame(out, Opcode::Close, &[], mask),
    }
}
