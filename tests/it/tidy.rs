//! What the sources hold to: sizes, who imports whom, and what each provider brings along.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use waypost::config::Settings;
use waypost_providers::Way;

use crate::tidy_text::{functions, has_path, without_text};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// Small modules that stand below the layers: time, and the points where a test may kill the process.
const HELPERS: [&str; 3] = ["clock", "crash", "telemetry"];
/// Modules that take time as an argument and hold no points to crash at.
const PURE: [&str; 3] = ["domain", "outbound", "config"];
/// What a folder must not name, whichever crate it comes from.
const FOREIGN: [(&str, &[&str]); 4] = [
    ("src/domain", &["actix", "actix_web", "tokio", "redis", "fjall", "hyper"]),
    ("src/outbound", &["actix", "actix_web", "tokio", "redis", "fjall", "hyper"]),
    ("src/store", &["actix", "actix_web", "hyper"]),
    ("providers", &["actix", "actix_web", "tokio", "redis", "hyper", "std::fs", "std::net"]),
];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `folder` with one of these extensions, with its path from the root.
pub(crate) fn files(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|known| extensions.iter().any(|wanted| known == *wanted)) {
                found.push((shown(&path), read(&path)));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "nothing in {folder}");
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/")
}

fn sources() -> Vec<(String, String)> {
    ["src", "providers", "tests", "bench"].into_iter().flat_map(|folder| files(folder, &["rs", "lua"])).collect()
}

pub(crate) fn hold(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let long = |(path, text): (String, String)| {
        let lines = text.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{path}: {lines} lines, at most {FILE_LINES_MAX}"))
    };
    hold(&sources().into_iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn functions_are_short() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in sources().into_iter().filter(|(path, _)| path.ends_with(".rs")) {
        for (name, lines) in functions(&without_text(&text)) {
            seen += 1;
            if lines > FUNCTION_LINES_MAX {
                wrong.push(format!("{path}: fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}"));
            }
        }
    }
    assert!(seen > 100, "only {seen} functions were found");
    hold(&wrong);
}

/// The table of `src/lib.rs`: each module, and what it may import, with what that may import in turn.
fn layers() -> BTreeMap<String, BTreeSet<String>> {
    let text = read(&root().join("src/lib.rs"));
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("//! | [`")?.split('|').collect();
        Some((cells[0].trim_end_matches("`] ").to_owned(), cells[2].to_owned()))
    });
    let rows: BTreeMap<_, _> = rows.collect();
    let names: BTreeSet<_> = rows.keys().cloned().collect();
    let direct = |cell: &str| if cell.trim() == "all" { names.clone() } else { quoted(cell) };
    let mut layers: BTreeMap<_, _> = rows.iter().map(|(name, cell)| (name.clone(), direct(cell))).collect();
    for _ in 0..layers.len() {
        let before = layers.clone();
        for allowed in layers.values_mut() {
            allowed.extend(allowed.clone().iter().filter_map(|name| before.get(name)).flatten().cloned());
        }
    }
    assert!(layers.len() >= 9, "src/lib.rs has lost its table: {layers:?}");
    layers
}

#[test]
fn modules_import_what_the_map_allows() {
    let layers = layers();
    let modules: Vec<_> = layers.keys().map(String::as_str).chain(HELPERS).collect();
    let mut wrong = Vec::new();
    for (path, text) in files("src", &["rs"]) {
        let text = without_text(&text);
        let module = path.trim_start_matches("src/").split(['/', '.']).next().unwrap();
        if has_path(&text, "crate::{") {
            wrong.push(format!("{path}: one `use` for each path of `crate`, so that this test can read it"));
        }
        let Some(allowed) = layers.get(module) else { continue };
        for other in &modules {
            let is_helper = HELPERS.contains(other) && !PURE.contains(&module);
            let fine = *other == module || is_helper || allowed.contains(*other);
            if !fine && has_path(&text, &format!("crate::{other}")) {
                wrong.push(format!("{path}: `{module}` must not import `{other}`"));
            }
        }
    }
    hold(&wrong);
}

#[test]
fn the_map_keeps_the_two_halves_apart() {
    let layers = layers();
    for (module, not) in [
        ("domain", &["store", "http", "dispatch", "outbound"][..]),
        ("outbound", &["store", "http", "dispatch"]),
        ("store", &["http", "dispatch", "outbound"]),
        ("http", &["dispatch"]),
        ("dispatch", &["http"]),
    ] {
        let both: Vec<_> = not.iter().filter(|other| layers[module].contains(**other)).collect();
        assert!(both.is_empty(), "src/lib.rs lets `{module}` import {both:?}");
    }
}

