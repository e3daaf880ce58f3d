//! No two files use each other, neither directly nor through others: a file in such a circle cannot
//! be read, tested or moved without all of it. A module and what is inside it are one thing here.

use std::collections::{BTreeMap, BTreeSet};

#[test]
fn no_two_files_use_each_other() {
    let root = super::root().join("src");
    let files = super::sources().into_iter().map(|(path, text)| {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        (name, text)
    });
    let circles = Sources::new(files).circles();

    assert!(
        circles.is_empty(),
        "these files use each other; what both need belongs into a file of its own: {circles:#?}"
    );
}

/// Files that all reach each other, each with those of them that it uses.
type Circle = BTreeMap<String, BTreeSet<String>>;

/// A module's path below the crate.
type Module = Vec<String>;

/// The files of a crate, by the modules that they are.
struct Sources {
    files: BTreeMap<Module, Source>,
}

struct Source {
    /// Its path under `src/`.
    name: String,
    /// What its `use` lists bring in, by the name it has here.
    imports: BTreeMap<String, Module>,
    /// The paths that its code names, those of the lists among them.
    paths: Vec<Module>,
}

impl Sources {
    fn new(files: impl Iterator<Item = (String, String)>) -> Self {
        let mut tests = BTreeSet::new();
        let mut read = BTreeMap::new();
        for (name, text) in files {
            let module = module_of(&name);
            let mut code = tokens(&text);
            for test in without_tests(&mut code) {
                tests.insert([module.clone(), vec![test]].concat());
            }
            read.insert(module, Source::new(name, &code));
        }
        read.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Self { files: read }
    }

    /// The groups of files that reach each other.
    fn circles(&self) -> Vec<Circle> {
        let uses: BTreeMap<&Module, BTreeSet<&Module>> = self
            .files
            .iter()
            .map(|(module, source)| (module, self.used_by(module, source)))
            .collect();
        let reach: BTreeMap<&Module, BTreeSet<&Module>> = uses
            .keys()
            .map(|module| (*module, reachable(module, &uses)))
            .collect();
        let name = |module: &Module| self.files[module].name.clone();
        let mut done = BTreeSet::new();
        let mut circles = Vec::new();
        for (module, reached) in &reach {
            if !reached.contains(module) || done.contains(module) {
                continue;
            }
            let circle: BTreeSet<&Module> = reached
                .iter()
                .copied()
                .filter(|other| reach[other].contains(module))
                .collect();
            let named = circle.iter().map(|member| {
                let inside = uses[member].intersection(&circle);
                (name(member), inside.map(|used| name(used)).collect())
            });
            circles.push(named.collect());
            done.extend(circle);
        }
        circles
    }

    /// The files that a file names, without those above and below it.
    fn used_by(&self, module: &Module, source: &Source) -> BTreeSet<&Module> {
        source
            .paths
            .iter()
            .filter_map(|path| self.file_of(&self.absolute(module, path, 0)?, 0))
            .filter(|used| !used.starts_with(module) && !module.starts_with(used))
            .collect()
    }

    /// A path as seen from the crate's root; `None` where it leads out of the crate.
    fn absolute(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let from = |base: &[String]| Some([base, rest].concat());
        match first.as_str() {
            "crate" => from(&[]),
            "self" => from(module),
            "super" => {
                let (_, parent) = module.split_last()?;
                let above = |part: &&String| *part == "super";
                let more = rest.iter().take_while(above).count();
                let parent = parent.get(..parent.len().checked_sub(more)?)?;
                Some([parent, &rest[more..]].concat())
            }
            name => {
                let child = [module.as_slice(), &[name.to_owned()]].concat();
                if self.files.contains_key(&child) {
                    return from(&child);
                }
                let import = self.files.get(module)?.imports.get(name)?;
                // An import that leads out of the crate may begin with its own name.
                if depth > 9 || import.first() == Some(first) {
                    return None;
                }
                from(&self.absolute(module, import, depth + 1)?)
            }
        }
    }

