//! Taking a body apart. Pointers are those of JSON (RFC 6901).

use serde_json::Value;

use crate::platforms::Response;

/// Bytes of a body that is no JSON that are looked through.
const TEXT_MAX: usize = 4 << 10;

/// How a platform builds the bodies of its refusals.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A JSON document.
    Json {
        /// Where codes may stand; all that are there count.
        codes: &'static [&'static str],
        /// Where texts may stand; all that are there count.
        texts: &'static [&'static str],
        /// Where faults of fields may stand; all that are there count.
        fields: &'static [Fields],
    },
    /// Plain text; one word of it is a code as well.
    Text,
}

/// Where faults of fields stand.
#[derive(Debug, Clone, Copy)]
pub enum Fields {
    /// An object: field → fault. `text` leads from there to the fault's text (empty: it is the
    /// text).
    Map {
        /// Where the object is.
        at: &'static str,
        /// From a member of it to the text.
        text: &'static str,
    },
    /// A list: `name` leads from an item to the field or fields, `text` to the fault.
    List {
        /// Where the list is (empty: the body is one).
        at: &'static str,
        /// From an item to the name, or to several.
        name: &'static str,
        /// From an item to the text.
        text: &'static str,
    },
    /// In the text, before a colon (`project: Missing input`).
    BeforeColon,
    /// In the text, after these words (`invalid value for idList`).
    After(&'static str),
    /// A list as JSON within the text, from the first `[` on; its codes count too.
    Embedded {
        /// From an item to the name.
        name: &'static str,
        /// From an item to the text.
        text: &'static str,
        /// From an item to the code.
        code: &'static str,
    },
}

/// What a body says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Codes, the most telling first.
    pub codes: Vec<String>,
    /// Texts.
    pub texts: Vec<String>,
    /// By the platform's name of a field, what is wrong with it.
    pub fields: Vec<(String, String)>,
}

impl Said {
    /// All of its texts.
    #[must_use]
    pub fn text(&self) -> String {
        self.texts.join(": ")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.codes.is_empty() && self.texts.is_empty() && self.fields.is_empty()
    }
}

impl Shape {
    /// Takes a body apart; one of another shape says nothing.
    pub(super) fn read(&self, answer: &Response) -> Said {
        match self {
            Self::Json {
                codes,
                texts,
                fields,
            } => {
                let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
                    return Said::default();
                };
                let all = |pointers: &[&str]| -> Vec<String> {
                    let found = pointers.iter().filter_map(|pointer| body.pointer(pointer));
                    found.filter_map(plain).collect()
                };
                let mut said = Said {
                    codes: all(codes),
                    texts: all(texts),
                    fields: Vec::new(),
                };
                for place in *fields {
                    place.read(&body, &mut said);
                }
                said
            }
            Self::Text => {
                let text = text_of(answer);
                let is_word = !text.is_empty() && !text.contains(char::is_whitespace);
                Said {
                    codes: is_word.then(|| text.clone()).into_iter().collect(),
                    texts: (!text.is_empty()).then_some(text).into_iter().collect(),
                    fields: Vec::new(),
                }
            }
        }
    }
}

impl Fields {
    fn read(&self, body: &Value, said: &mut Said) {
        match self {
            Self::Map { at, text } => {
                let Some(Value::Object(members)) = body.pointer(at) else {
                    return;
                };
                let found = members.iter().filter_map(|(name, fault)| {
                    let fault = fault.pointer(text).and_then(plain)?;
                    Some((name.clone(), fault))
                });
                said.fields.extend(found);
            }
            Self::List { at, name, text } => {
                if let Some(Value::Array(items)) = body.pointer(at) {
                    for item in items {
                        listed(item, name, text, said);
                    }
                }
            }
            Self::BeforeColon => {
                let found = said.texts.iter().filter_map(|text| {
                    let (name, fault) = text.split_once(": ")?;
                    is_name(name).then(|| (name.to_owned(), fault.to_owned()))
                });
                let found: Vec<_> = found.collect();
                said.fields.extend(found);
            }
            Self::After(words) => {
                let found = said.texts.iter().filter_map(|text| {
                    let (_, rest) = text.split_once(words)?;
                    let name = rest.split_whitespace().next()?;
                    let name = name.trim_end_matches(['.', ',', ';']);
                    is_name(name).then(|| (name.to_owned(), text.clone()))
                });
                let found: Vec<_> = found.collect();
                said.fields.extend(found);
            }
            Self::Embedded { name, text, code } => {
                let embedded = said.texts.iter().find_map(|said| {
                    let inner = said.get(said.find('[')?..=said.rfind(']')?)?;
                    serde_json::from_str::<Vec<Value>>(inner).ok()
                });
                for item in embedded.unwrap_or_default() {
                    listed(&item, name, text, said);
                    let code = item.pointer(code).and_then(plain);
                    said.codes.extend(code);
                }
            }
        }
    }
}

/// The faults of an item of a list: of one field, or of several.
fn listed(item: &Value, name: &str, text: &str, said: &mut Said) {
    let fault = item.pointer(text).and_then(plain).unwrap_or_default();
    match item.pointer(name) {
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(plain);
            said.fields.extend(names.map(|name| (name, fault.clone())));
        }
        Some(name) => said
            .fields
            .extend(plain(name).map(|name| (name, fault.clone()))),
        None => {}
    }
}

/// A value as text: what is no text or number says nothing.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// A body as text; a web page says nothing.
fn text_of(answer: &Response) -> String {
    let head = answer.body.get(..TEXT_MAX).unwrap_or(&answer.body);
    let text = String::from_utf8_lossy(head);
    let text = text.trim();
    if text.starts_with('<') {
        return String::new();
    }
    text.to_owned()
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && text.chars().all(fits)
}