#[test]
fn pure_folders_do_no_io() {
    let mut wrong = Vec::new();
    for (folder, names) in FOREIGN {
        for (path, text) in files(folder, &["rs"]) {
            let text = without_text(&text);
            let is_test = path.starts_with("providers/tests/");
            for name in names.iter().filter(|name| !is_test && has_path(&text, name)) {
                wrong.push(format!("{path}: must not name `{name}`"));
            }
        }
    }
    let manifest = read(&root().join("providers/Cargo.toml"));
    let needs: toml::Table = toml::from_str(&manifest).unwrap();
    let needs = needs["dependencies"].as_table().unwrap();
    wrong.extend(
        ["actix-web", "tokio", "redis", "hyper"]
            .iter()
            .filter(|name| needs.contains_key(**name))
            .map(|name| format!("providers/Cargo.toml: must not need `{name}`")),
    );
    hold(&wrong);
}

#[test]
fn what_was_verified_is_restored_in_one_place() {
    // Tests prove nothing to anybody.
    let is_free = |path: &str| path == "providers/request.rs" || path.starts_with("providers/tests/");
    let using: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| !is_free(path) && has_path(&without_text(text), "Verified::restored"))
        .map(|(path, _)| path)
        .collect();
    assert!(using.len() <= 1, "`Verified::restored` is used in {using:?}; one place at most may skip the proof");
}

/// Reasons are logged and shown. `Parsed::unreadable` takes none but those that stand in the sources.
#[test]
fn why_a_request_is_unreadable_repeats_nothing_of_it() {
    let is_free = |path: &str| path.starts_with("providers/tests/");
    let using: Vec<_> = files("providers", &["rs"])
        .into_iter()
        .filter(|(path, text)| !is_free(path) && has_path(&without_text(text), "Parsed::Unreadable"))
        .map(|(path, _)| path)
        .collect();
    hold(&using);
}

fn providers() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("providers")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| path.join("mod.rs").is_file() && path.is_dir()).collect();
    found.sort();
    assert_eq!(found.len(), waypost_providers::PROVIDERS.len(), "a folder is not in PROVIDERS, or has no mod.rs");
    found
}

#[test]
fn a_provider_is_whole() {
    let list = without_text(&read(&root().join("providers/lib.rs")));
    let mut wrong = Vec::new();
    for folder in providers() {
        let module = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let name = module.replace('_', "-");
        let Some(provider) = waypost_providers::by_name(&name) else {
            wrong.push(format!("providers/{module}: its name is another"));
            continue;
        };
        let fixtures = root().join("fixtures").join(&name);
        let is_signed = provider.ways().contains(&Way::Signature);
        let (files, cases): (&[&str], &[&str]) = match is_signed {
            true => (&["verify.rs", "parse.rs", "sign.rs"], &["wrong-key", "stale", "future"]),
            false => (&["parse.rs"], &["wrong-key"]),
        };
        let mut wanted: Vec<_> = files.iter().map(|file| folder.join(file)).collect();
        wanted.push(fixtures.join("source.toml"));
        for case in cases {
            wanted.extend(["http", "json"].map(|kind| fixtures.join(format!("refused-{case}.{kind}"))));
        }
        wrong.extend(wanted.iter().filter(|path| !path.is_file()).map(|path| format!("{} is missing", shown(path))));
        let mut cases = std::fs::read_dir(&fixtures).unwrap().map(|entry| entry.unwrap().file_name());
        if !cases
            .any(|case| case.to_string_lossy().starts_with("refused-") && case.to_string_lossy().contains("missing"))
        {
            wrong.push(format!("fixtures/{name}: no case `refused-…missing…`, a request without its proof"));
        }
        if !list.contains(&format!("mod {module};")) || !list.contains(&format!("&{module}::")) {
            wrong.push(format!("providers/lib.rs: `{module}` is not in it"));
        }
    }
    hold(&wrong);
}

#[test]
fn the_default_config_is_right() {
    let path = root().join("config/default.toml");
    toml::from_str::<toml::Table>(&read(&path)).unwrap();
    Settings::load(Some(&path), std::iter::empty()).unwrap();
}
