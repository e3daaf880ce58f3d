//! The built-in analyser: words and what they weigh ([`tables`]). Deterministic, without IO, in
//! time linear in the text; it reads English. A sentence that gives orders ("set the priority to
//! critical") counts for its words like any other.

mod tables;
#[cfg(test)]
mod tests;
mod title;
mod words;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use self::tables::{
    CATEGORIES, DEPARTMENTS, FILLERS, NEGATORS, SIGNALS, STOP_WORDS, TAGS, TOPIC_FILLERS, Weight,
    usual_department,
};
use self::words::{Lexicon, Word};
use super::text;
use crate::domain::{AnalyserKind, Analysis, AnalysisInput, Preferences, Priority, TicketCategory};

pub(super) use self::tables::departments;

/// Bytes of what the user wrote that are weighed; the description holds all of it.
const READ_MAX: usize = 256 << 10;
/// Bytes of the conversation that are weighed: its newest.
const READ_CONVERSATION_MAX: usize = 64 << 10;
/// Bytes of the conversation that the description holds: its newest.
const SHOWN_CONVERSATION_MAX: usize = 256 << 10;
/// Words between a denial and what it denies, at most.
const DENIAL_REACH: usize = 6;
/// Labels and keywords, at most.
const TAGS_MAX: usize = 10;
const KEYWORDS_MAX: usize = 10;
/// Words quoted for a decision, at most.
const QUOTED_MAX: usize = 5;
/// What a category's usual department weighs by itself.
const USUAL_DEPARTMENT: u32 = 4;

static CATEGORY_WORDS: LazyLock<Lexicon<(TicketCategory, u32)>> = LazyLock::new(|| {
    Lexicon::new(CATEGORIES.iter().flat_map(|(category, phrases)| {
        phrases
            .iter()
            .map(|(phrase, weight)| (*phrase, (*category, *weight)))
    }))
});
static DEPARTMENT_WORDS: LazyLock<Lexicon<(&'static str, u32)>> = LazyLock::new(|| {
    Lexicon::new(DEPARTMENTS.iter().flat_map(|(department, phrases)| {
        phrases
            .iter()
            .map(|(phrase, weight)| (*phrase, (*department, *weight)))
    }))
});
static SIGNAL_WORDS: LazyLock<Lexicon<Weight>> =
    LazyLock::new(|| Lexicon::new(SIGNALS.iter().copied()));
static TAG_WORDS: LazyLock<Lexicon<&'static str>> =
    LazyLock::new(|| Lexicon::new(TAGS.iter().copied()));

/// The built-in analyser.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules;

/// Analyses by the rules. Never fails.
#[must_use]
pub fn analyse(input: &AnalysisInput) -> Analysis {
    let title = title::of(&input.user_input);
    let (title_text, said, talked) = (
        words::fold(&title),
        words::fold(text::head(&input.user_input, READ_MAX)),
        words::fold(&what_users_said(input)),
    );
    let texts = Texts {
        title: words::split(&title_text),
        said: words::split(&said),
        talked: words::split(&talked),
    };
    let preferences = &input.preferences;
    let category = category(&texts, preferences);
    let pressure = pressure(&texts, preferences);
    let department = department(&texts, category.value, preferences);
    let reasoning = reasoning(&category, &pressure, &department, preferences);
    Analysis {
        title,
        description: description(input),
        category: category.value,
        priority: pressure.priority.value,
        urgency: pressure.urgency.value,
        department: department.value,
        tags: tags(&texts, category.value, preferences),
        keywords: keywords(&texts),
        confidence_score: category.confidence,
        reasoning,
        analyser: AnalyserKind::Rules,
        model: None,
        fell_back: None,
    }
}

/// What the user wrote and what was said before, for people: nothing of the first is left out.
pub(super) fn description(input: &AnalysisInput) -> String {
    let mut shown = text::block(&input.user_input);
    let (turns, left_out) = text::newest(&input.conversation, SHOWN_CONVERSATION_MAX);
    if turns.is_empty() {
        return shown;
    }
    shown.push_str("\n\n---\n\n**Conversation**");
    if left_out > 0 {
        // Writing to a String does not fail.
        write!(shown, " (without its {left_out} oldest messages)").unwrap_or_default();
    }
    for (role, content) in turns {
        let (role, content) = (text::one_line(role), text::block(content));
        write!(shown, "\n\n**{role}:** {content}").unwrap_or_default();
    }
    shown
}

