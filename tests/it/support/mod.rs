//! What the tests share: a [`World`] of one's own for each (database, prefix, sandbox), worker
//! processes, bounded waits.

mod commands;
mod events;
mod legacy;
pub(crate) mod mail;
mod scratch;
mod services;
mod tls;
mod wire;
mod worker;
mod world;

pub(crate) use commands::{Message, command};
pub(crate) use legacy::{ENCRYPTION_KEY, JWT_SECRET, Key, Legacy, Sealed, TYPES, VECTOR_A};
pub(crate) use scratch::{Images, Scratch};
pub(crate) use services::OwnService;
pub(crate) use tls::Authority;
pub(crate) use wire::{CutProxy, FileServer, http_as, http_body, http_get, http_json};
pub(crate) use worker::{Worker, free_address, on_terminal, output, start};
pub(crate) use world::{SITE, World, services};

use std::time::{Duration, Instant};

/// Longest a test waits for a state.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Longest a single question takes.
const ASK_MAX: Duration = Duration::from_secs(15);

/// Waits for a state, bounded: asks again and again, and says what it waited for when it gives up.
/// Prints how long it took, if that was long (`--nocapture`), which is how long a fault took to be
/// noticed or mended.
pub(crate) async fn wait_for<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, ask).await
}

/// The same for a state that is a long way off on a busy machine.
pub(crate) async fn wait_within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        // A question that hangs is asked again: some end of a connection may be gone without a
        // word.
        if let Ok(Some(found)) = tokio::time::timeout(ASK_MAX, ask()).await {
            if began.elapsed() > Duration::from_millis(100) {
                println!("{:>7} ms until: {what}", began.elapsed().as_millis());
            }
            return found;
        }
        assert!(
            began.elapsed() < patience,
            "waited {patience:?} in vain for: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
