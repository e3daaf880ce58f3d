//! What a worker looks at when it starts, and says at once: nothing of it keeps it from starting.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secrecy::SecretString;

use crate::secrets::{Binding, KeyRing};
use crate::store::seals::{self, SealedColumn};
use crate::store::{StoreError, chain, connect};

/// Below so many file descriptors a busy worker may run out: connections to platforms are its
/// largest share.
pub const DESCRIPTORS_WANTED: u64 = 4096;

/// Sealed values that are read at a time.
const BATCH: i64 = 500;

/// How many files and connections this process may have open: now, and at most. `None`: as many as
/// it likes.
#[must_use]
pub fn descriptors() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Raises the limit of open files as far as this process may, and warns where that is little.
pub fn raise_descriptors() {
    let (current, maximum) = descriptors();
    if current != maximum {
        let all = Rlimit {
            current: maximum,
            maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, all) {
            tracing::debug!(error = %error, "the limit of open files stays as it is");
        }
    }
    let (current, _) = descriptors();
    if let Some(limit) = current.filter(|limit| *limit < DESCRIPTORS_WANTED) {
        tracing::warn!(
            limit,
            wanted = DESCRIPTORS_WANTED,
            "few files and connections may be open at once: raise the limit (`ulimit -Hn`, \
             systemd's LimitNOFILE)"
        );
    }
}

/// Whether attachments can be kept for the moment it takes to send them; else why not.
///
/// # Errors
/// The directory, what is wrong with it, and what to do.
pub fn check_temporary_directory() -> Result<(), String> {
    tempfile::tempfile().map(drop).map_err(|error| {
        format!(
            "the temporary directory {} cannot be written to ({error}), so no attachment from a \
             URL can be sent: mend it, or name another one in TMPDIR",
            std::env::temp_dir().display()
        )
    })
}

/// Warns of credentials that no key opens: their commands will fail with `credentials_unreadable`.
pub async fn report_unreadable(url: &SecretString, ring: &KeyRing) {
    match unreadable(url, ring).await {
        Ok(Unreadable { integrations, .. }) if integrations.is_empty() => {}
        Ok(unreadable) => {
            let keys: Vec<String> = unreadable
                .keys
                .iter()
                .map(|(key, count)| format!("{key} ({count})"))
                .collect();
            tracing::warn!(
                integrations = unreadable.integrations.len(),
                sealed_with = keys.join(", "),
                configured = ring.ids().collect::<Vec<_>>().join(", "),
                "no key in secrets.keys opens the credentials of some integrations, and their \
                 commands fail with credentials_unreadable: put the key back that sealed them, \
                 behind the first (`ticketwire doctor` names them)"
            );
        }
        Err(error) => tracing::debug!(error = chain(&error), "could not look at credentials"),
    }
}

#[derive(Default)]
struct Unreadable {
    integrations: BTreeSet<uuid::Uuid>,
    /// Values by the key that sealed them.
    keys: BTreeMap<String, u64>,
}

async fn unreadable(url: &SecretString, ring: &KeyRing) -> Result<Unreadable, StoreError> {
    let (client, _driver) = connect(url, "ticketwire start").await?;
    let mut found = Unreadable::default();
    for column in [SealedColumn::Credentials, SealedColumn::WebhookSecret] {
        let mut after = None;
        loop {
            let page = seals::sealed_values(&client, column, after, BATCH).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.row);
            for value in page.iter().filter(|value| !value.is_deleted) {
                let binding = Binding {
                    organization: value.organization,
                    integration: value.integration,
                    column: column.name(),
                };
                if ring.open(&binding, &value.stored).is_err() {
                    found.integrations.insert(value.row);
                    let key = KeyRing::key_of(&value.stored)
                        .map_or_else(|| "no key of Ticketwire's".to_owned(), str::to_owned);
                    *found.keys.entry(key).or_default() += 1;
                }
            }
        }
    }
    Ok(found)
}
