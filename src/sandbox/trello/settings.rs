//! What can be set at a site of Trello: the board and who is on it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::sandbox::kit::{self, Budget};

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::sandbox) struct Settings {
    /// If not empty, only these are accepted: `key:token`.
    pub(super) credentials: Vec<String>,
    /// Requests that are taken; absent is any number.
    pub(super) budget: Option<Budget>,
    pub(super) board: String,
    pub(super) closed: bool,
    /// `id`, `name`, `closed` each.
    pub(super) lists: Vec<Value>,
    /// `id`, `username`, `fullName` each.
    pub(super) members: Vec<Value>,
    /// What the token's member is: `admin`, `normal` or `observer`, who may not write.
    pub(super) member_type: String,
    /// Whether the token has the scope `write`.
    pub(super) writes: bool,
    /// As the API lists them.
    pub(super) fields: Vec<Value>,
    /// Most labels of the board.
    pub(super) labels_max: usize,
    /// Whether cards and comments show their texts.
    pub(super) texts: bool,
    /// An automation of the board moves each card back to its first list.
    pub(super) returns: bool,
    /// How webhooks fare.
    pub(super) webhooks: kit::HookRules,
}

impl Default for Settings {
    fn default() -> Self {
        let list = |n: u32, name: &str| {
            let id = format!("5f0000000000000000000a0{n}");
            json!({ "id": id, "name": name, "closed": false, "pos": n * 1_024 })
        };
        let member = |n: u32, username: &str, name: &str| {
            let id = format!("5f0000000000000000000c0{n}");
            json!({ "id": id, "username": username, "fullName": name })
        };
        Self {
            credentials: Vec::new(),
            budget: None,
            board: "5f0000000000000000000b01".into(),
            closed: false,
            lists: vec![list(1, "To do"), list(2, "Doing"), list(3, "Done")],
            members: vec![
                member(0, "ticketwire", "Ticketwire Sandbox"),
                member(1, "ada", "Ada"),
                member(2, "ann", "Ann Smith"),
            ],
            member_type: "normal".into(),
            writes: true,
            fields: default_fields(),
            labels_max: 1_000,
            texts: true,
            returns: false,
            webhooks: kit::HookRules::default(),
        }
    }
}

/// One of each kind.
fn default_fields() -> Vec<Value> {
    let kinds = ["text", "number", "checkbox", "date", "list"];
    let names = ["Customer", "Seats", "VIP", "Promised", "Product"];
    let fields = kinds.into_iter().zip(names).zip(1_u32..);
    let field = |((kind, name), n): ((&str, &str), u32)| {
        let id = format!("5f0000000000000000000d0{n}");
        let mut field = json!({ "id": id, "idModel": "5f0000000000000000000b01",
            "modelType": "board", "name": name, "type": kind, "pos": n * 1_024 });
        if kind == "list" {
            let option = |at: u32, text: &str| {
                json!({ "id": format!("5f0000000000000000000e0{at}"),
                "idCustomField": id, "value": { "text": text }, "color": "none" })
            };
            field["options"] = json!([option(1, "Desk"), option(2, "Chair")]);
        }
        field
    };
    fields.map(field).collect()
}

impl kit::Settings for Settings {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }

    fn budget(&self) -> Option<Budget> {
        self.budget
    }
}
