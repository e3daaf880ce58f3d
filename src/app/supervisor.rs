//! The loops of a worker: each is started under its name, watched, and ended at its stage of the
//! stop.

use std::collections::{BTreeMap, HashMap};

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::AppError;

/// A loop that runs as long as its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loop {
    Consumer,
    Intake,
    DeadLetters,
    Scheduler,
    OutboxPoller,
    Settler,
    Relay,
    Publisher,
    Http,
    Webhooks,
    WebhookPublisher,
    LeaseKeeper,
}

/// The stages of the stop, in their order: the loops of each feed those of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// What takes in deliveries of platforms.
    Listen,
    /// What brings commands and events from elsewhere.
    Supply,
    /// What writes the results of commands.
    Settle,
    /// What hands their events on.
    Relay,
    /// What publishes, and what shows until then how the worker is.
    Publish,
    /// What keeps others from taking the worker for dead.
    Lease,
}

impl Loop {
    /// When it is told to end.
    const fn stage(self) -> Stage {
        match self {
            Self::Consumer
            | Self::Intake
            | Self::DeadLetters
            | Self::Scheduler
            | Self::OutboxPoller => Stage::Supply,
            Self::Webhooks => Stage::Listen,
            Self::Settler => Stage::Settle,
            Self::Relay => Stage::Relay,
            Self::Publisher | Self::Http | Self::WebhookPublisher => Stage::Publish,
            Self::LeaseKeeper => Stage::Lease,
        }
    }

    /// As people know it.
    const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "the consumer",
            Self::Intake => "the intake",
            Self::DeadLetters => "the dead-letter drain",
            Self::Scheduler => "the clock",
            Self::OutboxPoller => "the outbox poller",
            Self::Settler => "the settler",
            Self::Relay => "the relay",
            Self::Publisher => "the publisher",
            Self::Http => "the HTTP server",
            Self::Webhooks => "the webhook listener",
            Self::WebhookPublisher => "the publisher of webhooks",
            Self::LeaseKeeper => "the lease keeper",
        }
    }
}

/// The loops that run. Dropped, it aborts them.
#[derive(Default)]
pub(super) struct Supervisor {
    tasks: JoinSet<Result<(), AppError>>,
    running: HashMap<Id, Loop>,
    ends: BTreeMap<Stage, CancellationToken>,
}

impl Supervisor {
    /// Starts a loop; `work` is given what tells it to end. A loop that learns of its end by a
    /// closed channel may leave that alone.
    pub(super) fn start<F>(&mut self, which: Loop, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start_fallible(which, |end| {
            let work = work(end);
            async move {
                work.await;
                Ok(())
            }
        });
    }

    /// Starts a loop that may fail.
    pub(super) fn start_fallible<F>(
        &mut self,
        which: Loop,
        work: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = Result<(), AppError>> + Send + 'static,
    {
        let end = self.ends.entry(which.stage()).or_default().clone();
        let task = self.tasks.spawn(work(end));
        self.running.insert(task.id(), which);
    }

    /// Waits for a loop that ends although nothing has told it to, and says why.
    pub(super) async fn failed(&mut self) -> AppError {
        match self.ended().await {
            Some((_, Err(error))) => error,
            Some((which, Ok(()))) => AppError::LoopEnded(which.name()),
            None => std::future::pending().await,
        }
    }

    /// Tells the loops of a stage to end.
    pub(super) fn tell(&mut self, stage: Stage) {
        self.ends.entry(stage).or_default().cancel();
    }

    /// Tells the loops of a stage to end and waits until they have.
    pub(super) async fn end(&mut self, stage: Stage) {
        self.tell(stage);
        while self.running.values().any(|which| which.stage() == stage) {
            if let Some((which, Err(error))) = self.ended().await {
                let name = which.name();
                tracing::warn!(error = %error, "{name} failed while the worker was stopping");
            }
        }
    }

    /// The names of those that still run.
    pub(super) fn left(&self) -> String {
        let mut left: Vec<Loop> = self.running.values().copied().collect();
        left.sort_unstable();
        let names: Vec<&str> = left.into_iter().map(Loop::name).collect();
        names.join(", ")
    }

    /// Waits for the next one that ends, for whatever reason; `None` where none runs.
    async fn ended(&mut self) -> Option<(Loop, Result<(), AppError>)> {
        let (id, result) = match self.tasks.join_next_with_id().await? {
            Ok(ended) => ended,
            // It panicked, and the panic stands in the log.
            Err(error) => (error.id(), Ok(())),
        };
        Some((self.running.remove(&id)?, result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends when it is told to, and notes that.
    fn noting(
        which: Loop,
        noted: &std::sync::Arc<std::sync::Mutex<Vec<Loop>>>,
    ) -> impl FnOnce(CancellationToken) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let noted = std::sync::Arc::clone(noted);
        move |end| {
            Box::pin(async move {
                end.cancelled().await;
                noted.lock().unwrap().push(which);
            })
        }
    }

    #[tokio::test]
    async fn a_stage_ends_its_loops_and_no_others() {
        let noted = std::sync::Arc::default();
        let mut loops = Supervisor::default();
        for which in [Loop::Http, Loop::Relay, Loop::Settler, Loop::Publisher] {
            loops.start(which, noting(which, &noted));
        }
        assert_eq!(
            loops.left(),
            "the settler, the relay, the publisher, the HTTP server"
        );

        loops.end(Stage::Settle).await;
        assert_eq!(*noted.lock().unwrap(), [Loop::Settler]);
        loops.end(Stage::Supply).await;
        loops.end(Stage::Relay).await;
        assert_eq!(*noted.lock().unwrap(), [Loop::Settler, Loop::Relay]);
        assert_eq!(loops.left(), "the publisher, the HTTP server");
        loops.end(Stage::Publish).await;
        assert_eq!(loops.left(), "");
    }

    #[tokio::test]
    async fn a_loop_that_ends_by_itself_is_a_fault_with_its_name() {
        let mut loops = Supervisor::default();
        loops.start(Loop::Publisher, |end| async move { end.cancelled().await });
        loops.start(Loop::Intake, |_| async {});
        assert_eq!(
            loops.failed().await.to_string(),
            "the intake ended unexpectedly; the log says why"
        );

        loops.start(Loop::Relay, |_| async { panic!("as this test wants") });
        let fault = loops.failed().await.to_string();
        assert!(fault.starts_with("the relay ended"), "{fault}");

        loops.start_fallible(Loop::LeaseKeeper, |_| async {
            Err(AppError::Http("no roots".into()))
        });
        let fault = loops.failed().await.to_string();
        assert!(fault.contains("no roots"), "{fault}");
        assert_eq!(loops.left(), "the publisher");
    }

    #[tokio::test]
    async fn a_loop_that_panics_at_the_stop_holds_nothing_up() {
        let mut loops = Supervisor::default();
        loops.start(Loop::Settler, |end| async move {
            end.cancelled().await;
            panic!("as this test wants");
        });
        loops.end(Stage::Settle).await;
        assert_eq!(loops.left(), "");
    }
}
