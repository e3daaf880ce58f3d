//! How a command meets a fault: as a request does (`site.rs`), with a reply in place of a status.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::answer::Answer;
use super::super::call::Call;
use super::super::fault::{DelayAt, Fault, FaultKind};
use super::super::site::Site;
use super::wire::{Gone, Wire};

/// Pieces of a slow reply.
const SLOW_PIECES: u32 = 10;

/// A command as a site hears it.
pub(super) struct Step {
    pub(super) operation: &'static str,
    pub(super) detail: Value,
    pub(super) body: Bytes,
    /// The reply, where it is not the site that knows it.
    pub(super) usual: Option<Answer>,
}

/// The text of an answer.
pub(super) fn text_of(answer: &Answer) -> String {
    answer.body.text().unwrap_or_default().to_owned()
}

/// A fault in force, and how to hear that it was cleared.
pub(super) struct Met {
    pub(super) fault: Fault,
    pub(super) cleared: watch::Receiver<u64>,
}

impl Step {
    fn call(&self) -> Call {
        let method = Method::from_bytes(self.operation.to_ascii_uppercase().as_bytes());
        let path = format!("/{}", self.operation);
        let mut call = Call::new(
            method.unwrap_or_default(),
            &path,
            "",
            HeaderMap::new(),
            self.body.clone(),
            String::new(),
        );
        call.json = Some(self.detail.clone());
        call
    }

    /// Counts the command, and takes the fault that it meets.
    pub(super) fn arrive(&self, site: &Site) -> Option<Met> {
        site.arrive(&self.call(), self.operation)
            .map(|(fault, cleared)| Met { fault, cleared })
    }

    /// Takes effect, at the site where it is known.
    pub(super) fn store(&self, site: Option<&Arc<Site>>, fault: Option<&Fault>) -> Answer {
        let known =
            site.map(|site| site.effect(&self.call(), self.operation, fault, self.usual.as_ref()));
        known
            .or_else(|| self.usual.clone())
            .unwrap_or_else(|| Answer::plain(250, "2.0.0 Ok"))
    }

    fn unheard(&self, site: Option<&Arc<Site>>, fault: &Fault) {
        if let Some(site) = site {
            site.unheard(&self.call(), self.operation, fault);
        }
    }
}

/// Does a step that met a fault, and replies as the fault wants. What took effect, if anything did.
pub(super) async fn faulted(
    wire: &mut Wire,
    stopping: &CancellationToken,
    site: Option<&Arc<Site>>,
    step: &Step,
    mut met: Met,
) -> Result<Option<Answer>, Gone> {
    let fault = met.fault.clone();
    wait(fault.delay_when(DelayAt::BeforeStore), stopping).await?;
    let truth = if fault.stores() {
        Some(step.store(site, Some(&fault)))
    } else {
        step.unheard(site, &fault);
        None
    };
    wait(fault.delay_when(DelayAt::AfterStore), stopping).await?;
    let told = truth
        .clone()
        .unwrap_or_else(|| Answer::plain(250, "2.0.0 Ok"));
    match fault.kind {
        FaultKind::Delay => wire.write(&rendered(told.status, &text_of(&told))).await?,
        FaultKind::Status => {
            let code = fault.status.unwrap_or(451);
            let text = match &fault.body {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => "a fault on demand".to_owned(),
            };
            wire.write(&rendered(code, &text)).await?;
            if code == 421 {
                wire.close().await;
                return Err(Gone);
            }
        }
        FaultKind::Redirect => {
            let target = fault
                .location
                .as_deref()
                .unwrap_or("<elsewhere@example.test>");
            let text = format!("5.1.6 User not local; please try {target}");
            wire.write(&rendered(fault.status.unwrap_or(551), &text))
                .await?;
        }
        FaultKind::Stranger => {
            wire.write(&rendered(530, "5.7.0 Authentication required"))
                .await?;
        }
        FaultKind::Garbage => {
            wire.write(b"<!DOCTYPE html>Not what you asked for\r\n")
                .await?;
        }
        FaultKind::SlowBody => {
            let reply = rendered(told.status, &text_of(&told));
            let piece = reply.len().div_ceil(SLOW_PIECES as usize).max(1);
            for part in reply.chunks(piece) {
                wait(Some(fault.slow_body_over() / SLOW_PIECES), stopping).await?;
                wire.write(part).await?;
            }
        }
        FaultKind::Oversize => {
            let line = format!("{}-{}\r\n", told.status, "x".repeat(500));
            let lines = fault.oversize_bytes() / line.len() as u64 + 1;
            for _ in 0..lines {
                wire.write(line.as_bytes()).await?;
            }
            wire.write(&rendered(told.status, &text_of(&told))).await?;
        }
        FaultKind::CutBody => {
            let reply = rendered(told.status, &text_of(&told));
            wire.write(&reply[..reply.len() / 2]).await?;
            wire.close().await;
            return Err(Gone);
        }
        FaultKind::Hang => {
            // Any branch may be dropped: two timers and a watch hold nothing.
            tokio::select! {
                () = tokio::time::sleep(fault.hang_for()) => {}
                () = stopping.cancelled() => {}
                _ = met.cleared.changed() => {}
            }
            wire.reset();
            return Err(Gone);
        }
        FaultKind::ResetBeforeStore | FaultKind::ResetAfterStore => {
            wire.reset();
            return Err(Gone);
        }
    }
    // What a status denied is not so for the dialogue, either; a message that was kept all the same
    // is told by the ledger.
    let denied = fault.kind == FaultKind::Status && fault.status.is_some_and(|code| code >= 400);
    Ok(truth.filter(|_| !denied))
}

async fn wait(delay: Option<Duration>, stopping: &CancellationToken) -> Result<(), Gone> {
    let Some(delay) = delay else {
        return Ok(());
    };
    // Either branch may be dropped: a timer and a flag hold nothing.
    tokio::select! {
        () = tokio::time::sleep(delay) => Ok(()),
        () = stopping.cancelled() => Err(Gone),
    }
}

/// A reply; a text of several lines is a reply of several lines.
pub(super) fn rendered(code: u16, text: &str) -> Vec<u8> {
    let lines: Vec<&str> = text.lines().collect();
    let (last, before) = lines
        .split_last()
        .map_or(("", &[][..]), |(last, before)| (*last, before));
    let mut reply = String::new();
    for line in before {
        reply.push_str(&format!("{code}-{line}\r\n"));
    }
    reply.push_str(&format!("{code} {last}\r\n"));
    reply.into_bytes()
}

/// A fault in the midst of a message: it is never taken.
pub(super) async fn amid(
    wire: &mut Wire,
    stopping: &CancellationToken,
    met: Met,
) -> Result<(), Gone> {
    if met.fault.kind == FaultKind::Delay {
        wait(met.fault.delay_when(DelayAt::BeforeStore), stopping).await?;
        return wait(met.fault.delay_when(DelayAt::AfterStore), stopping).await;
    }
    let step = Step {
        operation: "body",
        detail: Value::Null,
        body: Bytes::new(),
        usual: None,
    };
    faulted(wire, stopping, None, &step, met).await?;
    wire.close().await;
    Err(Gone)
}
