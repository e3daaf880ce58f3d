//! The architecture's invariants, said as absences (docs/architecture.md): which room may know
//! which.

mod cycles;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ticketwire::domain::Platform;

use crate::support::output;

/// The room a file is in: the first part of its path under `src/`.
fn room(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let first = inside.iter().next().unwrap().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root().join("src"), "rs", &mut found);
    assert!(found.len() > 50);
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

/// What each room may use of the others; telemetry, the settings, `reach` and
/// `listening` are open to all.
fn may_use(room: &str) -> &'static [&'static str] {
    match room {
        "domain" | "telemetry" | "reach" | "listening" => &[],
        "contract" | "secrets" => &["domain"],
        "config" => &["domain", "secrets"],
        "store" | "broker" | "platforms" => &["domain", "contract", "secrets"],
        "sandbox" => &["domain"],
        "analysis" => &["domain", "platforms"],
        "integrations" => &["domain", "contract", "secrets", "store", "platforms"],
        "inbound" => &["domain", "secrets", "store", "broker", "platforms"],
        "pipeline" => &[
            "domain",
            "contract",
            "secrets",
            "store",
            "broker",
            "platforms",
            "analysis",
            "integrations",
            "inbound",
        ],
        "ops" => &["domain", "contract", "store", "broker", "pipeline"],
        "start" => &["secrets", "store"],
        "app" => &[
            "domain",
            "contract",
            "secrets",
            "start",
            "store",
            "broker",
            "platforms",
            "inbound",
            "pipeline",
            "ops",
        ],
        "cli" => &[
            "domain",
            "contract",
            "secrets",
            "store",
            "broker",
            "platforms",
            "integrations",
            "pipeline",
            "ops",
            "start",
            "app",
            "sandbox",
        ],
        "lib" | "main" => &["cli"],
        other => panic!("src/{other} has no place in the architecture"),
    }
}

