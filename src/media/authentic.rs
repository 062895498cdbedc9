//! Counts the packets that were what they claim to be.
//!
//! `str0m` says nothing of a packet that it could not decrypt, nor of a retransmission or of
//! padding that it could. So its SRTP ciphers are wrapped: what they decrypt was authentic. They
//! are asked only after the authentication, or do it themselves.

use std::{cell::Cell, sync::LazyLock};

use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, CryptoProvider,
    SrtpProvider, SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

thread_local! {
    /// Packets decrypted on this thread: a worker owns all its transports.
    static DECRYPTED: Cell<u64> = const { Cell::new(0) };
}

/// Changes with each SRTP or SRTCP packet that was authentic.
pub(crate) fn decrypted() -> u64 {
    DECRYPTED.get()
}

fn count<T, E>(result: Result<T, E>) -> Result<T, E> {
    if result.is_ok() {
        DECRYPTED.set(DECRYPTED.get().wrapping_add(1));
    }
    result
}

static INNER: LazyLock<CryptoProvider> = LazyLock::new(str0m::crypto::from_feature_flags);

/// The cryptography of all transports.
pub(crate) fn provider() -> CryptoProvider {
    CryptoProvider { srtp_provider: &Counting, ..INNER.clone() }
}

/// Makes ciphers that count.
#[derive(Debug)]
struct Counting;

impl SrtpProvider for Counting {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Self
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Self
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Self
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        INNER.srtp_provider.srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        INNER.srtp_provider.srtp_aes_256_ecb_round(key, input, output);
    }
}

/// A cipher whose successes are counted.
#[derive(Debug)]
struct Counted<C: ?Sized>(Box<C>);

impl SupportedAes128CmSha1_80 for Counting {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        let cipher = INNER.srtp_provider.aes_128_cm_sha1_80().create_cipher(key, encrypt);
        if encrypt { cipher } else { Box::new(Counted(cipher)) }
    }
}

impl SupportedAeadAes128Gcm for Counting {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        let cipher = INNER.srtp_provider.aead_aes_128_gcm().create_cipher(key, encrypt);
        if encrypt { cipher } else { Box::new(Counted(cipher)) }
    }
}

impl SupportedAeadAes256Gcm for Counting {
    fn create_cipher(&self, key: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        let cipher = INNER.srtp_provider.aead_aes_256_gcm().create_cipher(key, encrypt);
        if encrypt { cipher } else { Box::new(Counted(cipher)) }
    }
}

impl Aes128CmSha1_80Cipher for Counted<dyn Aes128CmSha1_80Cipher> {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.0.encrypt(iv, input, output)
    }

    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        count(self.0.decrypt(iv, input, output))
    }
}

macro_rules! counted_gcm {
    ($($cipher:ident),*) => {$(
        impl $cipher for Counted<dyn $cipher> {
            fn encrypt(
                &mut self,
                iv: &[u8; 12],
                aad: &[u8],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<(), CryptoError> {
                self.0.encrypt(iv, aad, input, output)
            }

            fn decrypt(
                &mut self,
                iv: &[u8; 12],
                aads: &[&[u8]],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<usize, CryptoError> {
                count(self.0.decrypt(iv, aads, input, output))
            }
        }
    )*};
}

counted_gcm!(AeadAes128GcmCipher, AeadAes256GcmCipher);
