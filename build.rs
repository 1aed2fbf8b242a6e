//! Embeds the page: a table of all files of `public/` for `src/web/page.rs`, with what gzip makes of them where that is
//! smaller. The same files make the same bytes: the table is sorted, and the gzip headers have no time.

#[path = "src/web/kinds.rs"]
mod kinds;

use std::path::{Path, PathBuf};
use std::{env, fs};

use zopfli::{Format, Options};

const FOLDER: &str = "public";

fn main() {
    for path in ["build.rs", "src/web/kinds.rs", FOLDER] {
        println!("cargo::rerun-if-changed={path}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut table = String::from("static FILES: &[Embedded] = &[\n");
    for name in names() {
        let plain = fs::read(Path::new(FOLDER).join(&name)).unwrap_or_else(|error| panic!("{FOLDER}/{name}: {error}"));
        let mut gzip = Vec::new();
        zopfli::compress(Options::default(), Format::Gzip, &plain[..], &mut gzip)
            .expect("writing to a Vec cannot fail");
        let gzip = if gzip.len() < plain.len() {
            fs::write(out.join(format!("{name}.gz")), &gzip).expect("a writable OUT_DIR");
            format!("Some(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.gz\")))")
        } else {
            "None".to_owned()
        };
        let plain = format!("include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/{FOLDER}/{name}\"))");
        table += &format!("    Embedded {{ name: \"{name}\", plain: {plain}, gzip: {gzip} }},\n");
    }
    table += "];\n";
    fs::write(out.join("page.rs"), table).expect("a writable OUT_DIR");
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
