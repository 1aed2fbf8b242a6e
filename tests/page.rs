//! The page as the real binary serves it: every file of `public/`, in the coding that a client takes, with its validators
//! and its security policy; and from a folder, out of which no path leads.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::raw::{self, Response};
use common::{Data, Server};

/// What the whole page may cost a browser that comes for the first time.
const PAGE_GZIPPED_BYTES_MAX: usize = 30_000;
const GZIP: &str = "Accept-Encoding: gzip, deflate, br, zstd\r\n";

fn get(server: &Server, path: &str, headers: &str) -> Response {
    raw::request(server.address, "GET", path, headers)
}

/// The names and texts of the page's sources.
fn sources() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("public");
    let entries = fs::read_dir(folder).expect("the page").map(|entry| entry.expect("a readable entry").path());
    let file = |path: PathBuf| {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        (!name.starts_with('.')).then(|| (name, fs::read_to_string(path).expect("a readable text")))
    };
    entries.filter_map(file).collect()
}

/// The paths that a browser asks for: a module comes with the script that imports it.
fn paths() -> Vec<String> {
    let names = sources().into_iter().map(|(name, _)| name).filter(|name| !name.ends_with(".js") || name == "app.js");
    names.map(|name| if name == "index.html" { "/".to_owned() } else { format!("/{name}") }).collect()
}

/// Inflated by a program that is none of ours.
fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip");
    child.stdin.take().expect("piped").write_all(bytes).expect("it reads to the end");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "gzip finds it good");
    output.stdout
}

fn assert_guarded(response: &Response, what: &str) {
    let policy = response.header("Content-Security-Policy").unwrap_or_else(|| panic!("{what}: no policy"));
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{what}: {policy}");
    for (name, value) in
        [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"), ("Vary", "Accept-Encoding")]
    {
        assert_eq!(response.header(name), Some(value), "{what}");
    }
}

#[test]
fn every_file_is_served_as_it_is_or_gzipped_under_its_policy() {
    let server = Server::start(&[]);
    let paths = paths();
    assert!(paths.len() >= 3 && paths.iter().any(|path| path == "/"), "{paths:?}");
    for path in &paths {
        let plain = get(&server, path, "");
        assert_eq!((plain.status, plain.header("Content-Encoding")), (200, None), "{path}");
        assert!(!plain.body.is_empty(), "{path}");
        let gzipped = get(&server, path, GZIP);
        match gzipped.header("Content-Encoding") {
            Some(coding) => {
                assert_eq!(coding, "gzip");
                assert!(gzipped.body.len() < plain.body.len(), "{path} is smaller");
                assert!(gunzip(&gzipped.body) == plain.body, "{path} is the same");
                assert_eq!(gzipped.body[4..8], [0; 4], "{path}: no time, so that each build makes the same");
                assert_ne!(plain.header("ETag"), gzipped.header("ETag"), "{path}: another representation");
            }
            None => assert_eq!(gzipped, plain, "{path} gets no smaller"),
        }
        for response in [&plain, &gzipped] {
            assert_guarded(response, path);
            assert!(response.header("ETag").is_some_and(|tag| tag.starts_with('"')), "a strong one: {}", response.head);
            assert_eq!(response.header("Cache-Control"), Some("no-cache"), "{path}");
            assert_eq!(response.header("Content-Type"), plain.header("Content-Type"), "{path}");
            assert_eq!(response.header("Connection"), Some("close"));
        }
    }
    let tags: BTreeSet<_> = paths.iter().map(|path| get(&server, path, "").header("ETag").map(str::to_owned)).collect();
    assert_eq!(tags.len(), paths.len(), "each its own");
}

#[test]
fn the_script_is_all_modules_without_their_comments() {
    let server = Server::start(&[]);
    let script = String::from_utf8(get(&server, "/app.js", "").body).expect("a text");
    for line in script.lines() {
        let is_left_over = ["import ", "export ", "//", "/*", " "].iter().any(|start| line.starts_with(start));
        assert!(!is_left_over, "only what a browser needs: {line}");
    }
    let modules: Vec<_> = sources().into_iter().filter(|(name, _)| name.ends_with(".js")).collect();
    let exported = modules.iter().flat_map(|(_, text)| text.lines().filter_map(|line| line.strip_prefix("export ")));
    let exported: Vec<&str> = exported.collect();
    assert!(exported.len() > modules.len() / 2, "the page has modules: {exported:?}");
    for line in exported {
        assert_eq!(script.matches(line).count(), 1, "once: {line}");
    }
    assert_eq!(get(&server, "/session.js", "").status, 404, "a module is nowhere else");
}

#[test]
fn types_are_told() {
    let server = Server::start(&[]);
    let known = |extension: &str| match extension {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        other => panic!("a file of a kind that this test should know: {other}"),
    };
    for path in paths() {
        let expected = path.rsplit_once('.').map_or("text/html; charset=utf-8", |(_, extension)| known(extension));
        assert_eq!(get(&server, &path, GZIP).header("Content-Type"), Some(expected), "{path}");
    }
    assert_eq!(get(&server, "/?user=alice", "").header("Content-Type"), Some("text/html; charset=utf-8"));
}

#[test]
fn the_whole_page_is_small() {
    let server = Server::start(&[]);
    let sizes: Vec<(String, usize)> =
        paths().into_iter().map(|path| (path.clone(), get(&server, &path, GZIP).body.len())).collect();
    let total: usize = sizes.iter().map(|(_, size)| size).sum();
    assert!(total < PAGE_GZIPPED_BYTES_MAX, "{total} bytes: {sizes:?}");
}

#[test]
fn who_does_not_take_gzip_gets_the_file_and_who_takes_nothing_is_told() {
    let server = Server::start(&[]);
    for (accepts, coding) in [
        ("gzip", Some("gzip")),
        ("x-gzip;q=0.3, identity;q=0.2", Some("gzip")),
        ("*", Some("gzip")),
        ("gzip;q=0", None),
        ("br", None),
        ("", None),
    ] {
        let response = get(&server, "/style.css", &format!("Accept-Encoding: {accepts}\r\n"));
        assert_eq!((response.status, response.header("Content-Encoding")), (200, coding), "{accepts:?}");
    }
    let response = get(&server, "/style.css", "Accept-Encoding: identity;q=0, br\r\n");
    assert_eq!((response.status, response.header("ETag")), (406, None));
    assert_guarded(&response, "406");
}

#[test]
fn what_a_browser_has_already_is_not_sent_again() {
    let server = Server::start(&[]);
    let tag = |headers| get(&server, "/style.css", headers).header("ETag").expect("a validator").to_owned();
    let (plain, gzipped) = (tag(""), tag(GZIP));
    for (accepts, tag, other) in [("", &plain, &gzipped), (GZIP, &gzipped, &plain)] {
        for known in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
            let response = get(&server, "/style.css", &format!("{accepts}If-None-Match: {known}\r\n"));
            assert_eq!((response.status, response.header("ETag")), (304, Some(tag.as_str())), "{known}");
            assert_eq!((response.header("Content-Length"), response.body.len()), (None, 0));
            assert_guarded(&response, "304");
        }
        for unknown in ["\"other\"", other] {
            let response = get(&server, "/style.css", &format!("{accepts}If-None-Match: {unknown}\r\n"));
            assert_eq!(response.status, 200, "{unknown} is not what is sent");
        }
    }
}