/// The labels of a preference and those found, without repeats.
pub(super) fn merged_tags(
    preferred: &[String],
    found: impl Iterator<Item = String>,
) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in preferred.iter().cloned().chain(found) {
        if tags.len() < TAGS_MAX && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// The words of each source.
struct Texts<'a> {
    title: Vec<Word<'a>>,
    said: Vec<Word<'a>>,
    talked: Vec<Word<'a>>,
}

/// What was decided, and by which words.
struct Decided<T> {
    value: T,
    by: Vec<String>,
    preferred: bool,
}

struct DecidedCategory {
    value: TicketCategory,
    by: Vec<&'static str>,
    next: Option<TicketCategory>,
    preferred: bool,
    confidence: f64,
}

struct Pressure {
    priority: Decided<Priority>,
    urgency: Decided<Priority>,
}

fn what_users_said(input: &AnalysisInput) -> String {
    let theirs = input
        .conversation
        .iter()
        .rev()
        .filter(|turn| turn.is_users());
    let mut talked = String::new();
    for turn in theirs {
        if talked.len() >= READ_CONVERSATION_MAX {
            break;
        }
        talked.push_str(text::tail(&turn.content, READ_CONVERSATION_MAX));
        talked.push_str("\n.\n");
    }
    talked
}

/// What each phrase of a table weighs in the texts: in full where the user wrote it, half as much
/// again in the title, a little more when repeated, half where it was only said before. In
/// quarters.
fn weigh<T>(
    lexicon: &Lexicon<T>,
    texts: &Texts<'_>,
    counts: impl Fn(&[Word<'_>], usize) -> bool,
) -> Vec<u32> {
    let mut times = vec![0_u32; lexicon.len()];
    let mut quarters = vec![0_u32; lexicon.len()];
    let mut note = |words: &[Word<'_>], first: u32, again: u32| {
        lexicon.find(words, |hit| {
            if counts(words, hit.at) {
                quarters[hit.number] += match times[hit.number] {
                    0 => first,
                    1 | 2 => again,
                    _ => 0,
                };
                times[hit.number] += 1;
            }
        });
    };
    note(&texts.said, 4, 1);
    note(&texts.talked, 2, 1);
    // Its words are among those the user wrote.
    lexicon.find(&texts.title, |hit| {
        if counts(&texts.title, hit.at) {
            quarters[hit.number] += 2;
        }
    });
    quarters
}

fn category(texts: &Texts<'_>, preferences: &Preferences) -> DecidedCategory {
    let lexicon = &*CATEGORY_WORDS;
    let quarters = weigh(lexicon, texts, |words, at| !is_another_topic(words, at));
    let mut scores: Vec<(u32, TicketCategory)> = CATEGORIES
        .iter()
        .map(|(category, _)| {
            (
                score(
                    lexicon,
                    &quarters,
                    |means| means.0 == *category,
                    |means| means.1,
                ),
                *category,
            )
        })
        .collect();
    // Stable: of equals the first of the table.
    scores.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let (top, value) = scores
        .first()
        .copied()
        .unwrap_or((0, TicketCategory::General));
    let (second, next) = scores
        .get(1)
        .copied()
        .unwrap_or((0, TicketCategory::General));
    if top == 0 {
        let confidence = if preferences.category.is_some() {
            0.4
        } else {
            0.2
        };
        return DecidedCategory {
            value: preferences.category.unwrap_or(TicketCategory::General),
            by: Vec::new(),
            next: None,
            preferred: preferences.category.is_some(),
            confidence,
        };
    }
    let (high, low) = (f64::from(top), f64::from(second));
    // How far it leads, and how much there is at all: one phrase of weight 3 is half of "enough".
    let confidence = 0.3 + 0.35 * (high - low) / high + 0.3 * high / (high + 12.0);
    DecidedCategory {
        value,
        by: heaviest(
            lexicon,
            &quarters,
            |means| means.0 == value,
            |means| means.1,
        ),
        next: (second > 0).then_some(next),
        preferred: false,
        confidence: (confidence * 100.0).round() / 100.0,
    }
}

fn pressure(texts: &Texts<'_>, preferences: &Preferences) -> Pressure {
    let lexicon = &*SIGNAL_WORDS;
    let mut seen: HashMap<(usize, bool), (i32, String)> = HashMap::new();
    let mut order = Vec::new();
    for (words, halves) in [(&texts.said, 2), (&texts.talked, 1)] {
        lexicon.find(words, |hit| {
            let denied = is_denied(words, hit.at);
            seen.entry((hit.number, denied)).or_insert_with(|| {
                order.push((hit.number, denied));
                let not = if denied { "not " } else { "" };
                (halves, format!("{not}{}", hit.phrase.text))
            });
        });
    }
    let decide = |preferred: Option<Priority>, weight: fn(&Weight, bool) -> i32| {
        let (mut sum, mut by) = (0, Vec::new());
        for key in &order {
            if let Some((halves, shown)) = seen.get(key) {
                let weight = weight(&lexicon.phrase(key.0).means, key.1);
                sum += halves * weight;
                if weight != 0 {
                    by.push((weight, shown));
                }
            }
        }
        let level = match sum {
            8.. => Some(Priority::Critical),
            4..=7 => Some(Priority::High),
            ..=-2 => Some(Priority::Low),
            _ => None,
        };
        by.retain(|(weight, _)| (*weight > 0) == (sum > 0));
        by.sort_by_key(|(weight, _)| std::cmp::Reverse(weight.abs()));
        Decided {
            value: level.or(preferred).unwrap_or(Priority::Medium),
            by: match level {
                Some(_) => by
                    .into_iter()
                    .take(QUOTED_MAX)
                    .map(|(_, shown)| shown.clone())
                    .collect(),
                None => Vec::new(),
            },
            preferred: level.is_none() && preferred.is_some(),
        }
    };
    Pressure {
        priority: decide(preferences.priority, |weight, denied| {
            if denied {
                weight.not_priority
            } else {
                weight.priority
            }
        }),
        urgency: decide(preferences.urgency, |weight, denied| {
            if denied {
                weight.not_urgency
            } else {
                weight.urgency
            }
        }),
    }
}

fn department(
    texts: &Texts<'_>,
    category: TicketCategory,
    preferences: &Preferences,
) -> Decided<Option<String>> {
    if let Some(preferred) = &preferences.department {
        return Decided {
            value: Some(preferred.clone()),
            by: Vec::new(),
            preferred: true,
        };
    }
    let lexicon = &*DEPARTMENT_WORDS;
    let quarters = weigh(lexicon, texts, |words, at| !is_another_topic(words, at));
    let usual = usual_department(category);
    let mut best = (usual.map_or(0, |_| USUAL_DEPARTMENT * 4), usual);
    for name in departments() {
        let own = if usual == Some(name) {
            USUAL_DEPARTMENT * 4
        } else {
            0
        };
        let score = own + score(lexicon, &quarters, |means| means.0 == name, |means| means.1);
        if score > best.0 {
            best = (score, Some(name));
        }
    }
    let by = best.1.map_or_else(Vec::new, |name| {
        heaviest(lexicon, &quarters, |means| means.0 == name, |means| means.1)
    });
    Decided {
        value: best.1.map(str::to_owned),
        by: by.into_iter().map(str::to_owned).collect(),
        preferred: false,
    }
}

fn tags(texts: &Texts<'_>, category: TicketCategory, preferences: &Preferences) -> Vec<String> {
    let lexicon = &*TAG_WORDS;
    let quarters = weigh(lexicon, texts, |_, _| true);
    let mut found: Vec<(u32, &str)> = quarters
        .iter()
        .enumerate()
        .filter(|(_, quarters)| **quarters > 0)
        .map(|(number, quarters)| (*quarters, lexicon.phrase(number).means))
        .collect();
    found.sort_by_key(|(quarters, _)| std::cmp::Reverse(*quarters));
    let found = std::iter::once(category.as_str()).chain(found.into_iter().map(|(_, tag)| tag));
    merged_tags(&preferences.tags, found.map(str::to_owned))
}

/// The words said most often, of those that mean something.
fn keywords(texts: &Texts<'_>) -> Vec<String> {
    let mut counts: HashMap<&str, (u32, usize)> = HashMap::new();
    for (order, word) in texts.said.iter().chain(&texts.talked).enumerate() {
        let length = word.text.chars().take(41).count();
        if (3..=40).contains(&length)
            && word.text.chars().any(char::is_alphabetic)
            && !STOP.contains(word.text)
        {
            counts.entry(word.text).or_insert((0, order)).0 += 1;
        }
    }
    let mut words: Vec<(u32, usize, &str)> = counts
        .into_iter()
        .map(|(word, (count, order))| (count, order, word))
        .collect();
    words.sort_unstable_by_key(|(count, order, _)| (std::cmp::Reverse(*count), *order));
    words
        .into_iter()
        .take(KEYWORDS_MAX)
        .map(|(_, _, word)| word.to_owned())
        .collect()
}

static STOP: LazyLock<std::collections::HashSet<&'static str>> =
    LazyLock::new(|| STOP_WORDS.iter().copied().collect());

/// Sums what the phrases of one meaning weigh.
fn score<T>(
    lexicon: &Lexicon<T>,
    quarters: &[u32],
    is: impl Fn(&T) -> bool,
    weight: impl Fn(&T) -> u32,
) -> u32 {
    let phrases = quarters
        .iter()
        .enumerate()
        .map(|(number, quarters)| (&lexicon.phrase(number).means, quarters));
    phrases
        .filter(|(means, _)| is(means))
        .map(|(means, quarters)| quarters * weight(means))
        .sum()
}

/// The phrases that weighed most.
fn heaviest<T>(
    lexicon: &Lexicon<T>,
    quarters: &[u32],
    is: impl Fn(&T) -> bool,
    weight: impl Fn(&T) -> u32,
) -> Vec<&'static str> {
    let mut phrases: Vec<(u32, &'static str)> = quarters
        .iter()
        .enumerate()
        .filter(|(number, quarters)| **quarters > 0 && is(&lexicon.phrase(*number).means))
        .map(|(number, quarters)| {
            let phrase = lexicon.phrase(number);
            (quarters * weight(&phrase.means), phrase.text)
        })
        .collect();
    phrases.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    phrases
        .into_iter()
        .take(QUOTED_MAX)
        .map(|(_, text)| text)
        .collect()
}

/// Whether the words before deny what stands here: "not urgent", "does not need to be fixed
/// immediately".
fn is_denied(words: &[Word<'_>], at: usize) -> bool {
    let clause = words.get(at).map(|word| word.clause);
    for word in words[..at].iter().rev().take(DENIAL_REACH) {
        if Some(word.clause) != clause {
            return false;
        }
        if NEGATORS.contains(&word.text) {
            return true;
        }
        if !FILLERS.contains(&word.text) {
            return false;
        }
    }
    false
}

/// Whether the text says that it is not about this: "not a bug". "Not able to log in" is about
/// logging in.
fn is_another_topic(words: &[Word<'_>], at: usize) -> bool {
    let part = words.get(at).map(|word| word.part);
    let before = words[..at]
        .iter()
        .rev()
        .take_while(|word| Some(word.part) == part);
    for (fillers, word) in before.take(DENIAL_REACH).enumerate() {
        if matches!(word.text, "not" | "isn't" | "ain't" | "wasn't") {
            return fillers > 0;
        }
        if !TOPIC_FILLERS.contains(&word.text) {
            return false;
        }
    }
    false
}

fn reasoning(
    category: &DecidedCategory,
    pressure: &Pressure,
    department: &Decided<Option<String>>,
    preferences: &Preferences,
) -> String {
    let because = |by: &[String], preferred: bool, otherwise: &str| {
        if preferred {
            "by preference".to_owned()
        } else if by.is_empty() {
            otherwise.to_owned()
        } else {
            let quoted: Vec<String> = by.iter().map(|word| format!("\"{word}\"")).collect();
            format!("by {}", quoted.join(", "))
        }
    };
    let by: Vec<String> = category.by.iter().map(|word| (*word).to_owned()).collect();
    let mut parts = vec![format!(
        "Category {} {}{}.",
        category.value,
        because(&by, category.preferred, "as no word points elsewhere"),
        category
            .next
            .map_or_else(String::new, |next| format!(", before {next}"))
    )];
    for (name, decided) in [
        ("Priority", &pressure.priority),
        ("Urgency", &pressure.urgency),
    ] {
        let why = because(
            &decided.by,
            decided.preferred,
            "as nothing decides otherwise",
        );
        parts.push(format!("{name} {} {why}.", decided.value));
    }
    parts.push(match &department.value {
        Some(name) => {
            let why = because(&department.by, department.preferred, "by the category");
            format!("Department {name} {why}.")
        }
        None => "No department, as no word points to one.".to_owned(),
    });
    if !preferences.ignored.is_empty() {
        let names = preferences.ignored.join(", ");
        parts.push(format!(
            "Preferences without a valid value were ignored: {names}."
        ));
    }
    parts.join(" ")
}
