//! Views of messages whose arguments are in a row, and of the first message of a media socket
//! (protocol S2.4, S2.9).

use std::borrow::Cow;

use super::{Field, key, views};

views! {
    /// `setRemoteSDP`, for a stream or a call. The SDP holds credentials.
    RemoteSdp;
    /// `notifyAudioCodec`.
    AudioCodec;
    /// `connectMediaTransport`: what a media socket begins with.
    MediaTransport;
}

impl<'a> RemoteSdp<'a> {
    /// A stream's or a call's id.
    #[must_use]
    pub fn id(self) -> Option<Field<'a>> {
        self.0.place_of_argument(0)
    }

    /// The SDP.
    #[must_use]
    pub fn sdp(self) -> Option<Cow<'a, str>> {
        self.0.place_of_argument(1)?.string()
    }
}

impl<'a> AudioCodec<'a> {
    /// The stream's id.
    #[must_use]
    pub fn id(self) -> Option<Field<'a>> {
        self.0.place_of_argument(0)
    }
}

impl<'a> MediaTransport<'a> {
    /// The session's token as the client knows it.
    #[must_use]
    pub fn auth_token(self) -> Option<Field<'a>> {
        self.0.place(key::AUTH_TOKEN)
    }
}
