//! What was learned of one integration's platform: choices, ids behind names, addresses. It lives
//! as long as what its adapter was built from, over all attempts of a worker; each thing is asked
//! for once, however many wait for it.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{AdapterError, ErrorClass};

/// Things that are kept of one integration; beyond it the one that ends first goes.
const THINGS_MAX: usize = 256;

/// What was learned of one integration.
#[derive(Default)]
pub struct Memory {
    things: Mutex<HashMap<Cow<'static, str>, Thing>>,
}

/// One thing, and who asks for it: one at a time.
struct Thing {
    flight: Arc<tokio::sync::Mutex<Flight>>,
    /// When it was put there, for the order in which things go.
    since: Instant,
}

#[derive(Default)]
struct Flight {
    known: Option<(Arc<dyn Any + Send + Sync>, Instant)>,
    /// The last failure, so that those who waited for it share it.
    failed: Option<(Instant, AdapterError)>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Memory({} things)", things.len())
    }
}

impl Memory {
    /// A thing by its name, not older than `life`; asked for by `load` where it is not known. Those
    /// who come meanwhile wait for the one who asks, and share what comes of it, also a failure.
    /// Nobody's failure is kept for those who come later.
    ///
    /// # Errors
    /// Those of `load`; class internal where the thing is of another type than before.
    pub async fn get<T: Send + Sync + 'static>(
        &self,
        name: impl Into<Cow<'static, str>>,
        life: Duration,
        load: impl Future<Output = Result<T, AdapterError>>,
    ) -> Result<Arc<T>, AdapterError> {
        let waits_since = Instant::now();
        let name = name.into();
        let flight = self.flight(name.clone());
        let mut flight = flight.lock().await;
        if let Some((known, until)) = &flight.known
            && *until > Instant::now()
        {
            return typed(known, &name);
        }
        if let Some((at, error)) = &flight.failed
            && *at >= waits_since
        {
            return Err(error.clone());
        }
        match load.await {
            Ok(loaded) => {
                let loaded = Arc::new(loaded);
                let known: Arc<dyn Any + Send + Sync> = Arc::clone(&loaded) as _;
                let now = Instant::now();
                let until = now.checked_add(life).unwrap_or(now);
                *flight = Flight {
                    known: Some((known, until)),
                    failed: None,
                };
                Ok(loaded)
            }
            Err(error) => {
                flight.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Forgets a thing, as the platform has shown that it is not so any more. Who asks for it right
    /// now gets what they get; it is not kept.
    pub fn forget(&self, name: &str) {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        things.remove(name);
    }

    fn flight(&self, name: Cow<'static, str>) -> Arc<tokio::sync::Mutex<Flight>> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        if !things.contains_key(&name) && things.len() >= THINGS_MAX {
            let oldest = things.iter().min_by_key(|(_, thing)| thing.since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                things.remove(&oldest);
            }
        }
        let thing = things.entry(name).or_insert_with(|| Thing {
            flight: Arc::default(),
            since: Instant::now(),
        });
        Arc::clone(&thing.flight)
    }
}

fn typed<T: Send + Sync + 'static>(
    known: &Arc<dyn Any + Send + Sync>,
    name: &str,
) -> Result<Arc<T>, AdapterError> {
    Arc::clone(known).downcast().map_err(|_| {
        let text = "what was learned of the platform is of another kind than expected";
        AdapterError::new(ErrorClass::Internal, text).with_internal(name)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[derive(Default)]
    struct Asked(AtomicU32);

    impl Asked {
        async fn answer(&self, value: u32) -> Result<u32, AdapterError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(value)
        }

        async fn refusal(&self) -> Result<u32, AdapterError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Err(AdapterError::unsupported("no"))
        }

        fn times(&self) -> u32 {
            self.0.swap(0, Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_thing_is_asked_for_once_by_all_and_again_when_it_is_old_or_forgotten() {
        let (memory, asked) = (Memory::default(), Asked::default());

        let all = (0..10).map(|number| memory.get("board", HOUR, asked.answer(number)));
        for found in futures_util::future::join_all(all).await {
            assert_eq!(*found.unwrap(), 0);
        }
        assert_eq!(asked.times(), 1);
        assert_eq!(
            *memory.get("other", HOUR, asked.answer(7)).await.unwrap(),
            7
        );
        assert_eq!(asked.times(), 1);
        memory.forget("board");
        assert_eq!(
            *memory.get("board", HOUR, asked.answer(8)).await.unwrap(),
            8
        );
        let short = Duration::ZERO;
        assert_eq!(
            *memory.get("short", short, asked.answer(1)).await.unwrap(),
            1
        );
        assert_eq!(
            *memory.get("short", short, asked.answer(2)).await.unwrap(),
            2
        );
        assert_eq!(asked.times(), 3);
        let strange = memory.get("board", HOUR, async { Ok(String::new()) }).await;
        assert_eq!(strange.unwrap_err().class, ErrorClass::Internal);
    }

    #[tokio::test]
    async fn those_who_wait_share_a_failure_and_those_who_come_later_ask_anew() {
        let (memory, asked) = (Memory::default(), Asked::default());

        let all = (0..10).map(|_| memory.get("board", HOUR, asked.refusal()));
        for found in futures_util::future::join_all(all).await {
            assert_eq!(found.unwrap_err().class, ErrorClass::Unsupported);
        }
        assert_eq!(asked.times(), 1);
        assert_eq!(
            *memory.get("board", HOUR, asked.answer(3)).await.unwrap(),
            3
        );
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_next_one_to_ask() {
        let memory = Memory::default();
        let never = memory.get("board", HOUR, std::future::pending::<Result<u32, _>>());
        let given_up = tokio::time::timeout(Duration::from_millis(1), never).await;
        assert!(given_up.is_err());

        let asked = Asked::default();
        assert_eq!(
            *memory.get("board", HOUR, asked.answer(3)).await.unwrap(),
            3
        );
    }

    #[tokio::test]
    async fn what_was_forgotten_while_it_was_asked_for_is_not_kept() {
        let (memory, asked) = (Memory::default(), Asked::default());
        let load = async {
            memory.forget("board");
            asked.answer(1).await
        };

        assert_eq!(*memory.get("board", HOUR, load).await.unwrap(), 1);
        assert_eq!(
            *memory.get("board", HOUR, asked.answer(2)).await.unwrap(),
            2
        );
    }

    #[tokio::test]
    async fn there_is_an_end_to_what_is_kept() {
        let (memory, asked) = (Memory::default(), Asked::default());
        for number in 0..2_000 {
            let name = format!("user {number}");
            drop(memory.get(name, HOUR, asked.answer(number)).await.unwrap());
        }

        assert_eq!(
            format!("{memory:?}"),
            format!("Memory({THINGS_MAX} things)")
        );
        asked.times();
        drop(
            memory
                .get("user 1999", HOUR, asked.answer(0))
                .await
                .unwrap(),
        );
        assert_eq!(asked.times(), 0, "the newest is known");
    }
}
