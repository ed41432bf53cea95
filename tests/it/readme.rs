//! The README's commands exist and do what it says.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::{Command, Output};

use serde_json::Value;
use waypost::domain::plan::StoredEvent;
use waypost::outbound::format::drin;
use waypost_providers::{PROVIDERS, Way};

use crate::support::planned;
use crate::tidy::root;

/// Known to everybody: values of the right shape for the variables that the example config names.
const VALUES: [(&str, &str); 5] = [
    ("WAYPOST_API_KEY", "example-0123456789abcdef0123456789abcdef"),
    ("RESEND_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    (
        "SENDGRID_VERIFICATION_KEY",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEyA6iVpkPnuRSbKKlvsvJmHAD05oFv7rZX2r1TIeLUrLmQ0kFKfW1EQWqiJT67yIGuZoM1uEYb33SfsymRZ/S+A==",
    ),
    ("BILLING_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("AUDIT_WEBHOOK_SECRET", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
];

pub(crate) fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

fn waypost(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
    command.args(arguments).current_dir(root());
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Lines of the README's shell blocks, without their comments.
fn shell_lines() -> Vec<String> {
    let text = readme();
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines = blocks.flat_map(|block| block.lines().map(|line| line.split(" #").next().unwrap_or(line).trim()));
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_demo_shows_a_delivery_that_was_refused_twice() {
    let output = waypost(&["demo", "--exit"]).output().unwrap();
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("503, 503, 200"), "{told}");
}

#[test]
fn the_example_config_checks_out() {
    let path = "config/example.toml";
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let named: BTreeSet<_> =
        text.split("env = \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert_eq!(named, VALUES.iter().map(|(name, _)| (*name).to_owned()).collect());

    let folder = tempfile::tempdir().unwrap();
    let (config, key) = (folder.path().join("example.toml"), folder.path().join("mailgun"));
    std::fs::write(&key, "key-0123456789abcdef0123456789abcdef\n").unwrap();
    // The file that it names is there on the machine that it is for, and not here.
    std::fs::write(&config, text.replace("/run/secrets/mailgun", key.to_str().unwrap())).unwrap();
    let output = waypost(&["check", config.to_str().unwrap()]).envs(VALUES).output().unwrap();
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    for shown in ["source mailgun", "endpoint wh_billing", "endpoint wh_audit"] {
        assert!(told.contains(shown), "{told}");
    }
    for (_, value) in VALUES {
        assert!(!told.contains(value), "a secret is shown: {told}");
    }
}

#[test]
fn its_command_lines_are_known_to_the_program() {
    let lines = shell_lines();
    let mut commands = BTreeSet::new();
    for line in &lines {
        let arguments = match line.split_once("waypost ") {
            Some((before, rest)) if before.trim_end().is_empty() || before.ends_with('/') => rest,
            _ => match line.strip_prefix("cargo run").and_then(|rest| rest.split_once(" -- ")) {
                Some((_, rest)) => rest,
                None => continue,
            },
        };
        let words: Vec<_> = arguments.split_whitespace().collect();
        commands.insert(words[0].to_owned());
        let output = waypost(&[words[0], "--help"]).output().unwrap();
        let help = told(&output);
        assert!(output.status.success(), "{line}: {help}");
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            let flag = flag.split('=').next().unwrap();
            assert!(help.contains(flag), "{line}: {flag} is not in\n{help}");
        }
    }
    let known = "audit check completions deliveries demo endpoints erase events feed key listen replay secrets send serve sources stats suppressions";
    let known = known.split(' ').map(str::to_owned).collect();
    assert_eq!(commands, known, "the README shows each command once at least: {lines:?}");
}

#[test]
fn its_test_command_is_there() {
    let text = std::fs::read_to_string(root().join("tests/all")).unwrap();
    assert!(text.contains("--whole"));
    let lines = shell_lines();
    for wanted in ["cargo run --release -- demo", "tests/all", "tests/all --whole"] {
        assert!(lines.iter().any(|line| line == wanted), "the README does not show `{wanted}`");
    }
}

/// The body that a recorded event becomes.
#[test]
fn the_event_it_shows_is_a_true_one() {
    let plan = planned("delivered", &[]);
    let event: StoredEvent = serde_json::from_slice(&plan.units[0].json).unwrap();
    let body: Value = serde_json::from_slice(&drin::render(&event).unwrap()).unwrap();

    let text = readme();
    let shown = text.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let shown: Value = serde_json::from_str(shown).unwrap();
    assert_eq!(shown, body, "the README's event is not\n{body:#}");
}

/// The table of the providers, as the program knows them.
fn providers() -> String {
    let mut table = "| `provider` | `verify` | with |\n| --- | --- | --- |\n".to_owned();
    for provider in PROVIDERS {
        let ways = provider.ways().iter().map(|way| format!("`\"{}\"`", way.as_str()));
        let keys = provider.key_fields().iter().map(|field| format!("`{}`: {}", field.name, field.help));
        let others = [(Way::Basic, "`logins`"), (Way::Oauth, "`clients`")].into_iter();
        let others = others.filter(|(way, _)| provider.ways().contains(way)).map(|(_, keys)| keys.to_owned());
        let [ways, keys] = [ways.collect::<Vec<_>>().join(", "), keys.chain(others).collect::<Vec<_>>().join("; ")];
        writeln!(table, "| `{}` | {ways} | {keys} |", provider.name()).unwrap();
    }
    table
}

#[test]
fn its_table_of_providers_is_that_of_the_program() {
    let (text, wanted) = (readme(), providers());
    let (before, rest) = text.split_once("writes this table -->\n").unwrap();
    let (table, after) = rest.split_once("<!-- end of providers -->").unwrap();
    if std::env::var_os("BLESS").is_some() {
        let text = format!("{before}writes this table -->\n{wanted}<!-- end of providers -->{after}");
        std::fs::write(root().join("README.md"), text).unwrap();
        return;
    }
    assert_eq!(table, wanted, "run once with BLESS=1");
}

#[test]
fn the_files_it_names_are_there() {
    let text = readme();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
        assert!(root().join(link).exists(), "{link} is not there");
    }
}
