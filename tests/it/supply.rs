//! What the program is built from: licences and sources of all crates, held against `.deny.toml` as `cargo deny` would, but
//! with neither the network nor another tool.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn settings() -> toml::Table {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".deny.toml")).unwrap();
    text.parse().unwrap()
}

fn words(settings: &toml::Table, section: &str, list: &str, field: Option<&str>) -> BTreeSet<String> {
    let list = settings[section][list].as_array().unwrap();
    list.iter().map(|one| field.map_or(one, |field| &one[field]).as_str().unwrap().to_owned()).collect()
}

/// True when an SPDX expression is met by licences that are allowed. AND binds closer than OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // Before SPDX, a slash was OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let tokens: Vec<String> = spaced.split_whitespace().map(|token| token.replace("+WITH+", " WITH ")).collect();
    let mut at = 0;
    let met = any(&tokens, &mut at, allowed);
    assert_eq!(at, tokens.len(), "{expression} is no SPDX expression");
    met
}

fn any(tokens: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(tokens, at, allowed);
    while tokens.get(*at).is_some_and(|token| token == "OR") {
        *at += 1;
        met |= all(tokens, at, allowed);
    }
    met
}

fn all(tokens: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(tokens, at, allowed);
    while tokens.get(*at).is_some_and(|token| token == "AND") {
        *at += 1;
        met &= one(tokens, at, allowed);
    }
    met
}

fn one(tokens: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    *at += 1;
    if tokens[*at - 1] != "(" {
        return allowed.contains(&tokens[*at - 1]);
    }
    let met = any(tokens, at, allowed);
    assert_eq!(tokens[*at], ")");
    *at += 1;
    met
}

/// This machine's platform: crates for others need not have been downloaded.
fn host() -> String {
    let ran = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

#[test]
fn every_crate_has_a_licence_and_a_source_that_the_settings_allow() {
    let settings = settings();
    let (allowed, denied) = (words(&settings, "licenses", "allow", None), words(&settings, "bans", "deny", Some("crate")));
    let ran = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--all-features", "--format-version", "1", "--filter-platform", &host()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let metadata: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence, &allowed) {
            wrong.push(format!("{name}: {licence}"));
        }
        let source = package["source"].as_str();
        let is_official = |source: &str| source.starts_with("registry+") && source.ends_with("/crates.io-index");
        if !source.map_or(name == "overnight", is_official) {
            wrong.push(format!("{name} comes from {source:?}"));
        }
        if denied.contains(name) {
            wrong.push(format!("{name} is banned"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_licence_expression_is_read_as_spdx_means_it() {
    let allowed = BTreeSet::from(["MIT", "ISC", "A WITH B"].map(str::to_owned));
    for met in ["MIT", "GPL-3.0/MIT", "GPL-3.0 OR MIT AND ISC", "(GPL-3.0 OR MIT) AND ISC", "A WITH B"] {
        assert!(is_allowed(met, &allowed), "{met}");
    }
    for unmet in ["none", "MIT AND GPL-3.0", "A", "(MIT OR ISC) AND GPL-3.0", "A WITH C"] {
        assert!(!is_allowed(unmet, &allowed), "{unmet}");
    }
}
