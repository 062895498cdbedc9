//! Deliberate faults, one for each rule: what a broken core or a broken worker would do. They show
//! that each rule bites; the core knows nothing of them.

use crate::media::{MediaSettings, output::Output, output::Via};

use super::{rules::Rule, wire::Rtp, world::World};

/// A way to break a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    CountBackwards,
    TurnTimeBack,
    ChangeSource,
    SendToStrangers,
    SendToWrongUpstream,
    FollowAnybody,
    RepeatNumbers,
    PassForgeries,
    PassOldEpochs,
    StartAnywhere,
    LooseBounds,
    LoseEverything,
    KeepSockets,
    LeaveStreams,
}

/// Every fault and the rule that must catch it.
pub(super) const ALL: &[(Sabotage, Rule)] = &[
    (Sabotage::CountBackwards, Rule::Sequence),
    (Sabotage::TurnTimeBack, Rule::Time),
    (Sabotage::ChangeSource, Rule::OneSource),
    (Sabotage::SendToStrangers, Rule::CheckedOnly),
    (Sabotage::SendToWrongUpstream, Rule::CheckedOnly),
    (Sabotage::FollowAnybody, Rule::NotLedAway),
    (Sabotage::RepeatNumbers, Rule::KeyOnce),
    (Sabotage::PassForgeries, Rule::OwnMediaOnly),
    (Sabotage::PassOldEpochs, Rule::OwnMediaOnly),
    (Sabotage::StartAnywhere, Rule::Decodable),
    (Sabotage::LooseBounds, Rule::Bounds),
    (Sabotage::LoseEverything, Rule::Flows),
    (Sabotage::KeepSockets, Rule::Clean),
    (Sabotage::LeaveStreams, Rule::Clean),
];

impl Sabotage {
    /// Settings that differ from the promised ones.
    pub(super) fn unsettle(self, promised: &MediaSettings) -> MediaSettings {
        match self {
            Self::LooseBounds => MediaSettings { addresses_per_transport_max: 64, ..promised.clone() },
            _ => promised.clone(),
        }
    }

    /// Every so many packets of media are touched: seldom enough that others are as they should be.
    const PACE: u64 = 50;

    fn distort(self, rtp: &mut Rtp) {
        match self {
            Self::CountBackwards => rtp.sequence += 10_000,
            Self::TurnTimeBack => rtp.timestamp = rtp.timestamp.wrapping_sub(1 << 20),
            Self::ChangeSource => rtp.ssrc ^= 1,
            Self::PassForgeries => rtp.payload[2] ^= 0x80,
            _ => {}
        }
    }
}

impl World {
    /// What is really done of what the core says.
    pub(super) fn tampered(&mut self, outputs: Vec<Output>) -> Vec<Output> {
        let Some(sabotage) = self.sabotage else { return outputs };
        outputs.into_iter().flat_map(|output| self.tamper(sabotage, output)).collect()
    }

    fn tamper(&mut self, sabotage: Sabotage, output: Output) -> Vec<Output> {
        let Output::Transmit { via, to, contents } = output else {
            let is_kept = sabotage == Sabotage::KeepSockets && matches!(output, Output::CloseSocket(_));
            return if is_kept { Vec::new() } else { vec![output] };
        };
        let rtp = Rtp::decode(&contents).filter(|_| contents.first() == Some(&0x80));
        let Some(mut rtp) = rtp else { return vec![Output::Transmit { via, to, contents }] };
        let turn = self.fresh().is_multiple_of(Sabotage::PACE);
        let is_client = matches!(via, Via::Clients(_));
        let mut to = to;
        match sabotage {
            Sabotage::LoseEverything => return Vec::new(),
            Sabotage::SendToStrangers if turn && is_client => to = self.fresh_address(),
            Sabotage::SendToWrongUpstream if turn && !is_client => to = self.fresh_address(),
            Sabotage::FollowAnybody if is_client => {
                to = ([10, 66, 0, 1], 6).into();
                self.watch.checked.insert(to);
            }
            Sabotage::RepeatNumbers => {
                let number = rtp.sequence;
                if turn {
                    rtp.marker = !rtp.marker;
                    let again = Output::Transmit { via, to, contents: rtp.encode().into() };
                    rtp.marker = !rtp.marker;
                    assert_eq!(rtp.sequence, number);
                    return vec![Output::Transmit { via, to, contents }, again];
                }
            }
            // The first picture of each leg is lost on its way out.
            Sabotage::StartAnywhere if self.is_start(&rtp) => return Vec::new(),
            Sabotage::PassOldEpochs if turn && is_client => {
                // The number of what a server sent that is long lost.
                let old = self
                    .contents
                    .iter()
                    .find(|(_, content)| self.is_of_old_epoch(content))
                    .map(|(id, _)| *id);
                if let Some(old) = old {
                    rtp.payload[2..10].copy_from_slice(&old.to_be_bytes());
                }
            }
            _ if turn => sabotage.distort(&mut rtp),
            _ => {}
        }
        vec![Output::Transmit { via, to, contents: rtp.encode().into() }]
    }
}
