//! What a fuzzer calls: one function per kind of input that comes from outside. Each takes any bytes and panics where the
//! code behind it breaks a promise.
//!
//! Owns: the list of targets, and the replay of the kept corpus as a test. Must never know: how the fuzzer makes its
//! input.
//!
//! Exists with the feature `fuzzing`, for the targets in `fuzz/`, and in unit tests.

pub use crate::log::fuzzing::{folders, records};
pub use crate::names::fuzzing::names;
pub use crate::net::fuzzing::{frames, http, inbox};
pub use crate::protocol::fuzzing::commands;

/// A target: its name, as in `fuzz/fuzz_targets` and `fuzz/corpus`, and what is called.
type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("commands", commands),
    ("folders", folders),
    ("frames", frames),
    ("http", http),
    ("inbox", inbox),
    ("names", names),
    ("records", records),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::TARGETS;

    #[test]
    fn the_kept_corpus_breaks_no_promise() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        for (name, target) in TARGETS {
            assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "{name} is a target of the fuzzer, too");
            target(b"");
            let corpus = fs::read_dir(fuzz.join("corpus").join(name)).expect("each target has a corpus");
            let files: Vec<_> = corpus.map(|entry| entry.expect("a readable entry").path()).collect();
            assert!(!files.is_empty(), "{name} has inputs");
            for file in files {
                println!("{}", file.display()); // shown if it fails
                target(&fs::read(file).expect("a readable file"));
            }
        }
    }
}
