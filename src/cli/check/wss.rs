//! What clients of wss are shown, and have to show: certificates, OCSP answers, lists of revoked ones.

use std::{
    io::Write,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    cli::Failure,
    config::{ClientAuth, Config, ListenSettings, ServerPattern},
    milliseconds::since_1970,
    net::certificates::{Certificates, RevocationLists, StapleStatus},
};

use super::{certificates, report::Report};

impl<W: Write> Report<'_, W> {
    pub(super) fn listeners(&mut self, config: &Config) -> Result<(), Failure> {
        let listen = &config.net.listen;
        let mut is_wrong = false;
        for one in listen.all_certificates() {
            is_wrong |= self.certificate(&one.cert);
        }
        if is_wrong {
            // Whether their keys fit is another question, and TLS has no answer for such ones.
            return Err(self.refused());
        }
        self.shown(listen)?;
        for (address, tls) in listen.listeners() {
            let scheme = if tls { "wss" } else { "ws" };
            self.say("listen", format!("{scheme}://{address}"));
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(self.refused()) }
    }

    /// What clients of wss are shown, and have to show.
    fn shown(&mut self, listen: &ListenSettings) -> Result<(), Failure> {
        let shown = Certificates::new(listen)?;
        for (one, _) in shown.identities() {
            let (file, count) = (one.file().display(), certificates(one.chain_length()));
            self.say("tls", format!("{file} ({count}), key matches{}", named(one.names())));
            if let Some(staple) = one.staple(since_1970().as_secs()) {
                self.staple(&staple, one.file());
            }
            for strange in one.names().iter().filter(|name| !one.has_name(name)) {
                self.say(
                    "warning",
                    format!("{file} is shown for {strange}, which is not in it: clients refuse it"),
                );
            }
        }
        if let Some((count, ca)) = shown.client_roots().zip(listen.client_ca.as_ref()) {
            let count = certificates(count);
            let have = if listen.client_auth == ClientAuth::Required { "have to" } else { "may" };
            self.say("clients", format!("{have} show a certificate signed by {} ({count})", ca.display()));
        }
        if let Some(lists) = shown.revocation_lists() {
            self.revocations(&lists);
        }
        Ok(())
    }

    fn staple(&mut self, staple: &StapleStatus<'_>, certificate: &Path) {
        let ocsp = staple.file.display();
        match staple.trouble {
            Some(why) => self.say("warning", format!("{ocsp}: this OCSP answer {why}: it is not shown")),
            None => self.say("tls", format!("{ocsp} goes with it")),
        }
        if staple.is_shown && !staple.is_verified {
            self.say(
                "warning",
                format!(
                    "{ocsp}: who signed this OCSP answer is not checked: the issuer's certificate is not in {}",
                    certificate.display()
                ),
            );
        }
    }

    /// By what certificates of clients are refused.
    fn revocations(&mut self, lists: &RevocationLists) {
        let file = lists.file.display();
        let Some(until) = lists.until.and_then(|until| u64::try_from(until).ok()) else { return };
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(until));
        if until > since_1970().as_secs() {
            self.say("clients", format!("those revoked by {file} are refused, which is valid until {date}"));
        } else if lists.refuses_when_ended {
            let wrong = format!(
                "{file} ended on {date}: clients that show a certificate are refused until there is a new one \
                 (listen.client_crl_ended)"
            );
            self.say("wrong", &wrong);
            self.wrong.push(wrong);
        } else {
            let text =
                format!("{file} ended on {date} and goes on to count: what was revoked since is not known");
            self.say("warning", text);
        }
    }
}

/// The first names of a certificate.
fn named(names: &[ServerPattern]) -> String {
    const TOLD_MAX: usize = 4;
    let told = names.iter().take(TOLD_MAX).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(TOLD_MAX) {
        _ if names.is_empty() => String::new(),
        0 => format!(", for {told}"),
        more => format!(", for {told} and {more} more"),
    }
}
