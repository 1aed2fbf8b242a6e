//! The echo example through real sockets: what a WebSocket client may do, and what it may not (RFC 6455).

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::raw::frame;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// The example, killed when the test is over.
struct Echo {
    process: Child,
    address: String,
}

impl Echo {
    fn start() -> Echo {
        Echo::start_with("exec \"$0\" --port 0")
    }

    /// Starts it by a shell command, in which `$0` is the program.
    fn start_with(command: &str) -> Echo {
        let test = std::env::current_exe().expect("a test has a path");
        let target = test.parent().and_then(|deps| deps.parent()).expect("tests lie in target/<profile>/deps");
        let mut process = Command::new("sh")
            .args(["-c", command])
            .arg(target.join("examples/echo"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo builds examples along with tests");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ws://").expect("the address").to_owned();
        Echo { process, address }
    }

    fn connect(&self) -> Client {
        let mut client = Client { stream: self.raw() };
        client.send(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        client
    }

    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout is not zero");
        stream.set_nodelay(true).expect("a connected socket");
        stream
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Client {
    stream: TcpStream,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("a response head");
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("ASCII")
    }

    /// First byte and payload of the next frame.
    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).expect("a frame");
        let mut extended = [0; 8];
        let len = match head[1] {
            126 => {
                self.stream.read_exact(&mut extended[6..]).expect("a length");
                u64::from_be_bytes(extended)
            }
            127 => {
                self.stream.read_exact(&mut extended).expect("a length");
                u64::from_be_bytes(extended)
            }
            len => u64::from(len),
        };
        let mut payload = vec![0; len as usize];
        self.stream.read_exact(&mut payload).expect("a payload");
        (head[0], payload)
    }

    fn expect_echo(&mut self, first: u8, payload: &[u8]) {
        let (got_first, got) = self.receive();
        assert!(
            got_first == first && got == payload,
            "{first:#x}, {} bytes → {got_first:#x}, {}",
            payload.len(),
            got.len()
        );
    }

    /// A close frame with this code, and then the end of the stream.
    fn expect_close(mut self, code: u16, what: &str) {
        let (first, payload) = self.receive();
        assert_eq!((first, payload.get(..2)), (CLOSE, Some(&code.to_be_bytes()[..])), "{what}");
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("an orderly end");
        assert!(rest.is_empty(), "{what}");
    }
}

#[test]
fn messages_of_every_length_form_come_back() {
    let echo = Echo::start();
    let mut client = echo.connect();
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
        for first in [TEXT, BINARY] {
            let payload = vec![b'a' + (len % 26) as u8; len];
            client.send(&frame(first, &payload));
            client.expect_echo(first, &payload);
        }
    }
}

#[test]
fn sixteen_mebibytes_come_back_whole_and_fragmented() {
    let echo = Echo::start();
    let mut client = echo.connect();
    let payload: Vec<u8> = (0..16 * 1024 * 1024_u32).map(|n| (n >> 8) as u8 ^ n as u8).collect();
    client.send(&frame(BINARY, &payload));
    client.expect_echo(BINARY, &payload);
    let pieces: Vec<&[u8]> = payload.chunks(1 << 20).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let fin = if at + 1 == pieces.len() { 0x80 } else { 0 };
        client.send(&frame(fin | if at == 0 { 2 } else { 0 }, piece));
    }
    client.expect_echo(BINARY, &payload);
    client.send(&frame(BINARY, &vec![0; payload.len() + 1])[..100]);
    client.expect_close(1009, "one byte more");
}

#[test]
fn fragments_are_put_together_around_control_frames() {
    let echo = Echo::start();
    let mut client = echo.connect();
    client.send(&[frame(0x01, b"Hel"), frame(PING, b"now"), frame(0x00, b""), frame(0x80, "lo ü".as_bytes())].concat());
    client.expect_echo(PONG, b"now");
    client.expect_echo(TEXT, "Hello ü".as_bytes());
}

#[test]
fn a_client_that_sends_single_bytes_is_understood() {
    let echo = Echo::start();
    let mut client = Client { stream: echo.raw() };
    let head =
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for byte in [&head[..], &frame(TEXT, "drüp".as_bytes()), &frame(0x01, b"a"), &frame(0x80, b"b")].concat() {
        client.send(&[byte]);
    }
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.expect_echo(TEXT, "drüp".as_bytes());
    client.expect_echo(TEXT, b"ab");
}

