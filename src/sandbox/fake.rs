//! What a fake platform is to the rest of the sandbox: a state machine over whole requests. It does
//! no IO, knows no faults and keeps no counts, so a new platform is one file with one `impl Fake`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::answer::Answer;
use super::call::Call;
use super::ledger::{LedgerHook, LedgerIssue};
use super::outgoing::Question;

/// One site of one platform. Called under the site's lock, so it is synchronous and quick.
pub(super) trait Fake: Send {
    /// The operation's name, for faults and counts: from a closed set. It may look at the body:
    /// where a platform's update, assignment and comment are the same request, their faults are
    /// aimed by what it says. It is asked before the request takes effect, of faulted ones too.
    fn operation(&self, call: &Call) -> &'static str;

    /// Does what the platform would do.
    fn answer(&mut self, call: &Call, now: DateTime<Utc>) -> Answer;

    /// Body and headers that the platform sends to this request with an error status that it did
    /// not choose itself.
    fn fault_answer(&self, call: &Call, status: u16, now: DateTime<Utc>) -> Answer;

    /// What the platform says to one whose credential it does not know, or no longer.
    fn stranger(&self, call: &Call, now: DateTime<Utc>) -> Answer;

    /// What it asks of somebody else before it answers this request; it finds what was said in
    /// [`Call::heard`].
    fn question(&self, _: &Call) -> Option<Question> {
        None
    }

    /// Webhooks that are registered with it.
    fn hooks(&self) -> Vec<LedgerHook> {
        Vec::new()
    }

    /// Merges members into the settings.
    ///
    /// # Errors
    /// Which member is unknown or wrong.
    fn configure(&mut self, changes: Map<String, Value>) -> Result<(), String>;

    /// The settings in force.
    fn settings(&self) -> Value;

    /// Its items in order of creation, all or those with a label, and how many it had to forget.
    fn ledger(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64);
}

/// Settings with members changed.
///
/// # Errors
/// Which member is unknown or wrong.
pub(super) fn merged<T: Serialize + DeserializeOwned>(
    settings: &T,
    changes: Map<String, Value>,
) -> Result<T, String> {
    let mut all = serde_json::to_value(settings).map_err(|error| error.to_string())?;
    if let Value::Object(members) = &mut all {
        members.extend(changes);
    }
    serde_json::from_value(all).map_err(|error| error.to_string())
}
