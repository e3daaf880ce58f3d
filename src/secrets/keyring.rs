//! The key ring: the first key seals, all open, and so do the legacy application's where they are
//! configured. A sealed value is bound to its organization, integration and column, so that one
//! moved to another row or column does not open.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use rand::Rng as _;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::legacy::{self, Fernet, LegacyKey};
use crate::domain::{IntegrationId, OrganizationId};

/// Marks what this version sealed; values of the legacy application never begin so.
const MARK: &str = "tw1.";
const NONCE_BYTES: usize = 24;

/// What a sealed value belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// The tenant.
    pub organization: OrganizationId,
    /// The integration.
    pub integration: IntegrationId,
    /// The column it stands in.
    pub column: &'static str,
}

impl Binding {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(self.organization.uuid().as_bytes());
        bytes.extend_from_slice(self.integration.uuid().as_bytes());
        bytes.extend_from_slice(self.column.as_bytes());
        bytes
    }
}

/// Why a value cannot be sealed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// No key is configured.
    #[error("no key is configured; `ticketwire keys generate` makes one for secrets.keys")]
    NoKey,
    /// The cipher failed, which it does for messages of many gigabytes.
    #[error("the value cannot be sealed")]
    Cipher,
}

/// Why a value cannot be opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenError {
    /// Sealed under a key that is not in the ring.
    #[error("it was sealed with the key {0:?}, which is not in secrets.keys")]
    NoSuchKey(String),
    /// Written neither by this program nor by the legacy application.
    #[error("it was sealed neither by Ticketwire nor by the legacy application")]
    NotSealed,
    /// The legacy application's, and no key of it is configured.
    #[error(
        "the legacy application sealed it, and neither secrets.legacy_encryption_key nor \
         secrets.legacy_jwt_secret is configured"
    )]
    NoLegacyKey,
    /// The legacy application's, under a key that is not configured; or it was changed.
    #[error("the legacy application sealed it under another key than {0}, or it was changed")]
    OtherLegacyKey(String),
    /// Changed, or moved to another row or column.
    #[error("it was changed, or belongs to another row or column")]
    Tampered,
}

/// The key that opened a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpenedBy {
    /// One of `secrets.keys`, by its id.
    Key(String),
    /// One of the legacy application's.
    Legacy(LegacyKey),
}

impl fmt::Display for OpenedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => f.write_str(id),
            Self::Legacy(key) => key.fmt(f),
        }
    }
}

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
    hashing: Hmac<Sha256>,
    listening: Hmac<Sha256>,
}

/// The keys, in the order of `secrets.keys`, and the legacy application's, which only open.
pub struct KeyRing {
    keys: Vec<Key>,
    legacy: Vec<Fernet>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.keys.iter().map(|key| key.id.as_str()).collect();
        write!(f, "KeyRing({})", ids.join(", "))
    }
}

