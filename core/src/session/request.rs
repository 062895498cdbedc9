//! A client's request as it goes to an upstream: same bytes, but for the id, and the SDP where it
//! must be another.

use crate::signaling::{
    Edits, peek, sdp,
    view::{Field, StreamRequest},
};

/// The message with this `mediaSessionId` and this `sdp`, where given.
pub(super) fn request_with(message: &[u8], id: Option<&str>, offer: Option<&str>) -> Vec<u8> {
    let Ok(peek) = peek(message) else { return message.to_vec() };
    let request = StreamRequest::of(&peek);
    let mut edits = Edits::new();
    for (field, value) in [(request.media_session_id(), id), (request.sdp(), offer)] {
        if let (Some(field), Some(value)) = (field, value) {
            edits.push_string(field.span(), value);
        }
    }
    edits.apply(message)
}

/// The `sdp` of a request; empty if it has none.
pub(super) fn offer_in(request: &[u8]) -> String {
    let Ok(peek) = peek(request) else { return String::new() };
    let offer = StreamRequest::of(&peek).sdp().and_then(Field::string);
    offer.unwrap_or_default().into_owned()
}

/// Whether a publish could do without H264.
pub(super) fn offers_h264_and_vp8(request: &[u8]) -> bool {
    let offer = offer_in(request);
    sdp::offers_codec(&offer, "H264") && sdp::offers_codec(&offer, "VP8")
}
