//! The client's leg of an anchored stream, as far as the core knows of it: whether it stands, what the
//! client must not hear before, and how long it was silent. What follows is decided in
//! [`super::streams`].

use std::time::Duration;

use super::{StreamKey, Timestamp};

/// Most words of the server that wait for the client's media path, the running word with them; further
/// ones, and those that the session may not keep, are dropped.
const WITHHELD_MAX: usize = 16;

/// The client's leg of an anchored stream, as far as the core knows of it.
#[derive(Debug)]
pub(super) struct ClientLeg {
    key: StreamKey,
    /// Known once the workers were asked to open it.
    browser: Option<Browser>,
    /// ICE and DTLS stood once.
    connected: bool,
    /// PUBLISHING or PLAYING, and what the server said after it, until they do.
    withheld: Option<Vec<Box<[u8]>>>,
    /// Since when nothing comes from a client that cannot be revived.
    silent_since: Option<Timestamp>,
    /// The client closed its media; unless its stop comes by then, the stream is lost.
    gone_at: Option<Timestamp>,
    /// The server says that nothing comes of its stream for now.
    paused: bool,
}

/// Whether the client's media can be given new addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Browser {
    Revivable,
    /// Takes none.
    Firefox,
}

impl ClientLeg {
    pub(super) const fn new(key: StreamKey) -> Self {
        let (browser, withheld) = (None, None);
        Self { key, browser, connected: false, withheld, silent_since: None, gone_at: None, paused: false }
    }

    pub(super) const fn key(&self) -> StreamKey {
        self.key
    }

    /// Whether the media workers know it.
    pub(super) const fn is_opened(&self) -> bool {
        self.browser.is_some()
    }

    /// The workers are asked to open it.
    pub(super) const fn open(&mut self, of_firefox: bool) {
        self.browser = Some(if of_firefox { Browser::Firefox } else { Browser::Revivable });
    }

    /// Whether nothing comes of its stream for now, as the server says.
    pub(super) const fn is_to_pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Whether its server said so last.
    pub(super) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// ICE and DTLS stood once.
    pub(super) const fn has_connected(&self) -> bool {
        self.connected
    }

    /// ICE and DTLS stand: what was withheld, if something was.
    pub(super) const fn connected(&mut self) -> Option<Vec<Box<[u8]>>> {
        self.connected = true;
        self.withheld.take()
    }

    /// Its client is well, and has heard all that was said.
    pub(super) const fn is_at_rest(&self) -> bool {
        self.withheld.is_none() && self.silent_since.is_none() && self.gone_at.is_none()
    }

    pub(super) const fn withholds(&self) -> bool {
        self.withheld.is_some()
    }

    /// Whether something is withheld, and what is said behind it has room.
    pub(super) fn withholds_more(&self) -> bool {
        self.withheld.as_ref().is_some_and(|withheld| withheld.len() < WITHHELD_MAX)
    }

    /// Withholds the word that the stream runs, and nothing of before.
    pub(super) fn withhold(&mut self, words: Box<[u8]>) {
        self.withheld = Some(vec![words]);
    }

    /// Withholds what the server says behind that word.
    pub(super) fn withhold_behind(&mut self, words: Box<[u8]>) {
        if let Some(withheld) = &mut self.withheld {
            withheld.push(words);
        }
    }

    /// What was withheld was the word of an upstream that is gone.
    pub(super) fn forget_withheld(&mut self) {
        self.withheld = None;
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let words = self.withheld.iter().flatten().map(|words| size_of_val(words) + words.len());
        size_of::<Self>() + words.sum::<usize>()
    }

    /// Nothing has come of it for so long. True if new addresses may revive it.
    pub(super) fn falls_silent(&mut self, now: Timestamp, silence: Duration) -> bool {
        if self.browser != Some(Browser::Firefox) {
            return true;
        }
        let silence_ms = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        self.silent_since = Some(Timestamp::from_ms(now.as_ms().saturating_sub(silence_ms)));
        false
    }

    pub(super) const fn silent_since(&self) -> Option<Timestamp> {
        self.silent_since
    }

    /// Something comes of it again.
    pub(super) const fn is_heard(&mut self) {
        self.silent_since = None;
    }

    /// The client closed it: unless its stop comes by then, the stream is lost.
    pub(super) const fn closes(&mut self, until: Timestamp) {
        self.gone_at = Some(until);
    }

    /// No stop came; whether it ever stood.
    pub(super) const fn is_gone(&mut self) -> bool {
        self.gone_at = None;
        self.connected
    }

    /// By when its client has to say that it stopped the stream.
    pub(super) const fn gone_at(&self) -> Option<Timestamp> {
        self.gone_at
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(60_000);

    #[test]
    fn what_is_withheld_comes_in_order_and_is_bounded() {
        let mut leg = ClientLeg::new(StreamKey::of_first_session(1));
        leg.withhold_behind(b"before".as_slice().into());
        assert!(!leg.withholds() && !leg.withholds_more(), "nothing is withheld without the word");
        leg.withhold(b"runs".as_slice().into());
        while leg.withholds_more() {
            leg.withhold_behind(b"more".as_slice().into());
        }
        let bytes = leg.bytes();
        let withheld = leg.connected().unwrap();
        assert_eq!((withheld.len(), &*withheld[0]), (WITHHELD_MAX, b"runs".as_slice()));
        assert!(leg.has_connected() && !leg.withholds() && leg.bytes() < bytes);
        assert!(leg.connected().is_none(), "once");
    }

    #[test]
    fn only_firefox_cannot_be_revived() {
        let (mut chromium, mut firefox) =
            (ClientLeg::new(StreamKey::of_first_session(1)), ClientLeg::new(StreamKey::of_first_session(2)));
        chromium.open(false);
        firefox.open(true);
        assert!(chromium.falls_silent(NOW, Duration::from_secs(10)));
        assert!(!firefox.falls_silent(NOW, Duration::from_secs(10)));
        assert_eq!(
            (chromium.silent_since(), firefox.silent_since()),
            (None, Some(Timestamp::from_ms(50_000)))
        );
        firefox.is_heard();
        assert_eq!(firefox.silent_since(), None);
    }

    #[test]
    fn a_leg_that_never_stood_is_told_from_one_that_did() {
        let mut leg = ClientLeg::new(StreamKey::of_first_session(1));
        leg.closes(NOW);
        assert_eq!(leg.gone_at(), Some(NOW));
        assert!(!leg.is_gone() && leg.gone_at().is_none());
        let _ = leg.connected();
        assert!(leg.is_gone());
    }
}
