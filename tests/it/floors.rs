//! The floors of `ARCHITECTURE.md`: a file imports only from below, no folder has a circle, and each file says at its top what it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors of the table in `ARCHITECTURE.md`, from the top; those that stand apart come last.
fn floors() -> Vec<String> {
    let text = fs::read_to_string(source().join("ARCHITECTURE.md")).unwrap();
    let table = text.split("| floor | who lives there |").nth(1).unwrap().lines().skip(2);
    table.map_while(|line| line.strip_prefix('|')?.split('`').nth(1).map(str::to_owned)).collect()
}

const APART: [&str; 2] = ["simulate", "world"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push(path);
        }
    }
}

/// A module: `["store", "buffer", "view"]`.
type Name = Vec<String>;

/// Each file by its module, without comments and without the tests at its end.
type Sources = BTreeMap<Name, String>;

fn module(path: &Path) -> Name {
    let mut parts: Name = path.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The paths that a file names, `use` trees taken apart, each from the crate's root.
fn paths(own: &Name, is_folder: bool, code: &str) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || matches!(before, '_' | ':') {
                continue;
            }
            let mut rest = &code[at..];
            let mut base: Name = own.clone();
            if !is_folder {
                base.pop();
            }
            if start == "crate::" {
                base.clear();
                rest = &rest[7..];
            } else if start == "self::" {
                rest = &rest[6..];
            }
            while let Some(above) = rest.strip_prefix("super::") {
                // In a file, the first one leaves the file, which is done already.
                if is_folder || rest.len() != code[at..].len() {
                    base.pop();
                }
                rest = above;
            }
            tree(&base, rest, &mut found);
        }
    }
    found
}

/// Reads `a::b`, `a::{b, c::{self, d}}`.
fn tree(base: &Name, text: &str, found: &mut BTreeSet<Name>) {
    let mut base = base.clone();
    let mut rest = text;
    loop {
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if word.is_empty() {
            break;
        }
        rest = &rest[word.len()..];
        if word != "self" {
            base.push(word);
        }
        match rest.strip_prefix("::") {
            Some(next) => rest = next,
            None => break,
        }
    }
    let Some(inner) = rest.strip_prefix('{') else {
        found.insert(base);
        return;
    };
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let one = inner[from..at].trim();
                if !one.is_empty() {
                    tree(&base, one, found);
                }
                from = at + 1;
                if c == '}' {
                    return;
                }
            }
            _ => {}
        }
    }
}

/// The module that a path leads to: the deepest that there is, and through what a folder hands on (`pub use inner::Name`).
fn target(sources: &Sources, path: &Name) -> Option<Name> {
    let deepest = (1..=path.len()).rev().map(|many| path[..many].to_vec()).find(|name| sources.contains_key(name))?;
    let Some(item) = path.get(deepest.len()) else { return Some(deepest) };
    for (at, _) in sources[&deepest].match_indices("use ") {
        let statement = sources[&deepest][at + 4..].split(';').next().unwrap();
        let mut handed = BTreeSet::new();
        tree(&deepest, statement.trim_start_matches("self::"), &mut handed);
        for one in handed {
            if one.last() == Some(item) && one.len() > deepest.len() + 1 && sources.contains_key(&one[..=deepest.len()].to_vec())
            {
                return target(sources, &one);
            }
        }
    }
    Some(deepest)
}

fn wrong(floors: &[String], sources: &Sources, folders: &BTreeSet<Name>) -> Vec<String> {
    let mut wrong = Vec::new();
    let height = |floor: &str| floors.iter().rev().position(|one| one == floor);
    // Within a folder: which of its modules imports which.
    let mut inner: BTreeMap<Name, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (own, text) in sources {
        let Some(floor) = own.first().filter(|name| !matches!(name.as_str(), "main" | "lib")) else { continue };
        let Some(at) = height(floor) else {
            wrong.push(format!("{floor} stands on no floor"));
            continue;
        };
        for path in paths(own, folders.contains(own), text) {
            let Some(other) = target(sources, &path) else {
                if path.first().is_some_and(|name| name != floor) {
                    wrong.push(format!("{} imports {}, which is nowhere", own.join("::"), path.join("::")));
                }
                continue;
            };
            if other[0] != *floor {
                let is_right = match floor.as_str() {
                    "simulate" => other == ["base", "time"],
                    "world" => !APART.contains(&other[0].as_str()),
                    _ => {
                        !APART.contains(&other[0].as_str()) && height(&other[0]) < Some(at)
                            || floor == "cli" && other[0] == "simulate"
                    }
                };
                if !is_right {
                    wrong.push(format!("{} imports {}", own.join("::"), other.join("::")));
                }
                continue;
            }
            // The folder's own `mod.rs` is its face: it may use its files, and they what it says for all of them.
            let shared = own.iter().zip(&other).take_while(|(a, b)| a == b).count();
            if shared < own.len() && shared < other.len() {
                inner
                    .entry(own[..shared].to_vec())
                    .or_default()
                    .entry(own[shared].clone())
                    .or_default()
                    .insert(other[shared].clone());
            }
        }
    }
    for (folder, arrows) in inner {
        if let Some(circle) = circle(&arrows) {
            wrong.push(format!("{}: a circle of {}", folder.join("::"), circle.join(", ")));
        }
    }
    wrong
}

