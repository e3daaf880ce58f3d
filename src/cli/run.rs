//! `ticketwire run`

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Context, Failed, failed, output};
use crate::app::{self, RunOptions};
use crate::telemetry::metrics;

/// The worker. SIGTERM or SIGINT drains it: it stops taking commands, finishes what is in flight
/// within worker.drain_timeout, hands back the rest, publishes what is unsent and exits 0. A second
/// signal exits at once.
#[derive(Args)]
pub(super) struct Run {
    /// Run poison candidates one at a time for the worker with this id, then exit (started by a
    /// worker)
    #[arg(long, hide = true, value_name = "WORKER")]
    isolated: Option<String>,
}

impl Run {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let second = CancellationToken::new();
        let signals = {
            let (stop, second) = (stop.clone(), second.clone());
            async move {
                for token in [stop, second] {
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                    token.cancel();
                }
                std::future::pending::<()>().await;
            }
        };
        let worker = async {
            match self.isolated {
                Some(parent) => {
                    let parent_gone = stop.clone();
                    let watch = tokio::task::spawn_blocking(move || {
                        // The parent holds the other end; its end is the child's.
                        let mut nothing = Vec::new();
                        drop(std::io::Read::read_to_end(
                            &mut std::io::stdin(),
                            &mut nothing,
                        ));
                        parent_gone.cancel();
                    });
                    let result =
                        app::run_isolated(context.config.clone(), &parent, stop.clone()).await;
                    watch.abort();
                    result
                }
                None => {
                    metrics::install();
                    let program = std::env::current_exe().ok();
                    let mut arguments = context.arguments.clone();
                    arguments.extend(["run".into(), "--isolated".into()]);
                    let isolated = program.map(|program| (program, arguments));
                    app::run(
                        context.config.clone(),
                        RunOptions {
                            isolated,
                            stop: stop.clone(),
                        },
                    )
                    .await
                }
            }
        };
        // The losing branches may be dropped: after a second signal nothing is owed to anybody.
        tokio::select! {
            result = worker => result.map_err(|error| match error {
                app::AppError::Keys(_) => Failed::Usage(error.to_string()),
                other => failed(other),
            }),
            () = signals => Ok(()),
            () = second.cancelled() => {
                output::note("ticketwire: a second signal: ended at once; the next worker takes \
                              over what was running");
                Err(Failed::Operation("not drained".into()))
            }
        }
    }
}
