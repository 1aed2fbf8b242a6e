//! TLS spoken by the server itself: what comes through, what is refused, and what a new certificate changes.
//!
//! The pairs in `tests/tls` are good for a hundred years and worth nothing: openssl req -x509 -newkey ec -pkeyopt
//! ec_paramgen_curve:P-256 -nodes -days 36500 -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext
//! basicConstraints=critical,CA:FALSE

#![cfg(feature = "rustls")]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::client::sequences;
use common::raw::{Raw, upgrade_head};
use common::{Client, Data, PATIENCE, Server, command, operator_command, outcome};
use rustix::net::{SendFlags, send};
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::json;
use tungstenite::client::IntoClientRequest;

const MIB: u64 = 1024 * 1024;
const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];
/// What the service gives a peer to ask for something.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

type Tls<S = TcpStream> = StreamOwned<ClientConnection, S>;

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// A server with the pair `first`, in files of its own.
struct Site {
    server: Server,
    data: Data,
}

impl Site {
    fn start(flags: &[&str]) -> Site {
        let data = Data::fresh();
        install("first", "first", &data);
        let (cert, key) = files(&data);
        let server = Server::on(&data, &[&["--tls-cert", &cert, "--tls-key", &key], flags].concat());
        Site { server, data }
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }

    fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        stream.set_nodelay(true).expect("a TCP socket");
        stream
    }

    fn tls(&self) -> Tls {
        StreamOwned::new(session("first", BOTH), self.stream())
    }

    fn client(&self, user: &str) -> Client<Tls> {
        join_in(self.tls(), user)
    }

    /// Whether a new handshake shows this certificate; `false` if it shows another.
    fn shows(&self, cert: &str) -> bool {
        let mut tls = self.tls();
        tls.conn = session(cert, BOTH);
        match tls.conn.complete_io(&mut tls.sock) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::InvalidData => false,
            Err(error) => panic!("no handshake: {error}"),
        }
    }

    fn waits_until_it_shows(&self, cert: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shows(cert) {
            assert!(Instant::now() < deadline, "it still does not show {cert}");
        }
    }
}

fn files(data: &Data) -> (String, String) {
    let file = |name| data.around().join(name).display().to_string();
    (file("cert.pem"), file("key.pem"))
}

fn install(cert: &str, key: &str, data: &Data) {
    let (to_cert, to_key) = files(data);
    fs::copy(pem(&format!("{cert}.pem")), to_cert).expect("a writable folder");
    fs::copy(pem(&format!("{key}.key")), to_key).expect("a writable folder");
}

