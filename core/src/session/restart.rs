//! Mode `restart` (protocol S3.6): after an outage that cost a client streams it gets a second
//! `getUserData`, at which its page starts them again. Keeps what is needed for that; when it is said is
//! decided by others.

use super::{Timestamp, kept::texts, packed::Packed};

/// The second `getUserData` of a session, if it is to have one.
#[derive(Debug, Default)]
pub(super) struct Restart(Option<Box<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    /// When it goes out, unless the client starts something by itself; `None` until the new
    /// epoch stands.
    at: Option<Timestamp>,
    /// The `getUserData` of the new epoch.
    user_data: Option<Packed>,
    /// A stream was reported: without that nobody needs to be started again.
    wanted: bool,
    /// Names of reported publishes: their page is expected to publish them again, so plays of
    /// them wait.
    names: Vec<Box<str>>,
}

/// A plan that is carried out, or came to nothing.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) user_data: Option<Packed>,
    /// From now on these names count as lost a moment ago.
    pub(super) names: Vec<Box<str>>,
}

impl Restart {
    fn plan(&mut self) -> &mut Plan {
        self.0.get_or_insert_default()
    }

    /// When it is due.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.0.as_ref().and_then(|plan| plan.at)
    }

    /// A stream was reported because of an outage.
    pub(super) fn want(&mut self) {
        self.plan().wanted = true;
    }

    /// The `getUserData` of the new epoch, if it may be kept.
    pub(super) fn load(&mut self, user_data: Option<Packed>) {
        self.plan().user_data = user_data;
    }

    /// The publish of this name was reported, and will be back; false if too many are.
    pub(super) fn expect(&mut self, name: &str, names_max: usize) -> bool {
        let plan = self.plan();
        let fits = plan.names.len() < names_max;
        if fits {
            plan.names.push(name.into());
        }
        fits
    }

    /// The new epoch stands: it is due then, or as planned before. False if nobody wants it.
    pub(super) fn arm(&mut self, at: Timestamp) -> bool {
        match &mut self.0 {
            Some(plan) if plan.wanted => plan.at = plan.at.or(Some(at)),
            _ => return false,
        }
        true
    }

    /// It waits for the next epoch to stand.
    pub(super) fn disarm(&mut self) {
        if let Some(plan) = &mut self.0 {
            plan.at = None;
        }
    }

    /// It is carried out, or not needed any more.
    pub(super) fn take(&mut self) -> Option<Planned> {
        let plan = self.0.take()?;
        Some(Planned { user_data: plan.user_data, names: plan.names })
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let of_plan = |plan: &Plan| {
            size_of::<Plan>() + plan.user_data.as_ref().map_or(0, Packed::len_bytes) + texts(&plan.names)
        };
        self.0.as_deref().map_or(0, of_plan)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_only_where_it_is_wanted_and_once() {
        let (mut restart, at) = (Restart::default(), Timestamp::from_ms(500));
        restart.load(Some(Packed::plain(b"{}")));
        assert!(!restart.arm(at) && restart.deadline().is_none(), "nobody lost a stream");
        restart.want();
        assert!(restart.arm(at) && restart.arm(Timestamp::from_ms(900)));
        assert_eq!(restart.deadline(), Some(at), "the first time stands");
        restart.disarm();
        assert_eq!(restart.deadline(), None);
        assert_eq!(restart.take().unwrap().user_data.unwrap().unpack(), b"{}");
        assert!(restart.take().is_none() && restart.bytes() == 0);
    }

    #[test]
    fn the_names_that_are_expected_again_are_bounded() {
        let mut restart = Restart::default();
        assert!(restart.expect("a", 1) && !restart.expect("b", 1));
        assert_eq!(restart.take().unwrap().names, ["a".into()]);
    }
}
