//! What a browser needs of the page's sources, and no more: its modules as one, without comments and indentation.
//!
//! Owns: the few rules that the sources keep so that this can be done line by line, and saying where one is broken. Must
//! never know: what the page does. It is no parser: what is not obviously safe to take away stays.

use std::path::Path;

/// The module `entry` with all that it imports, each behind what it needs itself: one script with the same meaning, as
/// names of the first level are unique in the page (a browser refuses a script in which one is declared twice).
///
/// # Panics
/// A source breaks one of the rules, or cannot be read.
pub fn script(folder: &Path, entry: &str) -> String {
    let mut bundle = Bundle { folder, done: Vec::new(), text: String::new() };
    bundle.add(entry);
    bundle.text
}

struct Bundle<'a> {
    folder: &'a Path,
    done: Vec<String>,
    text: String,
}

impl Bundle<'_> {
    fn add(&mut self, name: &str) {
        if self.done.iter().any(|done| done == name) {
            return;
        }
        self.done.push(name.to_owned());
        let mut own = String::new();
        for line in bare(&crate::read(&self.folder.join(name))) {
            if let Some(rest) = line.strip_prefix("import ") {
                let (_, from) =
                    rest.rsplit_once(" from './").unwrap_or_else(|| panic!("{name}: one line an import: {line}"));
                self.add(from.strip_suffix("';").unwrap_or_else(|| panic!("{name}: {line}")));
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            assert!(!line.starts_with("default ") && !line.starts_with("{ "), "{name}: export a declaration: {line}");
            own += line;
            own.push('\n');
        }
        self.text += &own;
    }
}

/// A style sheet or a document without comments of its own lines, and without indentation.
pub fn plain(source: &str) -> String {
    bare(source).flat_map(|line| [line, "\n"]).collect()
}

/// The lines that are not comments or empty, without indentation and without a comment at their end.
fn bare(source: &str) -> impl Iterator<Item = &str> {
    let mut is_comment = false;
    source.lines().filter_map(move |line| {
        let line = line.trim();
        let opens = !is_comment && line.starts_with("/*");
        if is_comment || opens {
            is_comment = !line.ends_with("*/");
            return None;
        }
        if line.is_empty() || line.starts_with("//") {
            return None;
        }
        Some(without_tail(line))
    })
}

/// Takes away a comment behind the end of a statement or of an element; not one in which there is a quote, which might
/// be the end of a string that it is in.
fn without_tail(line: &str) -> &str {
    match line.split_once(" // ") {
        Some((code, tail)) if code.ends_with([';', ',', '{', '}']) && !tail.contains(['\'', '"', '`']) => code,
        _ => line,
    }
}
