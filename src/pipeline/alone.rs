//! Suspects run alone: a command that was running when its process died is run next in a process of its own, one at a
//! time, so that a death tells on it and on nobody else, and its neighbours lose nothing meanwhile.
//!
//! The parent starts the child (`ticketwire run --alone`) when a suspect is due and buries it when it dies. The child
//! ends by itself when no suspect is left, or when its standard input closes, which is how it learns that the parent
//! is gone.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::core::Core;
use super::prepare;
use crate::store::StoreError;

/// The parent's side.
pub struct Alone {
    program: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Alone {
    /// `program` with `arguments` and the worker's id runs this program as the child.
    #[must_use]
    pub const fn new(program: PathBuf, arguments: Vec<String>) -> Self {
        Self {
            program,
            arguments,
            child: None,
        }
    }

    /// The worker id of a parent's child.
    #[must_use]
    pub fn worker_of(parent: &str) -> String {
        format!("{parent}/alone")
    }

    /// Starts the child if a suspect is due; buries it if it died.
    pub(super) async fn tend(&mut self, core: &Core) -> Result<(), StoreError> {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => return Ok(()),
                Ok(Some(status)) => {
                    if !status.success() {
                        tracing::warn!(status = %status, "the process that runs suspects alone died");
                    }
                    let buried = core
                        .store
                        .bury_worker(&Self::worker_of(&core.me.worker))
                        .await?;
                    if buried > 0 {
                        tracing::warn!(
                            commands = buried,
                            "a suspect was running when its process died"
                        );
                    }
                    self.child = None;
                }
                Err(error) => {
                    tracing::warn!(error = %error, "cannot tell whether the child lives");
                    return Ok(());
                }
            }
        }
        if core.store.suspect_due().await? {
            let mut command = Command::new(&self.program);
            command
                .args(&self.arguments)
                .arg(&core.me.worker)
                .stdin(Stdio::piped())
                .kill_on_drop(true);
            match command.spawn() {
                Ok(child) => self.child = Some(child),
                Err(error) => {
                    tracing::error!(error = %error, "cannot start the process that runs suspects alone");
                }
            }
        }
        Ok(())
    }

    /// Ends the child in good order, or not so good if it takes too long.
    pub(super) async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        drop(child.stdin.take());
        if tokio::time::timeout(Duration::from_secs(5), child.wait())
            .await
            .is_err()
            && let Err(error) = child.kill().await
        {
            tracing::debug!(error = %error, "the child was gone already");
        }
    }
}

/// The child's side: runs suspects one at a time until none is due. Returns when it may end.
///
/// # Errors
/// The database's.
pub async fn run_suspects(core: &Arc<Core>) -> Result<(), StoreError> {
    loop {
        let taken = {
            let _claiming = core.claiming.lock().await;
            let taken = core.store.take_suspect(core.me.id).await?;
            core.hold(taken.iter().map(|command| command.id));
            taken
        };
        let Some(taken) = taken else { return Ok(()) };
        tracing::info!(command_id = %taken.id, deaths = taken.deaths, "running a suspect alone");
        prepare::start_taken(core, vec![taken]).await;
        while !core.is_idle() {
            // The settler notifies when it lets go of the command; the limit only covers a notification missed.
            drop(tokio::time::timeout(Duration::from_millis(100), core.room.notified()).await);
        }
    }
}
