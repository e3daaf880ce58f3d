//! Suspects run apart: commands that were running when their process died are run next in a process
//! of their own, so that the others lose nothing if one of them is what killed it. First a few
//! together, as most deaths are nobody's fault; those of a group whose process died too are run one
//! at a time, so that a death tells on one and nobody else.
//!
//! The parent starts the child (`ticketwire run --isolated`) when a poison candidate is due and
//! buries it when it dies. The child ends by itself when no poison candidate is left, or when its
//! standard input closes, which is how it learns that the parent is gone.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::pipeline::context::Core;
use crate::pipeline::executor::prepare;
use crate::store::StoreError;

/// The parent's side.
pub struct Isolation {
    program: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Isolation {
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
        format!("{parent}/isolated")
    }

    /// Starts the child if a poison candidate is due; buries it if it died.
    pub(in crate::pipeline) async fn tend(&mut self, core: &Core) -> Result<(), StoreError> {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => return Ok(()),
                Ok(Some(status)) => {
                    if !status.success() {
                        tracing::warn!(status = %status,
                            "the process that runs poison candidates isolated died");
                    }
                    let buried = core
                        .store
                        .retire_worker(&Self::worker_of(&core.me.worker))
                        .await?;
                    if buried > 0 {
                        tracing::warn!(
                            commands = buried,
                            "a poison candidate was running when its process died"
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
                    tracing::error!(error = %error,
                        "cannot start the process that runs poison candidates isolated");
                }
            }
        }
        Ok(())
    }

    /// Ends the child in good order, or not so good if it takes too long.
    pub(in crate::pipeline) async fn stop(&mut self) {
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

/// How many poison candidates run together before any is run alone. So many at most are run one by
/// one after the process of such a group died, and so much faster is a crash sorted out of which
/// none of them is guilty, as of a kill.
const TOGETHER: usize = 32;

/// The child's side: runs poison candidates until none is due, those first that may run together.
/// Returns when it may end.
///
/// # Errors
/// The database's.
pub async fn run_candidates(core: &Arc<Core>) -> Result<(), StoreError> {
    loop {
        let (claimed, alone) = {
            let _claiming = core.claiming.lock().await;
            let capacity = TOGETHER.saturating_sub(core.held_count());
            let mut claimed = core
                .store
                .claim_candidates(core.me.id, false, capacity)
                .await?;
            let alone = claimed.is_empty() && core.is_idle();
            if alone {
                claimed = core.store.claim_candidates(core.me.id, true, 1).await?;
            }
            core.hold(
                claimed
                    .iter()
                    .map(|command| (command.id, command.organization_id)),
            );
            (claimed, alone)
        };
        if claimed.is_empty() && core.is_idle() {
            return Ok(());
        }
        for command in &claimed {
            tracing::info!(command_id = %command.id, alone, deaths = command.deaths,
                "running a poison candidate");
        }
        prepare::start_claimed(core, claimed).await;
        // The settler notifies when it lets go of a command; the limit only covers a notification
        // missed.
        loop {
            drop(
                tokio::time::timeout(Duration::from_millis(100), core.capacity_freed.notified())
                    .await,
            );
            if core.is_idle() || !alone {
                break;
            }
        }
    }
}
