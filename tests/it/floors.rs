//! The floors of `ARCHITECTURE.md` as data: a file imports only from below, and says at its top what it is for.

use std::fs;
use std::path::{Path, PathBuf};

const FLOORS: [&[&str]; 10] = [
    &["time", "disk", "json", "error", "words"],
    &["event", "schema", "settings", "wire", "backoff", "meter", "zone"],
    &["collect", "layout", "sources", "chart"],
    &["buffer", "archive"],
    &["keep", "reader", "coverage", "devices"],
    &["status", "verify"],
    &["ingest", "backfill", "listen", "roll", "tables"],
    &["export", "plot", "sql"],
    &["record", "simulate", "report"],
    &["cli"],
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
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

/// Modules named after `crate::` in code, tests at the end of a file included.
fn imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.match_indices("crate::").map(|(at, _)| line[at + 7..].to_owned()).collect::<Vec<_>>())
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

fn wrong(sources: &[(PathBuf, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in sources {
        let module = path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//!") && !first.starts_with("#![doc") {
            wrong.push(format!("{}: does not say at its top what it is for", path.display()));
        }
        if matches!(module.as_str(), "main" | "lib") {
            continue;
        }
        let Some(own) = floor(&module) else {
            wrong.push(format!("{}: stands on no floor", path.display()));
            continue;
        };
        for import in imports(text) {
            match floor(&import) {
                Some(below) if below < own || import == module => {}
                Some(other) => wrong.push(format!("{}: floor {own} imports {import} of floor {other}", path.display())),
                None => wrong.push(format!("{}: imports {import}, which stands on no floor", path.display())),
            }
        }
    }
    wrong
}

#[test]
fn a_file_imports_only_from_floors_below_its_own_and_has_a_head() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&source, &mut paths);
    let sources: Vec<_> =
        paths.iter().map(|path| (path.strip_prefix(&source).unwrap().to_owned(), fs::read_to_string(path).unwrap())).collect();
    assert!(sources.len() > 30);
    assert_eq!(wrong(&sources), Vec::<String>::new());
}

#[test]
fn an_import_from_above_and_a_missing_head_are_found() {
    let up = ("time.rs".into(), "//! Head.\nuse crate::roll::Roller;\n".to_owned());
    let beside = ("buffer/mod.rs".into(), "//! Head.\nfn f() { crate::archive::x() }\n".to_owned());
    let headless = ("roll.rs".into(), "use crate::time::now;\n".to_owned());
    assert_eq!(wrong(&[up, beside, headless]).len(), 3);
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