/// What is left when those that lead nowhere, and those that nobody leads to, are taken away again and again.
fn circle(arrows: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut left: BTreeSet<&String> = arrows.keys().collect();
    loop {
        let before = left.len();
        let ahead: BTreeSet<&String> =
            left.iter().copied().filter(|name| arrows[*name].iter().any(|to| left.contains(to))).collect();
        left = ahead.iter().copied().filter(|name| ahead.iter().any(|from| arrows[*from].contains(*name))).collect();
        if left.len() == before {
            return (before > 0).then(|| left.into_iter().cloned().collect());
        }
    }
}

#[test]
fn a_file_imports_only_from_floors_below_its_own_and_folders_have_no_circles() {
    let (mut paths, mut folders) = (Vec::new(), BTreeSet::new());
    files(&source(), &mut paths);
    assert!(paths.len() > 30);
    let mut sources = Sources::new();
    let mut headless = Vec::new();
    for path in &paths {
        let (text, name) = (fs::read_to_string(path).unwrap(), path.strip_prefix(source()).unwrap());
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//!") && !first.starts_with("#![doc") {
            headless.push(name.display().to_string());
        }
        if name.ends_with("mod.rs") {
            folders.insert(module(name));
        }
        sources.insert(module(name), code(&text));
    }
    assert_eq!(headless, Vec::<String>::new(), "these do not say at their top what they are for");
    assert_eq!(wrong(&floors(), &sources, &folders), Vec::<String>::new());
}

#[test]
fn an_import_from_above_and_a_circle_are_found() {
    let floors = ["top", "low"].map(str::to_owned);
    let sources = |files: &[(&str, &str)]| -> Sources {
        files.iter().map(|(name, text)| (name.split("::").map(str::to_owned).collect(), (*text).to_owned())).collect()
    };
    let folders = BTreeSet::from([vec!["low".to_owned()], vec!["top".to_owned()]]);
    let is_wrong = |files: &[(&str, &str)]| wrong(&floors, &sources(files), &folders);
    let all = [("top", "mod a;"), ("top::a", ""), ("low", "mod b;\npub use c::Thing;"), ("low::b", ""), ("low::c", "")];
    assert_eq!(is_wrong(&all), Vec::<String>::new());
    let with = |name: &str, text: &'static str| all.map(|(one, old)| (one, if one == name { text } else { old }));
    assert_eq!(is_wrong(&with("top::a", "use crate::low::{b, c::{self, Thing}};")), Vec::<String>::new());
    assert_eq!(is_wrong(&with("low::b", "use crate::top::a;")), ["low::b imports top::a"]);
    assert_eq!(is_wrong(&with("low::c", "fn f() { super::b::x() }")), Vec::<String>::new());
    let mut both = with("low::c", "use super::b::x;");
    both[3].1 = "use super::Thing;";
    assert_eq!(is_wrong(&both), ["low: a circle of b, c"]);
}

#[test]
fn the_promise_stands_word_for_word_in_the_readme_and_the_crate_documentation() {
    let promise = [
        "An event is **kept** once it is committed to the buffer with `synchronous=FULL`; nothing is acknowledged before it is kept.",
        "Every kept event is in the recording exactly once, whatever path it came by and however often.",
        "A crash at any moment needs no repair by hand: open, recover, go on.",
        "Time without a connection is a recorded **gap**, filled from history where the cloud still holds it, and never a silence.",
        "`overnight export --format ndjson` gives back every event as it was received (equal JSON values).",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["README.md", "src/ARCHITECTURE.md"] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        for sentence in promise {
            assert!(text.contains(sentence), "{file} lacks: {sentence}");
        }
    }
}

#[test]
fn whoever_opens_the_readme_sees_at_once_how_to_try_it_and_every_page_that_it_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let top: Vec<&str> = readme.lines().take(15).collect();
    assert!(top.iter().any(|line| line.starts_with("cargo run --release -- demo")), "{top:#?}");
    let links: Vec<&str> = readme.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)).collect();
    let own: Vec<&str> = links.into_iter().filter(|link| !link.starts_with("https://")).collect();
    assert!(own.iter().all(|link| root.join(link).is_file()), "{own:?}");
    let pages = fs::read_dir(source().join("docs")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for page in pages {
        assert!(own.contains(&format!("src/docs/{page}").as_str()), "README does not lead to {page}");
    }
}
