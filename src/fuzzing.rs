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
    use std::hash::{BuildHasher, RandomState};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use super::TARGETS;

    fn corpus(name: &str) -> Vec<Vec<u8>> {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "{name} is a target of the fuzzer, too");
        let entries = fs::read_dir(fuzz.join("corpus").join(name)).expect("each target has a corpus");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
        assert!(!files.is_empty(), "{name} has inputs");
        files.sort();
        files.iter().map(|file| fs::read(file).expect("a readable file")).collect()
    }

    /// Panics with the input, to be kept in the corpus.
    fn try_on(name: &str, target: fn(&[u8]), input: &[u8]) {
        let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
        assert!(outcome.is_ok(), "{name} breaks a promise with b\"{}\"", input.escape_ascii());
    }

    #[test]
    fn the_kept_corpus_breaks_no_promise() {
        for (name, target) in TARGETS {
            try_on(name, *target, b"");
            corpus(name).iter().for_each(|input| try_on(name, *target, input));
        }
    }

    /// SplitMix64: every seed is a good one.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
        }
    }

    /// One of the kept inputs with a few changes: bytes and bits, pieces that are gone, doubled, or of another input.
    fn changed(kept: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
        let mut input = kept[dice.below(kept.len())].clone();
        for _ in 0..=dice.below(4) {
            let at = dice.below(input.len() + 1);
            let to = (at + dice.below(16)).min(input.len());
            match dice.below(6) {
                0 if at < input.len() => input[at] ^= 1 << dice.below(8),
                1 if at < input.len() => input[at] = [0, 0x7f, 0x80, 0xff, b'0', b'"', b'\n'][dice.below(7)],
                2 => drop(input.drain(at..to)),
                3 => input.extend_from_within(at..to),
                4 => input.insert(at, dice.below(256) as u8),
                _ => {
                    let other = &kept[dice.below(kept.len())];
                    let from = dice.below(other.len() + 1);
                    input.splice(at..to, other[from..].iter().copied());
                }
            }
        }
        input.truncate(64 * 1024);
        input
    }

    /// What `scripts/fuzz` does with an eye on the code, in small and blindly; `ROOMLOG_FUZZ_INPUTS` for more of each.
    #[test]
    fn inputs_made_of_the_kept_ones_break_no_promise() {
        let count = std::env::var("ROOMLOG_FUZZ_INPUTS").map_or(20_000, |text| text.parse().expect("a number"));
        std::thread::scope(|scope| {
            for (name, target) in TARGETS {
                scope.spawn(move || {
                    let (kept, mut dice) = (corpus(name), Dice(RandomState::new().hash_one(name)));
                    (0..count).for_each(|_: u64| try_on(name, *target, &changed(&kept, &mut dice)));
                });
            }
        });
    }
}