#[test]
fn frames_sent_along_with_the_request_are_answered() {
    let echo = Echo::start();
    let mut client = Client { stream: echo.raw() };
    let head =
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(&[&head[..], &frame(TEXT, b"at once")].concat());
    client.head();
    client.expect_echo(TEXT, b"at once");
}

#[test]
fn pings_and_pongs_are_taken_as_the_rfc_says() {
    let echo = Echo::start();
    let mut client = echo.connect();
    client.send(&[frame(PING, b""), frame(PONG, b"unasked"), frame(PING, &[7; 125])].concat());
    client.expect_echo(PONG, b"");
    client.expect_echo(PONG, &[7; 125]);
}

#[test]
fn two_clients_do_not_disturb_each_other() {
    let echo = Echo::start();
    let (mut first, mut second) = (echo.connect(), echo.connect());
    let message = frame(TEXT, b"from the first");
    first.send(&message[..8]);
    second.send(&frame(TEXT, b"from the second"));
    second.expect_echo(TEXT, b"from the second");
    first.send(&message[8..]);
    first.expect_echo(TEXT, b"from the first");
    second.send(&frame(0x83, b"nonsense"));
    second.expect_close(1002, "reserved opcode");
    first.send(&frame(TEXT, b"still here"));
    first.expect_echo(TEXT, b"still here");
}

#[test]
fn violations_are_closed_with_the_right_code() {
    let echo = Echo::start();
    let cases: [(&str, Vec<u8>, u16); 17] = [
        ("opcode 3", frame(0x83, b""), 1002),
        ("opcode 11", frame(0x8b, b""), 1002),
        ("RSV1", frame(TEXT | 0x40, b"x"), 1002),
        ("RSV2 on a ping", frame(PING | 0x20, b"x"), 1002),
        ("unmasked", b"\x81\x01x".to_vec(), 1002),
        ("ping of 126 bytes", frame(PING, &[0; 126]), 1002),
        ("fragmented ping", frame(0x09, b"x"), 1002),
        ("continuation first", frame(0x80, b"x"), 1002),
        ("message within a message", [frame(0x01, b"a"), frame(TEXT, b"b")].concat(), 1002),
        ("close of one byte", frame(CLOSE, b"x"), 1002),
        ("close with 999", frame(CLOSE, &999_u16.to_be_bytes()), 1002),
        ("close with 1005", frame(CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("close with bad UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007),
        ("surrogate", frame(TEXT, b"\xed\xa0\x80"), 1007),
        ("overlong", frame(TEXT, b"\xc0\xaf"), 1007),
        ("character cut short", frame(TEXT, b"\xe2\x82"), 1007),
        ("cut short over fragments", [frame(0x01, b"\xe2"), frame(0x80, b"\x82")].concat(), 1007),
    ];
    for (what, bytes, code) in cases {
        let mut client = echo.connect();
        client.send(&bytes);
        client.expect_close(code, what);
    }
}

#[test]
fn a_close_is_echoed_and_nothing_follows_it() {
    let echo = Echo::start();
    for code in [1000_u16, 1001, 1013, 3000, 4999] {
        let mut client = echo.connect();
        client.send(&[frame(CLOSE, &code.to_be_bytes()), frame(TEXT, b"late"), frame(PING, b"late")].concat());
        client.expect_close(code, "echoed");
    }
    let mut client = echo.connect();
    client.send(&frame(CLOSE, b""));
    client.expect_echo(CLOSE, b"");
}

#[test]
fn other_paths_are_not_found_and_plain_requests_told_to_upgrade() {
    let echo = Echo::start();
    let mut client = Client { stream: echo.raw() };
    client.send(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 404 "));
    assert!(client.head().starts_with("HTTP/1.1 426 "));
}

#[test]
fn sigterm_ends_it_with_success() {
    let mut echo = Echo::start();
    let _client = echo.connect();
    let pid = rustix::process::Pid::from_child(&echo.process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert!(echo.process.wait().expect("it was started").success());
}

#[test]
fn clients_that_find_no_descriptor_are_served_when_there_is_one() {
    const DESCRIPTORS: u32 = 20;
    let echo = Echo::start_with(&format!("ulimit -n {DESCRIPTORS}; exec \"$0\" --port 0"));
    let request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let mut waiting: Vec<Client> = (0..DESCRIPTORS).map(|_| Client { stream: echo.raw() }).collect();
    waiting.iter_mut().for_each(|client| client.send(request));
    // In the order in which they came: each leaves as soon as it is served, and makes room for one that waits.
    for mut client in waiting {
        assert!(client.head().starts_with("HTTP/1.1 426 "));
    }
}
