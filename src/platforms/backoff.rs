//! Retrying in place: the one module that names crate `backoff`.
//!
//! The crate is unmaintained (RUSTSEC-2025-0012) and has traps that this module keeps to itself:
//! `?` makes any error retryable, an error that carries a retry-after is retried for ever, and
//! there is no cap on attempts. So attempts and deadline are counted here, and what is given to the
//! crate is explicit. Replacing it is replacing this file.

use std::time::{Duration, Instant};

use backoff::ExponentialBackoffBuilder;

/// Tries at most, the first included.
const TRIES_MAX: u32 = 3;
/// First pause; doubles, ± 50 %.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What a try says of itself.
pub(super) enum TryError<E> {
    /// It surely had no effect: another try may follow, not before the given pause.
    Again(E, Option<Duration>),
    /// It is the caller's to decide.
    Final(E),
}

/// Tries until it works, says [`TryError::Final`], has been tried often enough, or the next try
/// would begin after `deadline`. The last error is returned as it was.
pub(super) async fn in_place<T, E, F, Fut>(deadline: Instant, mut attempt: F) -> Result<T, E>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, TryError<E>>>,
{
    let policy = ExponentialBackoffBuilder::new()
        .with_initial_interval(FIRST_PAUSE)
        .with_multiplier(2.0)
        .with_max_elapsed_time(Some(deadline.saturating_duration_since(Instant::now())))
        .build();
    let mut tries = 0;
    backoff::future::retry(policy, || {
        tries += 1;
        let this_try = tries;
        let work = attempt();
        async move {
            match work.await {
                Ok(value) => Ok(value),
                Err(TryError::Final(error)) => Err(backoff::Error::permanent(error)),
                Err(TryError::Again(error, _)) if this_try >= TRIES_MAX => {
                    Err(backoff::Error::permanent(error))
                }
                Err(TryError::Again(error, Some(pause))) => {
                    // An error with a retry-after never consults the elapsed time, so the deadline
                    // is looked at here.
                    if Instant::now() + pause >= deadline {
                        Err(backoff::Error::permanent(error))
                    } else {
                        Err(backoff::Error::retry_after(error, pause))
                    }
                }
                Err(TryError::Again(error, None)) => Err(backoff::Error::transient(error)),
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_always_says_retry_after_is_given_up() {
        let tries = Cell::new(0);
        let deadline = Instant::now() + Duration::from_secs(60);

        let result: Result<(), &str> = in_place(deadline, || {
            tries.set(tries.get() + 1);
            async { Err(TryError::Again("429", Some(Duration::ZERO))) }
        })
        .await;

        assert_eq!((result, tries.get()), (Err("429"), 3));
    }

    #[tokio::test]
    async fn nothing_is_tried_beyond_the_deadline_or_after_a_final_word() {
        let tries = Cell::new(0);
        let run = async |deadline, failure: fn() -> TryError<&'static str>| {
            tries.set(0);
            let result: Result<(), &str> = in_place(deadline, || {
                tries.set(tries.get() + 1);
                async move { Err(failure()) }
            })
            .await;
            (result, tries.get())
        };

        let soon = Instant::now() + Duration::from_millis(10);
        assert_eq!(
            run(soon, || TryError::Again(
                "later",
                Some(Duration::from_secs(1))
            ))
            .await,
            (Err("later"), 1)
        );
        let far = Instant::now() + Duration::from_secs(60);
        assert_eq!(run(far, || TryError::Final("no")).await, (Err("no"), 1));
    }
}