/// A client that trusts one certificate, by name.
fn session(cert: &str, versions: &[&'static SupportedProtocolVersion]) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    let cert = CertificateDer::from_pem_file(pem(&format!("{cert}.pem"))).expect("a certificate");
    roots.add(cert).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("known ones");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a good configuration")
}

fn join_in<S: Read + Write>(stream: S, user: &str) -> Client<S> {
    let request = format!("ws://localhost/?user={user}").into_client_request().expect("a good address");
    let mut client = Client::upgraded(stream, request);
    client.hello = client.expect("connected");
    client
}

/// All that comes, and whether its end was announced.
fn read_to_end(stream: &mut impl Read) -> (String, bool) {
    let mut bytes = Vec::new();
    let announced = match stream.read_to_end(&mut bytes) {
        Ok(_) => true,
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => false,
        Err(error) => panic!("no end: {error}"),
    };
    (String::from_utf8(bytes).expect("UTF-8"), announced)
}

#[test]
fn people_chat_over_both_versions_of_tls() {
    let site = Site::start(&[]);
    let clients = [(&TLS12, ProtocolVersion::TLSv1_2, "old"), (&TLS13, ProtocolVersion::TLSv1_3, "new")];
    let mut clients = clients.map(|(version, number, user)| {
        let mut client = join_in(StreamOwned::new(session("first", &[version]), site.stream()), user);
        assert_eq!(client.stream().conn.protocol_version(), Some(number));
        assert_eq!(client.stream().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        client.join("room");
        client
    });
    for (from, to) in [(0, 1), (1, 0)] {
        let content = format!("from {from}: {}", "é".repeat(2_000));
        clients[from].say("room", &content);
        assert_eq!(clients[to].skip_until(|event| event["data"]["content"] == *content)["data"]["room"], "room");
    }
    for client in clients {
        client.close();
    }
}

#[test]
fn the_page_is_served_and_ends_with_an_announcement() {
    let site = Site::start(&[]);
    for (path, status) in [("/", "200 OK"), ("/app.js", "200 OK"), ("/nothing", "404 Not Found")] {
        let mut tls = site.tls();
        write!(tls, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it is taken");
        let (answer, announced) = read_to_end(&mut tls);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && announced, "{path}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(answer.contains(&format!("Content-Length: {}\r\n", body.len())), "{path} is whole");
    }
}

#[test]
fn who_is_done_asking_is_answered_and_who_is_cut_off_is_not() {
    let site = Site::start(&[]);
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut tls = site.tls();
    tls.write_all(request).expect("it is taken");
    tls.conn.send_close_notify();
    tls.conn.complete_io(&mut tls.sock).expect("it is sent");
    let (answer, announced) = read_to_end(&mut tls);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && announced, "{answer}");
    // Half of it, and the end of the connection under it.
    let mut tls = site.tls();
    tls.write_all(&request[..request.len() - 2]).expect("it is taken");
    tls.sock.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(read_to_end(&mut tls).0, "");
}

/// Sends each byte in a segment of its own.
struct Dribble(TcpStream);

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Dribble {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn records_that_come_byte_by_byte_are_put_together() {
    let site = Site::start(&[]);
    for version in BOTH {
        let stream = Dribble(site.stream());
        let mut client = join_in(StreamOwned::new(session("first", &[version]), stream), "slow-talker");
        client.join("room");
        let content = "x".repeat(3_000);
        assert_eq!(client.say("room", &content)["room"], "room");
        client.close();
    }
}

#[test]
fn many_records_in_one_segment_are_all_read() {
    const MESSAGES: u64 = 3_000;
    let site = Site::start(&["--rate", "0"]);
    let mut client = site.client("fast-talker");
    client.join("room");
    // More than one read of the server, of which the last must not stay behind.
    for _ in 0..MESSAGES {
        client.send(json!({"type": "message", "data": {"room": "room", "content": "x"}}));
    }
    assert_eq!(sequences(&client.read_through(MESSAGES)), (1..=MESSAGES).collect::<Vec<u64>>());
}

/// Says so much that no buffers hold it, and hears all of it.
fn flood(writer: &mut Client<Tls>, messages: u64) {
    const AT_ONCE: u64 = 50;
    let content = "x".repeat(4_000);
    for round in 1..=messages / AT_ONCE {
        for _ in 0..AT_ONCE {
            writer.send(json!({"type": "message", "data": {"room": "room", "content": content}}));
        }
        writer.read_through(round * AT_ONCE);
    }
}

#[test]
fn a_reader_that_does_not_read_gets_everything_later_and_costs_no_memory() {
    const MESSAGES: u64 = 6_000;
    let site = Site::start(&["--rate", "0"]);
    let (mut writer, mut slow) = (site.client("writer"), site.client("slow"));
    writer.join("room");
    slow.join("room");
    let before = site.server.resident_bytes();
    flood(&mut writer, MESSAGES);
    // And one that has it all before it.
    let mut late = site.client("late");
    late.send(json!({"type": "join", "room": "room", "since": 0}));
    writer.say("room", "the end");
    let grown = site.server.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "{} MiB of messages cost {grown} bytes", MESSAGES * 4_000 / MIB);
    for mut reader in [slow, late] {
        assert_eq!(sequences(&reader.read_through(MESSAGES + 1)), (1..=MESSAGES + 1).collect::<Vec<u64>>());
        reader.say("room", "and it is live again");
    }
}

#[test]
fn a_reader_of_which_nothing_drains_is_closed() {
    let site = Site::start(&["--rate", "0", "--write-timeout", "300ms", "--grace", "0ms"]);
    let (mut writer, mut slow, mut watcher) = (site.client("writer"), site.client("slow"), site.client("watcher"));
    writer.join("room");
    slow.join("room");
    slow.join("lobby");
    watcher.join("lobby");
    flood(&mut writer, 6_000);
    assert_eq!(watcher.skip_to("status")["status"], "offline");
}

#[test]
fn a_new_certificate_is_for_new_handshakes_and_a_bad_one_for_nobody() {
    let site = Site::start(&[]);
    let mut before = site.client("before");
    before.join("room");
    assert!(site.shows("first") && !site.shows("second"));
    install("second", "second", &site.data);
    assert!(site.shows("first"), "not before it is told to");
    site.server.signal(Signal::HUP);
    site.waits_until_it_shows("second");
    before.say("room", "still here");
    for (cert, key) in [("first", "second"), ("second", "first")] {
        install(cert, key, &site.data);
        site.server.signal(Signal::HUP);
        before.say("room", "and now it knows");
        assert!(site.shows("second") && !site.shows("first"), "what fits stays");
    }
    fs::write(files(&site.data).0, "").expect("a writable folder");
    site.server.signal(Signal::HUP);
    before.say("room", "and now it knows");
    assert!(site.shows("second"));
    install("first", "first", &site.data);
    site.server.signal(Signal::HUP);
    site.waits_until_it_shows("first");
    before.say("room", "still here");
    let Site { server, data } = site;
    let output = server.stop();
    let said = |words: &str| output.lines().filter(|line| line.contains(words)).count();
    assert_eq!(said(" ERROR "), 3, "{output}");
    assert_eq!((said("does not fit the certificate"), said("no certificate in it"), said("read again")), (2, 1, 2));
    drop(data);
}

#[test]
fn an_end_of_the_server_is_said_in_both_protocols() {
    let site = Site::start(&[]);
    let mut client = site.client("last");
    site.server.terminate();
    assert_eq!(client.expect_close(), 1001);
    drop(client);
    site.server.stop();
}

#[test]
fn who_speaks_without_tls_is_told_and_who_speaks_nothing_known_is_not_served() {
    let site = Site::start(&[]);
    let mut raw = Raw::over(site.stream());
    raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = raw.response(false);
    assert_eq!(response.status, 400);
    assert!(String::from_utf8_lossy(&response.body).contains("https://"));
    assert!(raw.ended());
    for garbage in [&b"\x00\x01\x02\x03\x04\x05\x06\x07"[..], b"\x16\x03\x01\x00\x05hello", b"\x17\x03\x03\x00\x01x"] {
        let mut raw = Raw::over(site.stream());
        raw.send(garbage);
        raw.finish_sending();
        assert!(raw.ended(), "{garbage:?}");
    }
    assert!(site.shows("first"));
}

#[test]
fn a_client_hello_on_a_plain_port_is_a_bad_request() {
    let server = Server::start(&[]);
    let mut hello = Vec::new();
    session("first", BOTH).write_tls(&mut hello).expect("into memory");
    let mut raw = Raw::connect(server.address);
    raw.send(&hello);
    assert_eq!(raw.response(false).status, 400);
    assert!(raw.ended());
}

#[test]
fn a_handshake_that_does_not_end_does_not_stay() {
    let site = Site::start(&[]);
    let started = Instant::now();
    let mut hello = Vec::new();
    session("first", BOTH).write_tls(&mut hello).expect("into memory");
    let silent = Raw::over(site.stream());
    let mut begun = Raw::over(site.stream());
    begun.send(&hello[..hello.len() / 2]);
    let mut answered = Raw::over(site.stream());
    answered.send(&hello);
    let mut finished = site.tls();
    finished.conn.complete_io(&mut finished.sock).expect("a handshake");
    for mut raw in [silent, begun, answered] {
        assert!(raw.ended());
    }
    read_to_end(&mut finished);
    let took = started.elapsed();
    assert!(took > HANDSHAKE_TIMEOUT / 2 && took < HANDSHAKE_TIMEOUT * 2, "{took:?}");
}

#[test]
fn who_goes_right_after_the_handshake_is_not_waited_for() {
    let site = Site::start(&[]);
    let mut client = site.tls();
    client.conn.write_tls(&mut client.sock).expect("it is taken");
    while client.conn.is_handshaking() {
        client.conn.read_tls(&mut client.sock).expect("the server answers");
        client.conn.process_new_packets().expect("a good answer");
    }
    // The last message of the handshake and the end, in one segment.
    let mut last = Vec::new();
    client.conn.write_tls(&mut last).expect("into memory");
    send(&client.sock, &last, SendFlags::MORE).expect("it is taken");
    client.sock.shutdown(Shutdown::Write).expect("it is open");
    let started = Instant::now();
    let mut rest = Vec::new();
    let _ = client.sock.read_to_end(&mut rest);
    assert!(started.elapsed() < HANDSHAKE_TIMEOUT / 2, "the server has seen the end");
}

#[test]
fn one_too_many_is_refused_through_tls() {
    let site = Site::start(&["--connections-per-address", "1"]);
    let first = site.client("first");
    let mut tls = site.tls();
    let _ = tls.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (answer, _) = read_to_end(&mut tls);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    first.close();
}

#[test]
fn pages_of_the_own_host_may_connect_and_no_others() {
    let site = Site::start(&[]);
    let own = format!("https://localhost:{}", site.address().port());
    for (origin, status) in [(own.as_str(), "101"), ("https://evil.example", "403"), ("https://localhost:1", "403")] {
        let mut tls = site.tls();
        let head = upgrade_head("/?user=x").replace("localhost", &format!("localhost:{}", site.address().port()));
        write!(tls, "{head}Origin: {origin}\r\n\r\n").expect("it is taken");
        let mut answer = [0; 12];
        tls.read_exact(&mut answer).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{origin}");
    }
}

#[test]
fn commands_on_this_machine_reach_a_server_with_tls() {
    let site = Site::start(&[]);
    let run = |name: &str, args: &[&str]| {
        outcome(&operator_command(name, &site.data.path(), args).output().expect("the binary starts"))
    };
    let password = site.data.around().join("password");
    fs::write(&password, "correct horse battery\n").expect("a writable folder");
    let add = run("account", &["add", "alice", "--password-file", &password.display().to_string()]);
    assert_eq!((add.0, add.2.as_str()), (0, ""), "{add:?}");
    let listed = run("account", &["list"]);
    assert!(listed.0 == 0 && listed.1.contains("alice"), "{listed:?}");
    let port = site.address().port().to_string();
    let mut healthcheck = command(&site.data, &[]);
    healthcheck = std::process::Command::new(healthcheck.get_program());
    healthcheck.args(["healthcheck", "--bind", "127.0.0.1", "--port", &port]).env_clear();
    assert_eq!(outcome(&healthcheck.output().expect("the binary starts")), (0, String::new(), String::new()));
}

#[test]
fn options_that_do_not_fit_are_refused_with_the_reason() {
    let data = Data::fresh();
    install("first", "second", &data);
    let (cert, key) = files(&data);
    let empty = data.around().join("empty").display().to_string();
    fs::write(&empty, "nothing of the kind\n").expect("a writable folder");
    let damaged = data.around().join("damaged").display().to_string();
    fs::write(&damaged, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("a writable folder");
    let missing = data.around().join("missing").display().to_string();
    for (flags, code, words) in [
        (&["--tls-cert", &cert][..], 2, "--tls-cert needs --tls-key FILE"),
        (&["--tls-key", &key], 2, "--tls-key needs --tls-cert FILE"),
        (&["--tls-cert", "", "--tls-key", &key], 2, "is not a file"),
        (&["--tls-cert", &missing, "--tls-key", &key], 1, "missing: No such file"),
        (&["--tls-cert", &cert, "--tls-key", &missing], 1, "missing: No such file"),
        (&["--tls-cert", &empty, "--tls-key", &key], 1, "empty: no certificate in it"),
        (&["--tls-cert", &key, "--tls-key", &key], 1, "no certificate in it"),
        (&["--tls-cert", &cert, "--tls-key", &cert], 1, "no private key in it"),
        (&["--tls-cert", &damaged, "--tls-key", &key], 1, "damaged"),
        (&["--tls-cert", &cert, "--tls-key", &key], 1, "does not fit the certificate in"),
    ] {
        let output = command(&data, flags).output().expect("the binary starts");
        let (status, said, error) = outcome(&output);
        assert_eq!((status, said.as_str(), error.lines().count()), (code, "", 1), "{flags:?}: {error}");
        assert!(error.starts_with("roomlog: ") && error.contains(words), "{flags:?}: {error}");
    }
    assert!(!data.path().exists(), "and nothing was begun");
}
