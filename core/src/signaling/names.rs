//! The message names of protocol S2, as enums to match on.
//!
//! A name that is not listed is `Other` and passes through untouched.

macro_rules! message_names {
    ($(#[$about:meta])* $kind:ident { $($variant:ident = $wire:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $kind {
            $(#[doc = concat!("`", $wire, "`")] $variant,)*
            /// A name not known here.
            Other,
        }

        impl $kind {
            /// Every known message, `Other` left out.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The message of this name. Names are case-sensitive, as in the SDK.
            #[must_use]
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($wire => Self::$variant,)*
                    _ => Self::Other,
                }
            }

            /// The name on the wire; `other` for `Other`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)*
                    Self::Other => "other",
                }
            }
        }
    };
}

message_names! {
    /// A message from client to server: S2.1, S2.3, S2.5, S2.9, and the older ones of S2.10.
    ClientMessage {
        Connection = "connection",
        Pong = "pong",
        Ping = "ping",
        SessionDebug = "sessionDebug",
        PushLogs = "pushLogs",
        SubmitBugReport = "submitBugReport",
        SendData = "sendData",
        MetricsClientDescription = "webRTCMetricsClientDescription",
        MetricsBatch = "webRTCMetricsBatch",
        PublishStream = "publishStream",
        PlayStream = "playStream",
        UnPublishStream = "unPublishStream",
        StopStream = "stopStream",
        AvailableStream = "availableStream",
        Snapshot = "snapshot",
        SendStreamEvent = "sendStreamEvent",
        Call = "call",
        Answer = "answer",
        Hangup = "hangup",
        Hold = "hold",
        Unhold = "unhold",
        SendDtmf = "sendDtmf",
        Transfer = "transfer",
        ConnectMediaTransport = "connectMediaTransport",
        Connect = "connect",
        SendMessage = "sendMessage",
        NotificationResult = "notificationResult",
        Subscribe = "subscribe",
        SendXcapRequest = "sendXcapRequest",
        SetUseProxy = "setUseProxy",
        SetLtState = "setLTState",
        PauseStream = "pauseStream",
        DataStatusEvent = "DataStatusEvent",
    }
}

message_names! {
    /// A message from server to client: S2.2, S2.4, S2.6, and the older ones of S2.10.
    ServerMessage {
        GetUserData = "getUserData",
        GetVersion = "getVersion",
        Ping = "ping",
        Pong = "pong",
        Registered = "registered",
        Fail = "fail",
        NotifySessionDebugEvent = "notifySessionDebugEvent",
        OnDataEvent = "OnDataEvent",
        DataStatusEvent = "DataStatusEvent",
        MetricsTokenRefresh = "webRTCMetricsTokenRefresh",
        MetricsDescriptionUpdate = "webRTCMetricsDescriptionUpdate",
        SetRemoteSdp = "setRemoteSDP",
        NotifyStreamStatusEvent = "notifyStreamStatusEvent",
        NotifyVideoFormat = "notifyVideoFormat",
        NotifyStreamEvent = "notifyStreamEvent",
        AvailableStream = "availableStream",
        InboundVideoRate = "inboundVideoRate",
        OutboundVideoRate = "outboundVideoRate",
        NotifyAudioCodec = "notifyAudioCodec",
        NotifyIncomingCall = "notifyIncomingCall",
        NotifyTryingResponse = "notifyTryingResponse",
        Ring = "ring",
        Talk = "talk",
        Hold = "hold",
        Finish = "finish",
        SessionProgress = "sessionProgress",
        Busy = "busy",
        NotifyTransferEvent = "notifyTransferEvent",
        NotifyMessage = "notifyMessage",
        NotifySubscription = "notifySubscription",
        NotifyXcapResponse = "notifyXcapResponse",
        NotifyRecordComplete = "notifyRecordComplete",
        NotifyBugReport = "notifyBugReport",
    }
}

impl ClientMessage {
    /// True for the verbs whose first argument names a stream by `mediaSessionId`.
    #[must_use]
    pub const fn concerns_stream(self) -> bool {
        matches!(
            self,
            Self::PublishStream
                | Self::PlayStream
                | Self::UnPublishStream
                | Self::StopStream
                | Self::PauseStream
                | Self::AvailableStream
                | Self::Snapshot
                | Self::SendStreamEvent
                | Self::MetricsClientDescription
                | Self::MetricsBatch
        )
    }

    /// True for the verbs whose first argument names a call by `callId`.
    #[must_use]
    pub const fn concerns_call(self) -> bool {
        matches!(
            self,
            Self::Call
                | Self::Answer
                | Self::Hangup
                | Self::Hold
                | Self::Unhold
                | Self::SendDtmf
                | Self::Transfer
        )
    }
}

impl ServerMessage {
    /// True for the messages whose first argument names a call by `callId`.
    #[must_use]
    pub const fn concerns_call(self) -> bool {
        matches!(
            self,
            Self::NotifyIncomingCall
                | Self::NotifyTryingResponse
                | Self::Ring
                | Self::Talk
                | Self::Hold
                | Self::Finish
                | Self::SessionProgress
                | Self::Busy
                | Self::NotifyTransferEvent
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for &message in ClientMessage::ALL {
            assert_eq!(ClientMessage::from_name(message.name()), message);
        }
        for &message in ServerMessage::ALL {
            assert_eq!(ServerMessage::from_name(message.name()), message);
        }
        assert_eq!(ClientMessage::from_name("PublishStream"), ClientMessage::Other);
        assert_eq!(ServerMessage::from_name("connection"), ServerMessage::Other);
        assert_eq!(ClientMessage::from_name(""), ClientMessage::Other);
    }
}