    /// The file that defines what a path from the root names, through what others pass on of it.
    fn file_of(&self, path: &[String], depth: usize) -> Option<&Module> {
        let mut here = Module::new();
        for (index, part) in path.iter().enumerate() {
            let child = [here.as_slice(), std::slice::from_ref(part)].concat();
            if self.files.contains_key(&child) {
                here = child;
                continue;
            }
            let passed_on = self
                .files
                .get(&here)
                .and_then(|file| file.imports.get(part));
            if let Some(import) = passed_on.filter(|_| depth < 9) {
                let import = self.absolute(&here, import, 0)?;
                let whole = [&import, &path[index + 1..]].concat();
                return self.file_of(&whole, depth + 1);
            }
            break;
        }
        self.files.get_key_value(&here).map(|(module, _)| module)
    }
}

impl Source {
    fn new(name: String, code: &[String]) -> Self {
        let mut imports = BTreeMap::new();
        let mut paths = Vec::new();
        let mut at = 0;
        while let Some(token) = code.get(at) {
            let next = code.get(at + 1).map(String::as_str);
            if token == "use" && next != Some("<") {
                at += 1;
                let mut found = Vec::new();
                read_use(code, &mut at, &[], &mut found);
                for (name, path) in found {
                    paths.push(path.clone());
                    imports.insert(name, path);
                }
            } else if is_word(token) && next == Some("::") {
                let path = read_path(code, &mut at);
                paths.push(path);
            } else {
                at += 1;
            }
        }
        Self {
            name,
            imports,
            paths,
        }
    }
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`; the crate's root is none.
fn module_of(name: &str) -> Module {
    let path = name.strip_suffix(".rs").unwrap();
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let parts = path.split('/').map(str::to_owned);
    parts
        .filter(|part| part != "lib" && part != "main")
        .collect()
}

fn reachable<'a>(
    start: &'a Module,
    uses: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut left: Vec<&Module> = uses[start].iter().copied().collect();
    while let Some(module) = left.pop() {
        if found.insert(module) {
            left.extend(&uses[module]);
        }
    }
    found
}

/// Reads one tree of a `use`, up to what ends it: names here, and the whole paths.
fn read_use(code: &[String], at: &mut usize, within: &[String], found: &mut Vec<(String, Module)>) {
    let mut path = within.to_vec();
    let mut alias = None;
    while let Some(token) = code.get(*at) {
        match token.as_str() {
            "," | ";" | "}" => break,
            "::" => {}
            "{" => {
                *at += 1;
                while let Some(token) = code.get(*at).filter(|token| *token != "}") {
                    if token == "," {
                        *at += 1;
                    } else {
                        read_use(code, at, &path, found);
                    }
                }
                *at += 1;
                return;
            }
            "as" => {
                *at += 1;
                alias = code.get(*at).cloned();
            }
            // `{self, …}` is what the list is of, `*` is all of it.
            "self" if !path.is_empty() => {}
            "*" => {}
            part => path.push(part.to_owned()),
        }
        *at += 1;
    }
    if let Some(name) = alias.or_else(|| path.last().cloned()) {
        found.push((name, path));
    }
}

/// Reads `a::b::c`.
fn read_path(code: &[String], at: &mut usize) -> Module {
    let mut path = vec![code[*at].clone()];
    *at += 1;
    while code.get(*at).is_some_and(|token| token == "::") {
        *at += 1;
        match code.get(*at).filter(|token| is_word(token)) {
            Some(part) => path.push(part.clone()),
            None => break,
        }
        *at += 1;
    }
    path
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Takes out every item under `#[cfg(test)]`. Returns the modules among them, which may be files.
fn without_tests(code: &mut Vec<String>) -> Vec<String> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut modules = Vec::new();
    while let Some(start) = code.windows(TEST.len()).position(|tokens| tokens == TEST) {
        let end = start + item_length(&code[start..]);
        let item: Vec<String> = code.drain(start..end).collect();
        let module = item.iter().skip_while(|token| *token != "mod").nth(1);
        modules.extend(module.cloned());
    }
    modules
}

