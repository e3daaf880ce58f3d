//! Keys that sign, by the specification's two schemes.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::Ed25519KeyPair;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::platforms::AdapterError;

/// Secrets are published with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// A key that signs.
pub(super) enum Signer {
    /// `v1`: HMAC-SHA256 with the decoded secret.
    Symmetric(Vec<u8>),
    /// `v1a`: ed25519.
    Asymmetric(Box<Ed25519KeyPair>),
}

impl Signer {
    /// `whsec_…`, `whsk_…`, or base64 without a prefix, which is symmetric.
    pub(super) fn parse(name: &str, secret: &SecretString) -> Result<Self, AdapterError> {
        let fault = |text: &str| AdapterError::field(&format!("credentials.{name}"), text);
        let text = secret.expose_secret().trim();
        let (asymmetric, encoded) = match text.strip_prefix("whsk_") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("whsec_").unwrap_or(text)),
        };
        let key = LENIENT
            .decode(encoded)
            .map_err(|_| fault("must be whsec_ or whsk_ followed by base64"))?;
        if asymmetric {
            // The seed and the public key, one behind the other.
            let (seed, public) = key
                .split_at_checked(32)
                .filter(|(_, public)| public.len() == 32)
                .ok_or_else(|| fault("must hold 64 bytes: the seed and the public key"))?;
            let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public)
                .map_err(|_| fault("its public key is not that of its seed"))?;
            return Ok(Self::Asymmetric(Box::new(pair)));
        }
        if key.is_empty() {
            return Err(fault("must not be empty"));
        }
        Ok(Self::Symmetric(key))
    }

    pub(super) fn sign(&self, text: &[u8]) -> Result<String, AdapterError> {
        match self {
            Self::Symmetric(key) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| {
                    AdapterError::field(
                        "credentials.signing_secret",
                        "is not a key for HMAC-SHA256",
                    )
                })?;
                mac.update(text);
                Ok(format!(
                    "v1,{}",
                    STANDARD.encode(mac.finalize().into_bytes())
                ))
            }
            Self::Asymmetric(pair) => {
                Ok(format!("v1a,{}", STANDARD.encode(pair.sign(text).as_ref())))
            }
        }
    }
}

#[cfg(test)]
mod tests;
