//! The adapters against every recorded request and all that fuzzing found, each with the name of every provider on it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::cases::sources;
use crate::property::{parse, verify};

fn inputs() -> Vec<PathBuf> {
    let corpus = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/found")).unwrap();
    let corpus = corpus.map(|entry| entry.unwrap().path());
    let recorded = sources().into_iter().flat_map(|source| source.cases).map(|case| case.path);
    corpus.chain(recorded).collect()
}

#[test]
fn whatever_is_sent_is_refused_or_read_as_something() {
    let (sources, inputs) = (sources(), inputs());
    assert!(inputs.len() > 300, "only {} inputs", inputs.len());
    for path in inputs {
        let input = fs::read(&path).unwrap();
        let held = catch_unwind(AssertUnwindSafe(|| {
            verify(&sources, &input);
            parse(&sources, &input);
        }));
        assert!(held.is_ok(), "{}", path.display());
    }
}