#[test]
fn head_is_get_without_the_body_in_every_coding() {
    let server = Server::start(&[]);
    for path in paths() {
        for headers in ["", GZIP, "If-None-Match: *\r\n", "Accept-Encoding: *;q=0\r\n"] {
            let head = raw::request(server.address, "HEAD", &path, headers);
            assert_eq!(head.head, get(&server, &path, headers).head, "{path} {headers}");
            assert!(head.body.is_empty());
        }
    }
}

#[test]
fn the_page_may_come_from_a_folder() {
    let data = Data::fresh();
    let folder = data.around().join("page");
    fs::create_dir(&folder).expect("a writable folder");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a writable folder");
    write("index.html", "<p>in work</p>");
    let server = Server::on(&data, &["--public", &folder.display().to_string()]);
    assert_eq!(get(&server, "/", GZIP).body, b"<p>in work</p>");
    assert_eq!(get(&server, "/app.js", "").status, 404, "not there");
    write("index.html", "<p>done</p>");
    let response = get(&server, "/", "");
    assert_eq!(response.body, b"<p>done</p>", "without a restart");
    assert_guarded(&response, "from a folder");
    for (name, content_type) in [
        ("just-added.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("site.webmanifest", "application/manifest+json"),
        ("icon.png", "image/png"),
        ("favicon.ico", "image/x-icon"),
        ("robots.txt", "text/plain; charset=utf-8"),
    ] {
        assert_eq!(get(&server, &format!("/{name}"), "").status, 404, "{name} is not there yet");
        write(name, name);
        let response = get(&server, &format!("/{name}"), "");
        assert_eq!((response.header("Content-Type"), &*response.body), (Some(content_type), name.as_bytes()));
    }
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let data = Data::fresh();
    let folder = data.around().join("page");
    fs::create_dir_all(folder.join("sub.js")).expect("a writable folder");
    fs::create_dir(folder.join("deep")).expect("a writable folder");
    for path in ["secret.txt", "page/.hidden.js", "page/deep/x.js", "page/app.exe", "page/index.html"] {
        fs::write(data.around().join(path), "secret").expect("a writable folder");
    }
    symlink("../secret.txt", folder.join("link.txt")).expect("a file system with links");
    symlink("index.html", folder.join("inner.html")).expect("a file system with links");
    let made = Command::new("mkfifo").arg(folder.join("pipe.js")).status().expect("mkfifo");
    assert!(made.success());
    let server = Server::on(&data, &["--public", &folder.display().to_string()]);
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..\\secret.txt",
        "/./index.html",
        "/.hidden.js",
        "//index.html",
        "/deep/x.js",
        "/deep%2fx.js",
        "/deep/../../secret.txt",
        "/app.exe",
        "/index.html",
        "/deep",
        // There, but no regular files.
        "/sub.js",
        "/link.txt",
        "/inner.html",
        "/pipe.js",
    ] {
        assert_eq!(get(&server, path, "").status, 404, "{path}");
    }
    assert_eq!(get(&server, "/", "").body, b"secret", "the folder is served");
}
