//! Libraries that are no ONNX Runtime, or one that is too old. In a process of its own: a process loads one runtime only.

#![allow(clippy::unwrap_used)] // Test code, in part outside of test functions.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use vigil_detect::{Runtime, RuntimeError};

/// The smallest library that says which version it is, as ONNX Runtime does.
const OLD: &str = r#"
static const char *version(void) { return "1.20.1"; }
static const void *api(unsigned wanted) { return 0; }
static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { api, version };
const void *OrtGetApiBase(void) { return &base; }
"#;

fn unusable(library: &Path) -> String {
    let err = Runtime::start(Some(library)).unwrap_err();
    assert!(matches!(err, RuntimeError::Unusable { .. }), "{err:?}");
    format!("{err}: {}", err.source().unwrap())
}

#[test]
fn what_cannot_be_used_is_told_and_does_not_keep_the_right_one_out() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    assert!(unusable(&text).contains("text.so"), "{}", unusable(&text));

    let (source, old) = (dir.path().join("old.c"), dir.path().join("old.so"));
    std::fs::write(&source, OLD).unwrap();
    // The C compiler that Rust links with.
    assert!(Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&old, &source]).status().unwrap().success());
    let told = unusable(&old);
    assert!(told.contains("old.so") && told.contains("1.20.1") && told.contains("1.24"), "{told}");

    let found = Runtime::start(None).unwrap_or_else(|err| panic!("{err}"));
    assert!(found.info().providers.iter().any(|info| info.problem.is_none()));
}
