//! Close codes (RFC 6455, 7.4, and the registry that extends it).

/// Whether a peer may put this code into a close frame.
#[must_use]
pub const fn is_valid_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The code as it may be sent: 1005, 1006 and 1015 only ever stand for "none", and unknown ones
/// would be a protocol error of ours.
#[must_use]
pub fn sendable_close_code(code: u16) -> Option<u16> {
    is_valid_close_code(code).then_some(code)
}
