//! Real media of a run: the synthetic WebRTC clients behind its streams, and a watch on each
//! picture.
//!
//! A picture belongs to a client of the run, not to one WebRTC connection: where a client plays
//! again after an outage, the time without a picture spans both.

use std::{collections::BTreeMap, io, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    LoadSettings, Media,
    counters::Times,
    summary::Percentiles,
    upstream::Outage,
    webrtc_client::{
        ClientError, ClientOptions, ClientPool, ClientStats, Delays, PICTURE_STILL, PictureMoments,
        PoolSettings, WebRtcClient,
    },
};

/// How often all pictures are looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What came of the media of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MediaSummary {
    /// Clients that publish at the end.
    pub publishers: u64,
    /// Clients that play or played.
    pub players: u64,
    /// Players whose picture moves at the end.
    pub players_moving: u64,
    /// Players whose picture stands still at the end.
    pub players_still: u64,
    /// Players that never had a picture.
    pub players_without_picture: u64,
    /// RTP packets sent, audio and video.
    pub packets_sent: u64,
    /// RTP packets received, audio and video.
    pub packets_received: u64,
    /// RTP packets whose number was left out and never came.
    pub packets_missing: u64,
    /// Bytes of RTP payload received.
    pub bytes_received: u64,
    /// Video frames of which the first packet came.
    pub frames_received: u64,
    /// Video frames left out between two that came.
    pub frames_missing: u64,
    /// Key frames received.
    pub key_frames_received: u64,
    /// How often a picture stood still for half a second or more.
    pub gaps: u64,
    /// How long it stood, for those that moved again.
    pub gap: Percentiles,
    /// From the request to play to the first packet of the picture.
    pub first_picture: Percentiles,
    /// Half of the packets took less from publisher to player; rounded up to a power of two of
    /// microseconds.
    pub delay_p50_ms: f64,
    /// 99 % took less; rounded up as well.
    pub delay_p99_ms: f64,
}

/// Numbers of all connections together.
#[derive(Default)]
struct Sums {
    media: MediaSummary,
    delays: Delays,
}

impl Sums {
    fn add(&mut self, stats: &ClientStats) {
        for track in [&stats.audio, &stats.video] {
            self.media.packets_sent += track.packets_sent;
            self.media.packets_received += track.packets_received;
            self.media.packets_missing += track.missing;
            self.media.bytes_received += track.bytes_received;
        }
        self.media.frames_received += stats.video.frames_received;
        if stats.video.packets_received > 0 {
            self.media.frames_missing += stats.video.frames_missing;
            self.media.key_frames_received += stats.video.key_frames;
        }
        self.delays.merge(&stats.delays);
    }
}

/// The picture of one player.
#[derive(Debug)]
struct Picture {
    asked: Instant,
    /// When its last packet came, over whatever connection.
    last: Option<std::time::Instant>,
    still: bool,
}

/// What a look at a picture showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    First(std::time::Instant),
    Stopped,
    /// Moves again since `at`; it stood from `since`.
    Again {
        since: std::time::Instant,
        at: std::time::Instant,
        /// The standstill had not been seen before.
        unseen: bool,
    },
}

impl Picture {
    fn look(&mut self, moments: PictureMoments, now: std::time::Instant) -> Option<Seen> {
        let resumed = moments.resumed.filter(|at| self.last.is_none_or(|last| *at > last));
        let before = self.last;
        self.last = moments.last.or(self.last);
        match (resumed, before) {
            (Some(at), None) => {
                self.still = false;
                return Some(Seen::First(at));
            }
            (Some(at), Some(since)) => {
                let unseen = !std::mem::take(&mut self.still);
                if at.duration_since(since) >= PICTURE_STILL {
                    return Some(Seen::Again { since, at, unseen });
                }
            }
            (None, _) => {}
        }
        let stands = self.last.is_some_and(|last| now.saturating_duration_since(last) >= PICTURE_STILL);
        if stands && !self.still {
            self.still = true;
            return Some(Seen::Stopped);
        }
        None
    }
}

/// A client's place.
struct Slot {
    client: Option<Arc<WebRtcClient>>,
    picture: Option<Picture>,
}

/// All media of a run.
pub(super) struct RunMedia {
    pools: Vec<ClientPool>,
    video_bps: u32,
    slots: Mutex<BTreeMap<usize, Slot>>,
    /// Of connections that are gone.
    past: Mutex<Sums>,
    gaps: Mutex<u64>,
    first: Times,
    gap: Times,
    /// From the server listening to the picture moving again.
    pub(super) restored: Times,
}

impl RunMedia {
    /// `None` when the run has no media.
    pub(super) fn start(settings: &LoadSettings, bind_ip: IpAddr) -> io::Result<Option<Self>> {
        if settings.media == Media::Signaling {
            return Ok(None);
        }
        let pool =
            |_| ClientPool::start(PoolSettings { bind_ip, seed: rand::random(), ..PoolSettings::default() });
        Ok(Some(Self {
            pools: (0..settings.media_threads).map(pool).collect::<io::Result<_>>()?,
            video_bps: settings.video_kbps.saturating_mul(1_000),
            slots: Mutex::default(),
            past: Mutex::default(),
            gaps: Mutex::default(),
            first: Times::new(),
            gap: Times::new(),
            restored: Times::new(),
        }))
    }

