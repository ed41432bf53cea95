//! The types of problems are those that are documented, and each is given by something.

use std::collections::BTreeSet;
use std::fmt::Write;

use waypost::http::problem_types::{About, ProblemType};

use crate::tidy::{files, root};

/// The document, as the program knows them.
fn document() -> String {
    let mut text = "# Problems\n\n\
        What an error of the API is: RFC 9457, `application/problem+json`, with `type`, `title`, `status` and mostly `detail`; of a\n\
        wrong field also `field`. Compare `type`, which is `urn:waypost:problem:` and one of these: they never change, and there are\n\
        no others. `503` and `429` come with `Retry-After`. Providers are answered `{\"error\": TYPE}` with the last part alone; at a\n\
        source of inbound mail with `503` in the place of every `4xx` but `406`.\n\n\
        `BLESS=1 cargo test --test it problems` writes this page.\n\n\
        | `urn:waypost:problem:` | status | title | what to do |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for kind in ProblemType::ALL {
        let About { name, status, title, remedy } = kind.about();
        writeln!(text, "| `{name}` | {status} | {title} | {remedy} |").unwrap();
    }
    text
}

#[test]
fn the_document_lists_them_all() {
    let path = root().join("docs/problems.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, document()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), document(), "run once with BLESS=1");
}

#[test]
fn no_two_have_one_name_and_each_is_given() {
    let names: BTreeSet<_> = ProblemType::ALL.iter().map(|kind| kind.about().name).collect();
    assert_eq!(names.len(), ProblemType::ALL.len());
    let sources = files("src/http", &["rs"]);
    for kind in ProblemType::ALL {
        let named = format!("ProblemType::{kind:?}");
        let ends = |rest: &str| !rest.starts_with(|letter: char| letter.is_alphanumeric());
        let is_given = sources.iter().any(|(_, text)| text.split(&named).skip(1).any(ends));
        assert!(is_given, "{kind:?} is never given");
        let About { status, .. } = kind.about();
        assert!((400..=599).contains(&status), "{kind:?}");
    }
}

/// What stands in the README and in the tests as a type is one.
#[test]
fn no_type_is_named_that_is_none() {
    let names: BTreeSet<_> = ProblemType::ALL.iter().map(|kind| kind.about().name).collect();
    for (path, text) in ["src", "tests"].into_iter().flat_map(|folder| files(folder, &["rs"])) {
        for rest in text.split("urn:waypost:problem:").skip(1) {
            let name: String =
                rest.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect();
            assert!(name.is_empty() || names.contains(&*name), "{path}: `{name}`");
        }
    }
}