impl KeyRing {
    /// Parses `id:base64(32 bytes)` entries; an empty list is an empty ring, which opens and seals
    /// nothing.
    ///
    /// # Errors
    /// What is wrong with which entry, by position; never the entry itself.
    pub fn parse(entries: &[SecretString]) -> Result<Self, String> {
        let mut keys: Vec<Key> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let wrong = |fault: &str| {
                format!(
                    "entry {} {fault}; `ticketwire keys generate` makes one",
                    index + 1
                )
            };
            let (id, encoded) = entry
                .expose_secret()
                .split_once(':')
                .ok_or_else(|| wrong("is not of the form id:base64"))?;
            let sound = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if id.is_empty() || id.len() > 64 || !id.chars().all(sound) {
                return Err(wrong("has an id that is not of letters, digits, - and _"));
            }
            if keys.iter().any(|key| key.id == id) {
                return Err(wrong("has an id that another entry has"));
            }
            let bytes = STANDARD
                .decode(encoded.trim())
                .map_err(|_| wrong("is not valid base64 after the colon"))?;
            if bytes.len() != 32 {
                return Err(wrong("does not decode to 32 bytes"));
            }
            let cipher =
                XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| wrong("is no key"))?;
            // Subkeys of their own, so that hashing says nothing about sealing.
            let subkey = |label: &[u8]| {
                let derive = Hmac::<Sha256>::new_from_slice(&bytes).ok()?;
                let derived = derive.chain_update(label).finalize().into_bytes();
                Hmac::<Sha256>::new_from_slice(&derived).ok()
            };
            let no_key = || wrong("is no key");
            keys.push(Key {
                id: id.to_owned(),
                cipher,
                hashing: subkey(b"ticketwire keyed hash").ok_or_else(no_key)?,
                listening: subkey(b"ticketwire listener").ok_or_else(no_key)?,
            });
        }
        Ok(Self {
            keys,
            legacy: Vec::new(),
        })
    }

    /// Adds the legacy application's keys, where they are configured.
    ///
    /// # Errors
    /// What is wrong with the encryption key; never the key. A JWT secret may be any text.
    pub fn with_legacy(
        mut self,
        encryption_key: Option<&SecretString>,
        jwt_secret: Option<&SecretString>,
    ) -> Result<Self, String> {
        let first = encryption_key.map(Fernet::of_encryption_key).transpose()?;
        let second = jwt_secret.map(Fernet::of_jwt_secret);
        self.legacy = first.into_iter().chain(second).collect();
        Ok(self)
    }

    /// The ids of the keys, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// The legacy application's keys that are configured.
    pub fn legacy_keys(&self) -> impl Iterator<Item = LegacyKey> {
        self.legacy.iter().map(|key| key.source)
    }

    /// Whether there is no key at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn sealing_key(&self) -> Option<&str> {
        self.keys.first().map(|key| key.id.as_str())
    }

    /// The id of the key a value was sealed with, if this program sealed it.
    #[must_use]
    pub fn key_of(sealed: &str) -> Option<&str> {
        sealed.strip_prefix(MARK)?.split_once('.').map(|(id, _)| id)
    }

    /// Seals a value under the first key.
    ///
    /// # Errors
    /// [`SealError::NoKey`] with an empty ring.
    pub fn seal(&self, binding: &Binding, plain: &[u8]) -> Result<String, SealError> {
        let key = self.keys.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0u8; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let aad = binding.bytes();
        let sealed = key
            .cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: &aad,
                },
            )
            .map_err(|_| SealError::Cipher)?;
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&sealed);
        Ok(format!(
            "{MARK}{}.{}",
            key.id,
            URL_SAFE_NO_PAD.encode(bytes)
        ))
    }

    /// Opens a value.
    ///
    /// # Errors
    /// [`OpenError`]; its text may be published.
    pub fn open(&self, binding: &Binding, sealed: &str) -> Result<Vec<u8>, OpenError> {
        self.open_and_tell(binding, sealed).map(|(plain, _)| plain)
    }

    /// Opens a value and tells which key did. Nothing binds the legacy application's values to
    /// their place.
    ///
    /// # Errors
    /// [`OpenError`]; its text may be published.
    pub fn open_and_tell(
        &self,
        binding: &Binding,
        sealed: &str,
    ) -> Result<(Vec<u8>, OpenedBy), OpenError> {
        match sealed.strip_prefix(MARK).and_then(|s| s.split_once('.')) {
            Some((id, encoded)) => {
                let plain = self.open_ours(binding, id, encoded)?;
                Ok((plain, OpenedBy::Key(id.to_owned())))
            }
            None => self.open_legacy(sealed),
        }
    }

    fn open_legacy(&self, sealed: &str) -> Result<(Vec<u8>, OpenedBy), OpenError> {
        let opened = self.legacy.iter().find_map(|key| {
            let plain = key.open(sealed)?;
            Some((plain, OpenedBy::Legacy(key.source)))
        });
        opened.ok_or_else(|| {
            if !legacy::is_legacy(sealed) {
                return OpenError::NotSealed;
            }
            let configured: Vec<&str> = self.legacy_keys().map(LegacyKey::setting).collect();
            if configured.is_empty() {
                return OpenError::NoLegacyKey;
            }
            OpenError::OtherLegacyKey(configured.join(" and "))
        })
    }

    /// Seals a value as the legacy application does, for the way back to it: bound to nothing.
    /// `None` where that key is not configured.
    #[must_use]
    pub fn seal_for_legacy(&self, key: LegacyKey, plain: &[u8], seconds: u64) -> Option<String> {
        let key = self.legacy.iter().find(|legacy| legacy.source == key)?;
        key.seal(plain, seconds)
    }

    fn open_ours(&self, binding: &Binding, id: &str, encoded: &str) -> Result<Vec<u8>, OpenError> {
        let key = self
            .keys
            .iter()
            .find(|key| key.id == id)
            .ok_or_else(|| OpenError::NoSuchKey(id.to_owned()))?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| OpenError::Tampered)?;
        let (nonce, body) = bytes
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(OpenError::Tampered)?;
        let aad = binding.bytes();
        key.cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: body,
                    aad: &aad,
                },
            )
            .map_err(|_| OpenError::Tampered)
    }

    /// Hashes that only holders of the keys can make, one a key in their order: secrets of repeated
    /// commands are compared by them.
    #[must_use]
    pub fn keyed_hashes(&self, data: &[u8]) -> Vec<[u8; 32]> {
        let hash = |key: &Key| key.hashing.clone().chain_update(data).finalize();
        let hashes = self.keys.iter().map(hash);
        hashes.map(|hash| hash.into_bytes().into()).collect()
    }

    /// A proof, by the first key, that this text is the listener's: the key's id and an
    /// HMAC-SHA256 in hexadecimal. `None` where there is no key.
    #[must_use]
    pub fn vouch(&self, text: &[u8]) -> Option<String> {
        let key = self.keys.first()?;
        let proof = key.listening.clone().chain_update(text).finalize();
        Some(format!("{}:{}", key.id, hex::encode(proof.into_bytes())))
    }

    /// Whether a proof is one of this text, by any of the keys; compared in constant time.
    #[must_use]
    pub fn is_vouched(&self, text: &[u8], proof: &str) -> bool {
        let Some((id, proof)) = proof.split_once(':') else {
            return false;
        };
        let key = self.keys.iter().find(|key| key.id == id);
        let (Some(key), Ok(proof)) = (key, hex::decode(proof)) else {
            return false;
        };
        let made = key.listening.clone().chain_update(text);
        made.verify_slice(&proof).is_ok()
    }
}

