//! Whether an OCSP answer is signed by whom it has to be: the issuer of the certificate, or somebody whom that one has
//! certified for it (RFC 6960 section 4.2.2.2). Says nothing of what is in it.

use std::time::Duration;

use openssl::{
    error::ErrorStack,
    ocsp::{OcspFlag, OcspResponse},
    stack::Stack,
    x509::{
        X509Ref,
        store::X509StoreBuilder,
        verify::{X509VerifyFlags, X509VerifyParam},
    },
};

/// Checks an answer in DER about a certificate of this issuer, at this time since 1970.
///
/// # Errors
/// Nobody who may has signed it.
pub(super) fn check(der: &[u8], issuer: &X509Ref, now: Duration) -> Result<(), String> {
    verify(der, issuer, now).map_err(|errors| {
        let why = errors.errors().last().and_then(|error| error.reason()).unwrap_or("signature failure");
        format!("is signed neither by the issuer of the certificate nor by whom that one lets sign ({why})")
    })
}

fn verify(der: &[u8], issuer: &X509Ref, now: Duration) -> Result<(), ErrorStack> {
    let mut terms = X509VerifyParam::new()?;
    // The issuer itself is believed, also where it is signed by another.
    terms.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    terms.set_time(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let mut believed = X509StoreBuilder::new()?;
    believed.add_cert(issuer.to_owned())?;
    believed.set_param(&terms)?;
    let mut known = Stack::new()?;
    known.push(issuer.to_owned())?;
    OcspResponse::from_der(der)?.basic()?.verify(&known, &believed.build(), OcspFlag::empty())
}
