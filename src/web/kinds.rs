//! What the page may be made of: which file names are good, and the types by their extensions.
//!
//! Owns: the rule for names, the known extensions. Must never know: where the files are. `build.rs` reads this file too,
//! so that what is embedded and what a folder may serve cannot differ; hence nothing but the standard library.

/// Longest name of a file, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Extensions and their media types.
const KINDS: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("webmanifest", "application/manifest+json"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
    ("txt", "text/plain; charset=utf-8"),
];

/// The media type of a file, by its name; `None` if none of that name is served.
///
/// A good name is a single one, of letters, digits, `-`, `_` and `.`, and begins with none of the last three. So no name
/// leads to another folder, and none is a hidden file's.
pub fn content_type(name: &str) -> Option<&'static str> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let (_, extension) = name.rsplit_once('.').filter(|_| is_plain && begins_well && name.len() <= NAME_BYTES_MAX)?;
    KINDS.iter().find(|(known, _)| *known == extension).map(|(_, content_type)| *content_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_plain_name_and_a_known_extension() {
        for (name, known) in [
            ("index.html", "text/html; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("room-list_2.min.js", "text/javascript; charset=utf-8"),
            ("icon.svg", "image/svg+xml"),
            ("site.webmanifest", "application/manifest+json"),
            ("robots.txt", "text/plain; charset=utf-8"),
            ("a..js", "text/javascript; charset=utf-8"),
        ] {
            assert_eq!(content_type(name), Some(known), "{name}");
        }
        let long = format!("{}.js", "a".repeat(NAME_BYTES_MAX));
        for name in [
            "",
            ".js",
            ".hidden.js",
            "..",
            "-x.js",
            "../app.js",
            "a/b.js",
            "a\\b.js",
            "%2e%2e.js",
            "a%2fb.js",
            "a b.js",
            "a.js\0.txt",
            "\u{e4}.js",
            "app",
            "app.",
            "app.JS",
            "app.exe",
            "app.js~",
            &long,
        ] {
            assert_eq!(content_type(name), None, "{name:?}");
        }
    }
}