/// A new random key as an entry of `secrets.keys`.
#[must_use]
pub fn generate(id: &str) -> String {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    format!("{id}:{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn ring(ids: &[&str]) -> KeyRing {
        let entries: Vec<SecretString> = ids
            .iter()
            .map(|id| {
                format!(
                    "{id}:{}",
                    STANDARD.encode([u8::try_from(id.len()).unwrap(); 32])
                )
                .into()
            })
            .collect();
        KeyRing::parse(&entries).unwrap()
    }

    fn binding() -> Binding {
        Binding {
            organization: OrganizationId::new(Uuid::from_u128(1)),
            integration: IntegrationId::new(Uuid::from_u128(2)),
            column: "credentials_encrypted",
        }
    }

    #[test]
    fn what_is_sealed_opens_only_where_it_belongs() {
        let ring = ring(&["one"]);
        let sealed = ring.seal(&binding(), b"t0ps3cret").unwrap();

        assert_eq!(ring.open(&binding(), &sealed).unwrap(), b"t0ps3cret");
        let moved = [
            Binding {
                organization: OrganizationId::new(Uuid::from_u128(9)),
                ..binding()
            },
            Binding {
                integration: IntegrationId::new(Uuid::from_u128(9)),
                ..binding()
            },
            Binding {
                column: "webhook_secret_encrypted",
                ..binding()
            },
        ];
        for elsewhere in moved {
            assert_eq!(ring.open(&elsewhere, &sealed), Err(OpenError::Tampered));
        }
        let last = if sealed.ends_with('A') { "B" } else { "A" };
        let changed = format!("{}{last}", &sealed[..sealed.len() - 1]);
        assert_eq!(ring.open(&binding(), &changed), Err(OpenError::Tampered));
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let old = ring(&["old"]).seal(&binding(), b"x").unwrap();
        let rotated = ring(&["brandnew", "old"]);

        assert_eq!(rotated.open(&binding(), &old).unwrap(), b"x");
        assert_eq!(
            KeyRing::key_of(&rotated.seal(&binding(), b"x").unwrap()),
            Some("brandnew")
        );
        assert_eq!(
            ring(&["brandnew"]).open(&binding(), &old),
            Err(OpenError::NoSuchKey("old".into()))
        );
        assert_eq!(
            rotated.open(&binding(), "Z0FBQUFB"),
            Err(OpenError::NoLegacyKey)
        );
        assert_eq!(rotated.open(&binding(), "{}"), Err(OpenError::NotSealed));
    }

    #[test]
    fn values_of_both_legacy_keys_open_and_say_which_key_they_need() {
        let encryption_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into();
        let jwt_secret = "example-jwt-secret".into();
        let both = |ring: KeyRing| ring.with_legacy(Some(&encryption_key), Some(&jwt_secret));
        let both = both(ring(&["one"])).unwrap();

        for key in [LegacyKey::EncryptionKey, LegacyKey::JwtSecret] {
            let sealed = both.seal_for_legacy(key, b"{}", 1).unwrap();
            let opened = both.open_and_tell(&binding(), &sealed).unwrap();
            assert_eq!(opened, (b"{}".to_vec(), OpenedBy::Legacy(key)));
        }

        let sealed = both
            .seal_for_legacy(LegacyKey::JwtSecret, b"{}", 1)
            .unwrap();
        let other = ring(&["one"])
            .with_legacy(Some(&encryption_key), None)
            .unwrap();
        let error = other.open(&binding(), &sealed).unwrap_err();
        assert_eq!(
            error,
            OpenError::OtherLegacyKey("secrets.legacy_encryption_key".into())
        );
        assert_eq!(other.seal_for_legacy(LegacyKey::JwtSecret, b"{}", 1), None);
    }

    #[test]
    fn an_empty_ring_says_how_to_make_a_key() {
        let empty = KeyRing::parse(&[]).unwrap();

        let error = empty.seal(&binding(), b"x").unwrap_err();

        assert_eq!(error, SealError::NoKey);
        assert!(error.to_string().contains("ticketwire keys generate"));
        assert!(empty.keyed_hashes(b"x").is_empty());
    }

    #[test]
    fn faults_and_debug_never_show_a_key() {
        let entry = generate("one");
        let secret = entry.split_once(':').unwrap().1.to_owned();
        let short = format!("two:{}", &secret[..20]);

        let fault = KeyRing::parse(&[short.as_str().into()]).unwrap_err();
        let ring = KeyRing::parse(&[entry.into()]).unwrap();

        assert!(fault.contains("entry 1") && !fault.contains(&secret[..20]));
        assert_eq!(format!("{ring:?}"), "KeyRing(one)");
    }
}
