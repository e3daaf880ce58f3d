//! Secrets: opened credentials that cannot be printed, the key ring that seals them, masking for what is shown.

mod credentials;
mod keyring;
mod legacy;
mod mask;
mod python;

pub use credentials::Credentials;
pub use keyring::{Binding, KeyRing, OpenError, OpenedBy, SealError, generate};
pub use legacy::LegacyKey;
pub use mask::{mask, mask_members, mask_text};
pub use python::as_python_writes;

/// Marks sealed credentials in the stored data of a command.
pub const SEALED_MEMBER: &str = "$sealed";
