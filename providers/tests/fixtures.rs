//! Each `CASE.http` against its `CASE.json`. `BLESS=1` writes the goldens anew, after signing the cases that have the
//! header `Signature: unsigned` in place of a proof (see `fixtures/README.md`).

use std::fmt::Write;
use std::fs;

use serde_json::Value;
use waypost_providers::{Headers, PROVIDERS, Parsed};

use crate::cases::{Case, Source, sources};

#[test]
fn every_case_becomes_its_golden() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut failures = String::new();
    let mut count = 0;
    for source in sources() {
        for case in &source.cases {
            count += 1;
            let case = if bless { signed(&source, case) } else { case.clone() };
            let outcome = source.outcome(&case);
            if bless {
                fs::write(case.golden(), format!("{outcome:#}\n")).unwrap();
            } else if let Err(failure) = check(&case, &outcome) {
                write!(failures, "\n{}: {failure}", case.name()).unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "of {count} cases:{failures}");
}

fn check(case: &Case, outcome: &Value) -> Result<(), String> {
    if unsigned(case).is_some() {
        return Err("it is not signed; run once with BLESS=1".into());
    }
    if case.headers.get("content-length") != Some(&case.body.len().to_string()) {
        return Err(format!("Content-Length is not {}", case.body.len()));
    }
    let golden = fs::read_to_string(case.golden()).map_err(|error| format!("no golden: {error}"))?;
    let golden: Value = serde_json::from_str(&golden).map_err(|error| format!("golden: {error}"))?;
    if golden == *outcome { Ok(()) } else { Err(format!("expected\n{golden:#}\nbut it is\n{outcome:#}")) }
}

/// What stands in place of a proof.
fn unsigned(case: &Case) -> Option<&str> {
    case.headers.get("signature")?.strip_prefix("unsigned")
}

/// The same case with a proof, also in its file.
fn signed(source: &Source, case: &Case) -> Case {
    let Some(wishes) = unsigned(case) else { return case.clone() };
    let now = wishes.trim().strip_prefix("at=").map_or(source.now, |at| at.parse().unwrap());
    let signed = source.sign(&case.name(), &case.body, now);
    let mut headers = Headers::from_iter([("Host", case.headers.get("host").unwrap_or("hooks.lanyard.example"))]);
    signed.headers.iter().for_each(|(name, value)| headers.push(name, value));
    headers.push("content-length", signed.body.len().to_string());
    let mut bytes = format!("POST /in/{} HTTP/1.1\r\n", case.source).into_bytes();
    for (name, value) in headers.iter() {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(&signed.body);
    fs::write(&case.path, bytes).unwrap();
    Case { headers, body: signed.body.to_vec(), ..case.clone() }
}

#[test]
fn no_golden_is_left_without_its_case() {
    for source in sources() {
        let folder = source.cases[0].path.parent().unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_golden = path.extension().is_some_and(|extension| extension == "json");
            assert!(!is_golden || path.with_extension("http").exists(), "{}", path.display());
        }
    }
}

#[test]
fn every_provider_has_good_unreadable_and_refused_cases() {
    for provider in PROVIDERS {
        let source = crate::cases::source(provider.name());
        let good: Vec<_> = source.good().flat_map(|(_, verified)| provider.parse(&verified)).collect();
        assert!(good.iter().any(|parsed| matches!(parsed, Parsed::Event(_))));
        assert!(good.iter().any(|parsed| matches!(parsed, Parsed::Unmapped { .. })));
        assert!(good.iter().any(|parsed| matches!(parsed, Parsed::Unreadable { .. })));
        assert!(source.cases.iter().any(|case| source.verify(case).is_err()));
    }
}

/// Reprocessing reads the stored request again: signature and decoded body are not kept with it.
#[test]
fn a_restored_request_reads_the_same() {
    for source in sources() {
        for (case, verified) in source.good() {
            let parsed = source.provider.parse(&verified);
            let restored = waypost_providers::Verified::restored(verified.into_request());
            assert_eq!(source.provider.parse(&restored), parsed, "{}", case.name());
        }
    }
}

/// What a store reads back is what was stored.
#[test]
fn what_was_read_survives_serialization() {
    for source in sources() {
        for (case, verified) in source.good() {
            let parsed = source.provider.parse(&verified);
            let json = serde_json::to_string(&parsed).unwrap();
            assert_eq!(serde_json::from_str::<Vec<Parsed>>(&json).unwrap(), parsed, "{}", case.name());
        }
    }
}