    /// A new connection for client `number`, in the place of the one it had.
    pub(super) async fn client(
        &self,
        number: usize,
        publish: bool,
    ) -> Result<Arc<WebRtcClient>, ClientError> {
        let options = if publish { ClientOptions::publish() } else { ClientOptions::play() };
        let options = ClientOptions { bitrate_bps: self.video_bps, ..options };
        let pool = number.checked_rem(self.pools.len()).and_then(|index| self.pools.get(index));
        let pool = pool.ok_or(ClientError::Ended)?;
        let client = Arc::new(pool.client(options).await?);
        let mut slots = self.slots.lock();
        let slot = slots.entry(number).or_insert_with(|| Slot {
            client: None,
            picture: (!publish).then(|| Picture { asked: Instant::now(), last: None, still: false }),
        });
        if let Some(former) = slot.client.replace(Arc::clone(&client)) {
            self.past.lock().add(&former.stats());
        }
        Ok(client)
    }

    /// Client `number` has no connection any more.
    pub(super) fn leave(&self, number: usize) {
        let mut slots = self.slots.lock();
        if let Some(former) = slots.get_mut(&number).and_then(|slot| slot.client.take()) {
            self.past.lock().add(&former.stats());
        }
    }

    /// Looks at every picture once.
    pub(super) fn look(&self, outage: Outage) {
        let now = std::time::Instant::now();
        for slot in self.slots.lock().values_mut() {
            let Some(picture) = &mut slot.picture else { continue };
            let moments = slot.client.as_ref().map(|client| client.picture()).unwrap_or_default();
            match picture.look(moments, now) {
                None => {}
                Some(Seen::First(at)) => self.first.record(Instant::from_std(at) - picture.asked),
                Some(Seen::Stopped) => *self.gaps.lock() += 1,
                Some(Seen::Again { since, at, unseen }) => {
                    *self.gaps.lock() += u64::from(unseen);
                    self.gap.record(at.duration_since(since));
                    let (since, at) = (Instant::from_std(since), Instant::from_std(at));
                    if let Some(listening) = outage.listening.filter(|there| since < *there && at >= *there) {
                        self.restored.record(at - listening);
                    }
                }
            }
        }
    }

    /// How many pictures move, of how many.
    pub(super) fn moving(&self) -> (u64, u64) {
        let slots = self.slots.lock();
        let pictures = slots.values().filter_map(|slot| slot.picture.as_ref());
        pictures.fold((0, 0), |(moving, all), picture| {
            (moving + u64::from(picture.last.is_some() && !picture.still), all + 1)
        })
    }

    /// Whether every player has a picture that moves.
    pub(super) fn moving_all(&self) -> bool {
        let (moving, all) = self.moving();
        moving == all
    }

    pub(super) fn summary(&self) -> MediaSummary {
        let mut sums = std::mem::take(&mut *self.past.lock());
        let mut publishers = 0;
        let mut without_picture = 0;
        for slot in self.slots.lock().values() {
            if let Some(client) = &slot.client {
                sums.add(&client.stats());
            }
            match &slot.picture {
                None => publishers += u64::from(slot.client.is_some()),
                Some(picture) => without_picture += u64::from(picture.last.is_none()),
            }
        }
        let (players_moving, players) = self.moving();
        let delay_ms = |share| sums.delays.quantile_us(share).unwrap_or_default() as f64 / 1_000.0;
        let (delay_p50_ms, delay_p99_ms) = (delay_ms(0.5), delay_ms(0.99));
        MediaSummary {
            publishers,
            players,
            players_moving,
            players_still: players.saturating_sub(players_moving + without_picture),
            players_without_picture: without_picture,
            gaps: *self.gaps.lock(),
            gap: self.gap.percentiles(),
            first_picture: self.first.percentiles(),
            delay_p50_ms,
            delay_p99_ms,
            ..sums.media
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_spans_connections() {
        let begun = std::time::Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let moments =
            |resumed: u64, last: u64| PictureMoments { resumed: Some(at(resumed)), last: Some(at(last)) };
        let mut picture = Picture { asked: Instant::from_std(begun), last: None, still: false };
        assert_eq!(picture.look(PictureMoments::default(), at(900)), None, "none yet is no standstill");
        assert_eq!(picture.look(moments(1_000, 1_040), at(1_050)), Some(Seen::First(at(1_000))));
        assert_eq!(picture.look(moments(1_000, 1_080), at(1_100)), None);
        assert_eq!(picture.look(moments(1_000, 1_080), at(1_600)), Some(Seen::Stopped));
        assert_eq!(picture.look(PictureMoments::default(), at(1_650)), None, "its connection is gone");
        let again = Some(Seen::Again { since: at(1_080), at: at(3_000), unseen: false });
        assert_eq!(picture.look(moments(3_000, 3_010), at(3_020)), again, "over a new connection");
        // A short change of connections is no standstill.
        assert_eq!(picture.look(moments(3_200, 3_200), at(3_210)), None);
        // One that nobody looked at in time is.
        let unseen = Some(Seen::Again { since: at(3_200), at: at(4_000), unseen: true });
        assert_eq!(picture.look(moments(4_000, 4_100), at(4_100)), unseen);
    }
}
