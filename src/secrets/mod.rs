//! Secrets: opened credentials that cannot be printed, the key ring that seals them, masking for
//! what is shown, and the redactor that takes known secrets out of what others wrote.

mod credentials;
mod escapes;
mod keyring;
mod legacy;
mod mask;
mod python;
mod redact;

pub use credentials::{Credentials, opened_text};
pub use keyring::{Binding, KeyRing, OpenError, OpenedBy, SealError, generate};
pub use legacy::LegacyKey;
pub use mask::{is_secret_member, mask, mask_members, mask_text};
pub use python::as_python_writes;
pub use redact::{Reach, Redactor, Redactors, SHORTEST};

/// Marks sealed credentials in the stored data of a command.
pub const SEALED_MEMBER: &str = "$sealed";
/// Marks credentials that could not be sealed, and so were not stored.
pub const NOT_STORED_MEMBER: &str = "$not_stored";
