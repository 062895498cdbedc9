//! Deliberate faults, one for each rule: what a broken core or a broken worker would do. They show
//! that each rule bites; the core knows nothing of them.

use crate::media::{
    Client, MediaCommand, MediaSettings,
    output::{Output, Via},
    routes::Origin,
};

use super::{peer::Content, rules::Rule, wire::Rtp, world::World};

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
    PassWhatIsLeft,
    KeepWhatIsLeft,
    StayAtTheNew,
    BreakBeforeMake,
    StartAnywhere,
    LooseBounds,
    LoseEverything,
    KeepSockets,
    LeaveStreams,
    TearFrames,
    SwallowBytes,
    WriteToNobody,
    LetBacklogGrow,
    LetStrangersStay,
    ReadAllOfStrangers,
    HideTheEnd,
    HideThatNothingIsFound,
    KeepConnections,
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
    (Sabotage::PassWhatIsLeft, Rule::SwitchedOnce),
    (Sabotage::KeepWhatIsLeft, Rule::OwnMediaOnly),
    (Sabotage::StayAtTheNew, Rule::OwnMediaOnly),
    (Sabotage::BreakBeforeMake, Rule::Seamless),
    (Sabotage::StartAnywhere, Rule::Decodable),
    (Sabotage::TearFrames, Rule::Frames),
    (Sabotage::SwallowBytes, Rule::Frames),
    (Sabotage::WriteToNobody, Rule::Connected),
    (Sabotage::LetBacklogGrow, Rule::Bounds),
    (Sabotage::LetStrangersStay, Rule::Strangers),
    (Sabotage::ReadAllOfStrangers, Rule::Strangers),
    (Sabotage::HideTheEnd, Rule::Told),
    (Sabotage::HideThatNothingIsFound, Rule::Told),
    (Sabotage::KeepConnections, Rule::Clean),
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
            Self::LetBacklogGrow => MediaSettings { tcp_output_bytes_max: 1 << 20, ..promised.clone() },
            Self::LetStrangersStay => {
                MediaSettings { tcp_unchecked_max: promised.tcp_unchecked_max * 10, ..promised.clone() }
            }
            Self::ReadAllOfStrangers => {
                MediaSettings { tcp_unchecked_bytes_max: 1 << 20, ..promised.clone() }
            }
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

    /// What the core really hears of what its session says.
    pub(super) fn tampered_with(&self, command: MediaCommand<Client>) -> Option<MediaCommand<Client>> {
        match (self.sabotage, command) {
            (Some(Sabotage::KeepWhatIsLeft), MediaCommand::LetGo { .. })
            | (Some(Sabotage::StayAtTheNew), MediaCommand::Return { .. }) => None,
            (
                Some(Sabotage::BreakBeforeMake),
                MediaCommand::Attach { key, epoch, narrow, refuse_h264, beside: true },
            ) if self.healing => {
                Some(MediaCommand::Attach { key, epoch, narrow, refuse_h264, beside: false })
            }
            (_, command) => Some(command),
        }
    }

    fn tamper_with_ways(&self, sabotage: Sabotage, output: Output) -> Vec<Output> {
        match (sabotage, &output) {
            (Sabotage::KeepSockets, Output::CloseSocket(_)) => Vec::new(),
            // While there is traffic the next thing on such a connection would tell.
            (Sabotage::KeepConnections, Output::Close { .. }) if self.ending => Vec::new(),
            (Sabotage::WriteToNobody, Output::Close { connection, .. }) => {
                let write = Output::Write(*connection);
                vec![output, write]
            }
            _ => vec![output],
        }
    }

    fn tamper(&mut self, sabotage: Sabotage, output: Output) -> Vec<Output> {
        let Output::Transmit { via, to, contents } = output else {
            return self.tamper_with_ways(sabotage, output);
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
                self.watch.checked.insert(Origin::udp(to));
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
            Sabotage::PassWhatIsLeft if turn && is_client => {
                let left = self.line_of(rtp.key).and_then(|line| self.lines[line].moving.from());
                let of_left = |(_, content): &(&u64, &Content)| Some(content.leg) == left;
                if let Some((id, _)) = self.contents.iter().rev().find(of_left) {
                    rtp.payload[2..10].copy_from_slice(&id.to_be_bytes());
                }
            }
            _ if turn => sabotage.distort(&mut rtp),
            _ => {}
        }
        vec![Output::Transmit { via, to, contents: rtp.encode().into() }]
    }
}
