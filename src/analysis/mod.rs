//! From free text to a ticket's fields: two analysers behind one trait. The rules need nothing and are the default; a chat
//! endpoint is asked where one is configured, and the rules step in when it fails, saying so.
//!
//! User text is data. What comes of it is an [`Analysis`], which has no member for a tenant, an integration or an id: those
//! are the command's, whatever the text or the model says.

pub mod rules;
mod text;

pub use crate::domain::{AnalyserKind, Analysis, AnalysisInput, Preferences, Turn};
