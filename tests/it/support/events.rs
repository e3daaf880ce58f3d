//! Result events, read from the events log in the background: after a lost connection it is read
//! again from the start, so nothing is missed.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use ticketwire::broker::{self, From, Topology};
use tokio::task::JoinHandle;

#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<(String, Value)>>>);

impl Events {
    pub(crate) fn collect(&self, url: &str, topology: Topology) -> JoinHandle<()> {
        let seen = Arc::clone(&self.0);
        let url = url.to_owned().into();
        tokio::task::spawn(async move {
            loop {
                if let Ok(connection) = broker::connect_tool(&url, &topology).await {
                    seen.lock().unwrap().clear();
                    let ended =
                        broker::tail(&connection, &topology, From::First, None, |key, body| {
                            let event = serde_json::from_str(body).expect("an event is JSON");
                            seen.lock().unwrap().push((key.to_owned(), event));
                            true
                        });
                    drop(ended.await);
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        })
    }

    /// Routing keys and events so far, repeats (the same id) taken out.
    pub(crate) fn all(&self) -> Vec<(String, Value)> {
        let mut known = std::collections::HashSet::new();
        let mut all = self.0.lock().unwrap().clone();
        all.retain(|(_, event)| known.insert(event["id"].to_string()));
        all
    }
}
