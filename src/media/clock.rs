//! When was a packet captured? The sender's reports tie its media clocks to one wall clock; the
//! reports we send must tell the same story, or picture and sound drift apart.

use std::time::{Duration, Instant, SystemTime};

/// We place captures this far in the past, so that no report lies in the future, however its
/// packets were delayed. It is the same for all media of a leg, so their distance stays.
const MARGIN: Duration = Duration::from_millis(200);

/// A report this far from now is not believed.
const SKEW_MAX: Duration = Duration::from_secs(10);

/// The wall clock of one sender.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SenderClock {
    /// A moment on the sender's clock, and the same moment on ours.
    base: Option<(SystemTime, Instant)>,
}

/// What a sender's report said of one medium.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) wall: SystemTime,
    pub(crate) timestamp: u32,
}

impl SenderClock {
    /// When the packet with this timestamp was captured, on our clock.
    pub(crate) fn capture(
        &mut self,
        report: Option<Report>,
        timestamp: u32,
        clock_rate: u32,
        now: Instant,
    ) -> Instant {
        let arrived = now.checked_sub(MARGIN).unwrap_or(now);
        let Some(report) = report else { return arrived };
        let (base_wall, base_here) = *self.base.get_or_insert((report.wall, now));
        let ticks = f64::from(timestamp.wrapping_sub(report.timestamp).cast_signed());
        let report_offset = match report.wall.duration_since(base_wall) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        };
        let offset = report_offset + ticks / f64::from(clock_rate.max(1)) - MARGIN.as_secs_f64();
        let capture = if offset >= 0.0 {
            Duration::try_from_secs_f64(offset).ok().and_then(|d| base_here.checked_add(d))
        } else {
            Duration::try_from_secs_f64(-offset).ok().and_then(|d| base_here.checked_sub(d))
        };
        match capture {
            Some(at) if at <= now && now.saturating_duration_since(at) <= SKEW_MAX => at,
            Some(at) if at > now && at.saturating_duration_since(now) <= SKEW_MAX => now,
            _ => arrived,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn media_of_one_sender_keep_their_distance() {
        let now = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut clock = SenderClock::default();
        // Audio captured 40 ms before the video it belongs to, with clocks that start anywhere.
        let audio = Report { wall, timestamp: u32::MAX - 100 };
        let video = Report { wall: wall + Duration::from_millis(10), timestamp: 7 };
        let audio_at = clock.capture(Some(audio), audio.timestamp.wrapping_add(48 * 50), 48_000, now);
        let video_at = clock.capture(Some(video), video.timestamp + 90 * 80, 90_000, now);
        let distance = video_at - audio_at;
        assert!(distance.abs_diff(Duration::from_millis(40)) < Duration::from_micros(100), "{distance:?}");
    }

    proptest! {
        #[test]
        fn never_in_the_future_and_never_long_ago(
            wall_ms in 0_u64..1 << 45, reported in any::<u32>(), timestamp in any::<u32>(), rate in any::<u32>(), step_ms in 0_u64..100_000,
        ) {
            let start = Instant::now() + Duration::from_secs(100);
            let mut clock = SenderClock::default();
            for step in 0..3_u64 {
                let now = start + Duration::from_millis(step * step_ms);
                let report = Report { wall: SystemTime::UNIX_EPOCH + Duration::from_millis(wall_ms), timestamp: reported };
                let at = clock.capture(Some(report), timestamp.wrapping_mul(step as u32), rate, now);
                prop_assert!(at <= now);
                prop_assert!(now - at <= SKEW_MAX);
            }
        }
    }
}