/// How many tokens an item has, its attributes among them.
fn item_length(code: &[String]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in code.iter().enumerate() {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token == "}" {
                    return index + 1;
                }
            }
            ";" if depth == 0 => return index + 1,
            _ => {}
        }
    }
    code.len()
}

/// The words and signs of a text, without its comments and what is between quotes.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if let Some(length) = quoted_length(rest) {
            length
        } else if is_word(rest) {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let length = end.unwrap_or(rest.len());
            found.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// The length of the comment that a text begins with; they nest.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match (rest.starts_with(b"/*"), rest.starts_with(b"*/")) {
            (true, _) => depth += 1,
            (false, true) => depth -= 1,
            (false, false) => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the text or character that a text begins with, if it does.
fn quoted_length(text: &str) -> Option<usize> {
    let body = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = &text[..text.len() - body.len()];
    if !["", "b", "c", "r", "br", "cr"].contains(&prefix) {
        return None;
    }
    let hashes = body.len() - body.trim_start_matches('#').len();
    if prefix.ends_with('r') && body[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let start = prefix.len() + hashes + 1;
        let length = text[start..].find(&end)?;
        return Some(start + length + end.len());
    }
    let quote = body.chars().next().filter(|c| ['"', '\''].contains(c))?;
    // A quote, one character and no second quote: a lifetime.
    let second = body.chars().nth(1)?;
    if quote == '\'' && second != '\\' && body.chars().nth(2) != Some('\'') {
        return None;
    }
    let mut escaped = false;
    for (index, c) in body.char_indices().skip(1) {
        if c == quote && !escaped {
            return Some(prefix.len() + index + 1);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

#[test]
fn a_cycle_is_found_however_a_file_names_another() {
    let circles = |files: &[(&str, &str)]| -> Vec<String> {
        let files = files
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()));
        let found = Sources::new(files).circles().into_iter();
        found
            .map(|circle| circle.into_keys().collect::<Vec<_>>().join(" "))
            .collect()
    };
    for (text, circle) in [
        ("use super::{c::C, b::{self, B}};", "a.rs b.rs"),
        ("fn f() { crate::b::f() }", "a.rs b.rs"),
        ("use crate::b as other; fn f() -> other::B { }", "a.rs b.rs"),
        ("use super::top::B;", "a.rs b.rs"),
        (
            "use super::top; fn f() -> top::inner::B { }",
            "a.rs b.rs top/mod.rs",
        ),
        (
            "fn f<'a>(c: char) -> bool { c == '\"' && crate::b::f('\\'') }",
            "a.rs b.rs",
        ),
        ("use super::c::C;", ""),
        ("use tokio::b::B;", ""),
        ("// use crate::b::B;\n/* crate::b /* */ crate::b */", ""),
        (
            "const A: &str = \"crate::b \\\" crate::b\"; const B: &str = r#\"\" crate::b\"#;",
            "",
        ),
        (
            "#[cfg(test)]\n#[allow(x)]\nmod tests { use crate::b::B; fn f() {} }",
            "",
        ),
        ("#[cfg(test)] use crate::b::{B, C}; fn f() {}", ""),
    ] {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod top;"),
            ("a.rs", text),
            ("b.rs", "use crate::a::A;"),
            ("c.rs", "use std::fmt;"),
            ("top/mod.rs", "mod inner; pub use inner::B;"),
            ("top/inner.rs", "pub use crate::b::B;"),
        ];
        assert_eq!(circles(&files).join(", "), circle, "{text}");
    }

    for (attribute, circle) in [("#[cfg(test)]", ""), ("", "a/tests.rs b.rs")] {
        let tests = [
            ("a.rs", &*format!("{attribute} mod tests;")),
            ("a/tests.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::tests::T;"),
        ];
        assert_eq!(circles(&tests).join(", "), circle, "{attribute}");
    }
    let family = [
        ("a/mod.rs", "mod b; use b::B;"),
        ("a/b.rs", "use super::A;"),
    ];
    assert_eq!(
        circles(&family),
        Vec::<String>::new(),
        "a module and its own"
    );
}
