//! What each kind of session is set to. Said with `set_config` right after connecting, not as
//! start-up parameters, which poolers refuse; and for every setting that matters, so that none of
//! the role or the database is left to rule.

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Session {
    /// Tools, migrations, and the lock of a worker's id: no limit but those that its user sets.
    Unlimited,
    /// The pipeline's own statements.
    Hot,
    /// What a person asks.
    Plain,
    /// Searches.
    Search,
}

/// In every session: none ends because it was idle, and statements are written for
/// `read committed`.
const EVERYWHERE: &[(&str, &str)] = &[
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("idle_session_timeout", "0"),
];

const UNLIMITED: &[(&str, &str)] = &[
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
];

/// On the server, so that nothing is left running there.
const LIMITED: &[(&str, &str)] = &[
    ("statement_timeout", "15000"),
    ("lock_timeout", "10000"),
    ("idle_in_transaction_session_timeout", "20000"),
    ("jit", "off"),
];

/// The pipeline's statements touch a few hundred rows by key (see [`super::Store::new`]).
const BY_KEY: &[(&str, &str)] = &[
    ("enable_seqscan", "off"),
    ("enable_mergejoin", "off"),
    ("random_page_cost", "0.5"),
    ("seq_page_cost", "0.5"),
    ("cpu_tuple_cost", "1"),
    ("cpu_index_tuple_cost", "0.5"),
    ("cpu_operator_cost", "0.1"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// PostgreSQL 17 and later: nothing in the role may end a transaction of ours.
const TRANSACTION_TIMEOUT: &str = "SELECT set_config('transaction_timeout', '0', false) \
                                   WHERE current_setting('server_version_num')::int >= 170000";

impl Session {
    /// The statements that set it, with the URL's own options first.
    pub(super) fn sql(self, options: &[(String, String)]) -> String {
        let ours: &[&[(&str, &str)]] = match self {
            Self::Unlimited => &[EVERYWHERE, UNLIMITED],
            Self::Hot => &[EVERYWHERE, LIMITED, BY_KEY],
            Self::Plain => &[EVERYWHERE, LIMITED],
            Self::Search => &[EVERYWHERE, LIMITED, super::ticket_search::SESSION],
        };
        let set = |(name, value): (&str, &str)| {
            format!("set_config({}, {}, false)", literal(name), literal(value))
        };
        let given = options
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        // In one list they are set from left to right: ours stand.
        let all: Vec<String> = given.chain(ours.concat()).map(set).collect();
        format!("SELECT {}; {TRANSACTION_TIMEOUT}", all.join(", "))
    }
}

/// A text as SQL has it, whatever `standard_conforming_strings` says.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// The settings in the `options` of a URL (`-c name=value`, `--name=value`; a backslash keeps a
/// blank), and what is left that cannot be set later and goes along as it is.
pub(super) fn options_of(options: &str) -> (Vec<(String, String)>, String) {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            blank if blank.is_whitespace() => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            }
            other => word.push(other),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));

    let (mut settings, mut rest) = (Vec::new(), Vec::new());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next()
        } else {
            word.strip_prefix("--")
                .or_else(|| word.strip_prefix("-c"))
                .map(str::to_owned)
        };
        match setting
            .as_deref()
            .and_then(|setting| setting.split_once('='))
        {
            // As the server reads them: a hyphen in a name is an underscore.
            Some((name, value)) => settings.push((name.replace('-', "_"), value.to_owned())),
            None => {
                rest.push(escaped(&word));
                rest.extend(setting.filter(|_| word == "-c").as_deref().map(escaped));
            }
        }
    }
    (settings, rest.join(" "))
}

fn escaped(word: &str) -> String {
    word.chars()
        .flat_map(|character| {
            let special = character.is_whitespace() || character == '\\';
            special.then_some('\\').into_iter().chain([character])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        settings.iter().map(owned).collect()
    }

    #[test]
    fn the_options_of_a_url_are_settings() {
        for (options, settings, rest) in [
            ("", vec![], ""),
            ("-c search_path=app", vec![("search_path", "app")], ""),
            ("-csearch_path=app", vec![("search_path", "app")], ""),
            (
                "--search-path=app,public -c geqo=off",
                vec![("search_path", "app,public"), ("geqo", "off")],
                "",
            ),
            (
                r"-c search_path=app,\ public",
                vec![("search_path", "app, public")],
                "",
            ),
            ("-c app.tenant=a=b", vec![("app.tenant", "a=b")], ""),
            ("-P -c geqo=off -B 5", vec![("geqo", "off")], "-P -B 5"),
            ("-c geqo", vec![], "-c geqo"),
        ] {
            assert_eq!(
                options_of(options),
                (pairs(&settings), rest.to_owned()),
                "{options}"
            );
        }
    }

    #[test]
    fn ours_come_after_the_urls_and_texts_are_quoted() {
        let sql = Session::Hot.sql(&pairs(&[
            ("statement_timeout", "1"),
            ("app.name", r"O'Neil \ Co"),
        ]));

        let of = |text: &str| sql.find(text).unwrap_or_else(|| panic!("{text} in {sql}"));
        assert!(
            of("'statement_timeout', '1'") < of("'statement_timeout', '15000'"),
            "{sql}"
        );
        assert!(
            sql.contains(r"set_config('app.name',  E'O''Neil \\ Co', false)"),
            "{sql}"
        );
    }
}