#[test]
fn dependencies_point_one_way() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let here = room(&path);
        for line in text.lines() {
            let code = line.split("//").next().unwrap_or_default();
            for used in code.split("crate::").skip(1) {
                let used: String = used
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let open = ["telemetry", "config", "reach", "listening"].contains(&used.as_str())
                    || used == here;
                let rooms = [
                    "domain",
                    "contract",
                    "secrets",
                    "store",
                    "broker",
                    "platforms",
                    "analysis",
                    "integrations",
                    "inbound",
                    "pipeline",
                    "ops",
                    "start",
                    "app",
                    "cli",
                    "sandbox",
                ];
                if rooms.contains(&used.as_str())
                    && !open
                    && !may_use(&here).contains(&used.as_str())
                {
                    faults.push(format!("{}: uses {used}", path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn each_library_has_one_home() {
    let homes = [
        ("lapin::", "broker"),
        ("tokio_postgres::", "store"),
        ("deadpool_postgres::", "store"),
        ("refinery", "store"),
        ("reqwest::", "platforms"),
        ("backoff::", "platforms"),
        ("lettre::", "platforms"),
        ("axum::", "ops"),
        ("clap::", "cli"),
    ];
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let here = room(&path);
        for (name, home) in homes {
            let named = text
                .lines()
                .map(|line| line.split("//").next().unwrap_or_default())
                .any(|code| {
                    code.contains(&format!("use {name}")) || code.contains(&format!(" {name}"))
                });
            // main parses, and how to log is a flag; else only cli knows of flags.
            let flags = name == "clap::" && ["main", "telemetry"].contains(&here.as_str());
            // The sandbox is a server of its own.
            let at_home = here == home || flags || (here == "sandbox" && name == "axum::");
            if named && !at_home {
                faults.push(format!("{}: names {name}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Who decides by a clock decides by the database's.
#[test]
fn no_stage_and_no_adapter_asks_this_machine_s_clock() {
    let decides = [
        "pipeline",
        "platforms",
        "integrations",
        "analysis",
        "inbound",
    ];
    let mut faults = Vec::new();
    for (file, text) in sources() {
        let is_test =
            file.ends_with("tests.rs") || file.components().any(|c| c.as_os_str() == "tests");
        if is_test || !decides.contains(&room(&file).as_str()) {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        if code.contains("Utc::now()") {
            faults.push(file);
        }
    }
    assert!(
        faults.is_empty(),
        "telemetry::clock::now() in its place: {faults:#?}"
    );
}

/// Columns a line of code or of a comment may have.
const WIDTH: usize = 100;

/// Files that hold documents of others as they came, or long statements of the legacy application.
const FIXTURES: &[&str] = &[
    "examples/bench_migration.rs",
    "tests/it/legacy.rs",
    "tests/it/support/legacy.rs",
    "src/platforms/jira/inbound/tests.rs",
];

#[test]
fn no_line_is_wider_than_a_screen() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "examples"] {
        files(&root().join(folder), "rs", &mut found);
    }
    let mut faults = Vec::new();
    for file in &found {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        if FIXTURES.contains(&name.as_str()) {
            continue;
        }
        for (number, line) in std::fs::read_to_string(file).unwrap().lines().enumerate() {
            // A row of a table, a raw text and a long word cannot be broken.
            let is_whole = line.trim_start().starts_with("//! |")
                || line.contains("r#\"")
                || line.split_whitespace().any(|word| word.len() > 40);
            if line.chars().count() > WIDTH && !is_whole {
                faults.push(format!("{name}:{}", number + 1));
            }
        }
    }
    assert!(faults.is_empty(), "wider than {WIDTH}: {faults:#?}");
}

#[test]
fn statements_are_ascii_so_that_every_database_takes_them() {
    let mut found = Vec::new();
    for place in ["migrations", "src", "tests"] {
        files(&root().join(place), "sql", &mut found);
    }
    assert!(found.len() > 20);
    let other = found
        .iter()
        .filter(|path| !std::fs::read(path).unwrap().is_ascii());
    assert_eq!(other.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
}

#[test]
fn statements_live_in_the_store() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if room(&path) == "store" {
            continue;
        }
        for word in ["\"SELECT ", "\"INSERT INTO ", "\"UPDATE ", "\"DELETE FROM "] {
            if text.contains(word) {
                faults.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_setting_is_in_the_default_file_and_the_documentation() {
    let defaults = std::fs::read_to_string(root().join("config/default.toml")).unwrap();
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    for (key, _) in ticketwire::config::KEYS {
        let name = key.rsplit('.').next().unwrap();
        assert!(
            defaults.contains(&format!("{name} = ")),
            "{key} in config/default.toml"
        );
        assert!(
            page.contains(&format!("`{key}`")),
            "{key} in docs/configuration.md"
        );
    }
}

#[test]
fn the_readme_s_table_of_platforms_is_what_the_program_says() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let begin = "<!-- ticketwire platforms --markdown -->\n";
    let (_, table) = readme.split_once(begin).unwrap();
    let (table, _) = table.split_once("<!-- end -->").unwrap();

    let said = output(&BTreeMap::new(), &["platforms", "--markdown"]);

    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("| [jira]("), "{said}");
    assert_eq!(table.trim(), said.trim(), "copy it into README.md");
}

#[test]
fn every_platform_has_a_page_with_the_facts_that_the_program_says() {
    for platform in Platform::ALL {
        let path = root().join(format!("docs/platforms/{platform}.md"));
        let page = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let begin = format!("<!-- facts: {platform} -->\n");
        let (_, facts) = page.split_once(&begin).unwrap();
        let (facts, _) = facts.split_once("<!-- /facts -->").unwrap();

        let name = platform.to_string();
        let said = output(&BTreeMap::new(), &["platforms", &name, "--markdown"]);

        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains("Credentials: "), "{said}");
        assert_eq!(
            facts.trim(),
            said.trim(),
            "copy `ticketwire platforms {name} --markdown` into its page"
        );
    }
}

#[test]
fn every_script_is_named_in_the_readme() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for entry in std::fs::read_dir(root().join("scripts")).unwrap() {
        let name = entry.unwrap().file_name();
        let name = format!("scripts/{}", name.to_string_lossy());
        assert!(readme.contains(&name), "{name}");
    }
}

/// The words of a text that begin like this, each once.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with(prefix) && word.len() > prefix.len())
        .collect()
}

#[test]
fn alerts_are_explained_and_name_metrics_that_exist() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let metrics = read("src/telemetry/metrics.rs");
    let known = words(&metrics, "ticketwire_");
    let rules = read("docs/examples/prometheus/rules.yaml");
    let operations = read("docs/operations.md");
    let scaling = read("docs/scaling.md");

    for text in [&rules, &operations, &scaling] {
        for name in words(text, "ticketwire_") {
            assert!(known.contains(name), "{name} is no metric");
        }
    }
    assert!(words(&rules, "ticketwire_").len() > 4);
    let alerts = |text| {
        let mut found = words(text, "Ticketwire");
        found.retain(|word| word.chars().filter(char::is_ascii_uppercase).count() > 1);
        found
    };
    let named = alerts(&rules);
    assert_eq!(named, alerts(&operations), "alerts and their explanations");

    let mut pages = Vec::new();
    files(&root().join("docs/alerts"), "md", &mut pages);
    assert_eq!(pages.len(), named.len(), "a page for each: {pages:?}");
    for alert in named {
        let name = format!("docs/alerts/{alert}.md");
        let page = read(&name);
        for part in ["**Harm.**", "**Look.**", "| do |", "**Over when**"] {
            assert!(page.contains(part), "{name}: {part}");
        }
        assert!(rules.contains(&format!("runbook: {name}")), "{name}");
        for metric in words(&page, "ticketwire_") {
            assert!(known.contains(metric), "{name}: {metric} is no metric");
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = vec![root().join("README.md")];
    files(&root().join("docs"), "md", &mut documents);
    let mut checked = 0;
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let file = document.parent().unwrap().join(target);
            assert!(file.exists(), "{}: {target}", document.display());
            checked += 1;
        }
    }
    assert!(checked > 20);
}
