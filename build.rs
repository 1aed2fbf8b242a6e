//! Embeds the page: a table of what a browser asks for, for `src/web/page.rs`, with what gzip makes of it where that is
//! smaller. Scripts become one, and comments stay here (`build/bundle.rs`). The same files make the same bytes: the table
//! is sorted, and the gzip headers have no time.

#[path = "build/bundle.rs"]
mod bundle;
#[path = "src/web/kinds.rs"]
mod kinds;

use std::path::{Path, PathBuf};
use std::{env, fs};

use zopfli::{Format, Options};

const FOLDER: &str = "public";
/// The script that the document asks for; all others are modules of it.
const ENTRY: &str = "app.js";

fn main() {
    for path in ["build.rs", "build/bundle.rs", "src/web/kinds.rs", FOLDER] {
        println!("cargo::rerun-if-changed={path}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut table = String::from("static FILES: &[Embedded] = &[\n");
    for name in names() {
        let Some(plain) = content(&name) else { continue };
        fs::write(out.join(&name), &plain).expect("a writable OUT_DIR");
        let mut gzip = Vec::new();
        zopfli::compress(Options::default(), Format::Gzip, &plain[..], &mut gzip)
            .expect("writing to a Vec cannot fail");
        let gzip = if gzip.len() < plain.len() {
            fs::write(out.join(format!("{name}.gz")), &gzip).expect("a writable OUT_DIR");
            format!("Some(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.gz\")))")
        } else {
            "None".to_owned()
        };
        let plain = format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\"))");
        table += &format!("    Embedded {{ name: \"{name}\", plain: {plain}, gzip: {gzip} }},\n");
    }
    table += "];\n";
    fs::write(out.join("page.rs"), table).expect("a writable OUT_DIR");
}

/// What is served under the name of a file; `None` for a module, which the entry brings along.
fn content(name: &str) -> Option<Vec<u8>> {
    let path = Path::new(FOLDER).join(name);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("js") if name == ENTRY => Some(bundle::script(Path::new(FOLDER), name).into_bytes()),
        Some("js") => None,
        Some("css" | "html") => Some(bundle::plain(&read(&path)).into_bytes()),
        _ => Some(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))),
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of the page, sorted. Hidden ones are somebody's editor's; anything else that cannot be served is a mistake.
fn names() -> Vec<String> {
    let entries = fs::read_dir(FOLDER).unwrap_or_else(|error| panic!("{FOLDER}: {error}"));
    let entries = entries.map(|entry| entry.unwrap_or_else(|error| panic!("{FOLDER}: {error}")));
    let mut names: Vec<String> = Vec::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        assert!(
            name.starts_with('.') || (is_file && kinds::content_type(&name).is_some()),
            "{FOLDER}/{name} cannot be served: the page is files of known extensions, see src/web/kinds.rs"
        );
        names.push(name);
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}
