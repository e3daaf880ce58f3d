//! Secrets: opened credentials that cannot be printed, the key ring that seals them, masking for what is shown.

mod credentials;
mod keyring;
mod mask;

pub use credentials::Credentials;
pub use keyring::{Binding, KeyRing, OpenError, SealError, generate};
pub use mask::{mask, mask_members, mask_text};
