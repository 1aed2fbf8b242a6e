//! RFC 6455 on the chat's own port: what breaks the protocol is closed with the right code, whatever came before it and in
//! whatever pieces it comes, and what does not break it is taken.

mod common;

use common::Server;
use common::raw::{Raw, frame};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// Beginnings and later parts of a message in fragments.
const TEXT_BEGINS: u8 = 0x01;
const BINARY_BEGINS: u8 = 0x02;
const GOES_ON: u8 = 0x00;
const ENDS: u8 = 0x80;

/// What a client sends, what it is an example of, and the code of the close frame in answer.
type Case = (String, Vec<u8>, u16);

fn case(what: &str, frames: &[Vec<u8>], code: u16) -> Case {
    (what.to_owned(), frames.concat(), code)
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A frame that announces so many bytes and brings none, in the form for 16 or for 64 bits.
fn announced(first: u8, bytes: u64, wide: bool) -> Vec<u8> {
    let length = if wide { bytes.to_be_bytes().to_vec() } else { (bytes as u16).to_be_bytes().to_vec() };
    [&[first, if wide { 0xff } else { 0xfe }][..], &length, &[1, 2, 3, 4]].concat()
}

/// Sections 5.1 to 5.5: header, fragments, control frames.
fn framing() -> Vec<Case> {
    let begun = || frame(TEXT_BEGINS, b"{");
    let mut cases = vec![
        case("unmasked text", &[b"\x81\x02{}".to_vec()], 1002),
        case("unmasked ping", &[b"\x89\x00".to_vec()], 1002),
        case("unmasked close", &[b"\x88\x02\x03\xe8".to_vec()], 1002),
        case("unmasked amid a message", &[begun(), b"\x80\x01}".to_vec()], 1002),
        case("fragmented ping", &[frame(0x09, b"x")], 1002),
        case("fragmented pong", &[frame(0x0a, b"")], 1002),
        case("fragmented close", &[frame(0x08, b"\x03\xe8")], 1002),
        case("fragmented ping amid a message", &[begun(), frame(0x09, b"x")], 1002),
        case("ping of 126 bytes", &[frame(PING, &[b'x'; 126])], 1002),
        case("pong of 126 bytes", &[frame(PONG, &[b'x'; 126])], 1002),
        case("close of 126 bytes", &[close(1000, &[b'x'; 124])], 1002),
        case("last part of nothing", &[frame(ENDS, b"{}")], 1002),
        case("part of nothing", &[frame(GOES_ON, b"{}")], 1002),
        case("empty part of nothing", &[frame(ENDS, b"")], 1002),
        case("part of a message that has ended", &[begun(), frame(ENDS, b"}"), frame(ENDS, b"}")], 1002),
        case("part behind a whole message", &[frame(TEXT, b"{}"), frame(ENDS, b"}")], 1002),
        case("text amid a message", &[begun(), frame(TEXT, b"}")], 1002),
        case("text begins amid a message", &[begun(), begun()], 1002),
        case("binary amid a message", &[begun(), frame(BINARY, b"}")], 1002),
        case("text amid a message, behind a ping", &[begun(), frame(PING, b""), frame(TEXT, b"}")], 1002),
        case("text amid a binary message", &[frame(BINARY_BEGINS, b"x"), frame(TEXT, b"{}")], 1002),
    ];
    for bits in [0x40, 0x20, 0x10, 0x70] {
        for (name, first) in [("text", TEXT), ("ping", PING), ("close", CLOSE), ("binary", BINARY)] {
            cases.push(case(&format!("{name} with reserved bits {bits:#x}"), &[frame(first | bits, b"")], 1002));
        }
        cases.push(case(
            &format!("reserved bits {bits:#x} amid a message"),
            &[begun(), frame(ENDS | bits, b"}")],
            1002,
        ));
    }
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        cases.push(case(&format!("opcode {opcode:#x}"), &[frame(0x80 | opcode, b"")], 1002));
        cases.push(case(&format!("opcode {opcode:#x} amid a message"), &[begun(), frame(0x80 | opcode, b"x")], 1002));
    }
    cases
}

/// Sections 5.5.1 and 7.4: what a close frame may carry.
fn closing() -> Vec<Case> {
    let mut cases = vec![
        case("close with half a code", &[frame(CLOSE, &[3])], 1002),
        case("close with a reason that is not UTF-8", &[close(1000, b"\xff")], 1007),
        case("close with a reason that ends early", &[close(1000, &"ü".as_bytes()[..1])], 1007),
        case("close with a surrogate in its reason", &[close(1000, b"a\xed\xa0\x80b")], 1007),
    ];
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(case(&format!("close with the code {code}"), &[close(code, b"")], 1002));
        cases.push(case(&format!("close with the code {code} and a reason"), &[close(code, b"because")], 1002));
    }
    cases
}

/// Section 8.1: text that is none, in one frame and cut into two anywhere.
fn encoding() -> Vec<Case> {
    let sequences: &[(&str, &[u8])] = &[
        ("a byte that is never used", b"\xff"),
        ("a lone continuation", b"\x80"),
        ("a beginning without its end", b"\xc3"),
        ("a beginning behind a beginning", b"\xc3\xc3"),
        ("three bytes cut short", b"\xe2\x82"),
        ("four bytes cut short", b"\xf0\x9f\xa6"),
        ("an overlong slash", b"\xc0\xaf"),
        ("an overlong slash of three bytes", b"\xe0\x80\xaf"),
        ("an overlong slash of four bytes", b"\xf0\x80\x80\xaf"),
        ("an overlong zero", b"\xc0\x80"),
        ("the lowest surrogate", b"\xed\xa0\x80"),
        ("the highest surrogate", b"\xed\xbf\xbf"),
        ("a pair of surrogates", b"\xed\xa0\xbd\xed\xb8\x80"),
        ("a character beyond the last", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
    ];
    let mut cases = Vec::new();
    for (what, sequence) in sequences {
        for (place, text) in [
            ("first", [sequence, &b"after"[..]].concat()),
            ("amid", [&b"before"[..], sequence, b"after"].concat()),
            ("last", [&b"before"[..], sequence].concat()),
        ] {
            cases.push(case(&format!("{what}, {place}"), &[frame(TEXT, &text)], 1007));
        }
        let text = [&b"a"[..], sequence].concat();
        for cut in 0..=text.len() {
            let parts = [frame(TEXT_BEGINS, &text[..cut]), frame(PING, b""), frame(ENDS, &text[cut..])];
            cases.push(case(&format!("{what}, cut at {cut}"), &parts, 1007));
        }
    }
    cases.push(case("bad UTF-8 behind good text", &[frame(TEXT, b"{}"), frame(TEXT, b"\xff")], 1007));
    cases
}

/// Section 7.4.1: binary, which is not taken here, and what is too long.
fn kind_and_size() -> Vec<Case> {
    const MAX: usize = 16 * 1024;
    let (half, long) = (vec![b' '; MAX / 2], vec![b' '; MAX + 1]);
    vec![
        case("binary", &[frame(BINARY, b"{}")], 1003),
        case("empty binary", &[frame(BINARY, b"")], 1003),
        case("binary in fragments", &[frame(BINARY_BEGINS, b"{"), frame(PING, b""), frame(ENDS, b"}")], 1003),
        case("binary that is not UTF-8", &[frame(BINARY, b"\xff")], 1003),
        case("the longest binary", &[frame(BINARY, &long[..MAX])], 1003),
        case("text that is too long by one", &[frame(TEXT, &long)], 1009),
        case("binary that is too long by one", &[frame(BINARY, &long)], 1009),
        case("fragments too long by one", &[frame(TEXT_BEGINS, &half), frame(GOES_ON, &half), frame(ENDS, b" ")], 1009),
        case(
            "fragments too long before their end",
            &[frame(TEXT_BEGINS, &half), frame(GOES_ON, &long[half.len()..])],
            1009,
        ),
        case("announced: 16 KiB and one", &[announced(TEXT, MAX as u64 + 1, false)], 1009),
        case("announced: 2^32", &[announced(TEXT, 1 << 32, true)], 1009),
        case("announced: 2^63 - 1", &[announced(TEXT, i64::MAX as u64, true)], 1009),
        case("announced: 2^64 - 1", &[announced(BINARY, u64::MAX, true)], 1009),
        // Wrong twice; the length is seen first.
        case("announced by a ping", &[announced(PING, 1 << 16, true)], 1009),
        case("announced amid a message", &[frame(TEXT_BEGINS, b"{"), announced(ENDS, 1 << 40, true)], 1009),
    ]
}

/// Sends the case in pieces of so many bytes and looks for its code; then the server hangs up.
fn check(server: &Server, (what, bytes, code): &Case, piece_bytes: usize) {
    let mut raw = Raw::websocket(server.address, "/");
    bytes.chunks(piece_bytes).for_each(|piece| raw.send(piece));
    assert_eq!(raw.close_code(), *code, "{what}, in pieces of {piece_bytes}");
    assert!(raw.ended(), "{what}");
}

#[test]
fn what_breaks_the_protocol_is_closed_with_its_code() {
    let server = Server::start(&["--rate", "0"]);
    let cases = [framing(), closing(), encoding(), kind_and_size()].concat();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    for case in &cases {
        check(&server, case, usize::MAX);
        if case.1.len() < 64 {
            check(&server, case, 1);
        }
    }
}

#[test]
fn what_does_not_break_the_protocol_is_taken() {
    let server = Server::start(&["--rate", "0"]);
    let mut raw = Raw::websocket(server.address, "/");
    raw.frame();
    // The first and last characters of each length, the neighbours of the surrogates, noncharacters, a byte order mark.
    let text = "\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{fffe}\u{ffff}\u{10000}\u{10ffff}\u{feff}κόσμε";
    let said = format!(r#"{{"type":"ping","timestamp":"{text}"}}"#);
    for cut in 0..=said.len() {
        let (begin, end) = said.as_bytes().split_at(cut);
        raw.send(&[frame(TEXT_BEGINS, begin), frame(GOES_ON, b""), frame(ENDS, end)].concat());
        let (first, payload) = raw.frame().expect("an answer");
        assert!(first == TEXT && String::from_utf8_lossy(&payload).contains(text), "cut at {cut}");
    }
    let bytes: Vec<Vec<u8>> = said.bytes().map(|byte| [frame(GOES_ON, &[byte]), frame(PONG, b"")].concat()).collect();
    raw.send(&[frame(TEXT_BEGINS, b""), bytes.concat(), frame(ENDS, b"")].concat());
    assert!(raw.frame().is_some_and(|(first, _)| first == TEXT), "a fragment for each byte, pongs between them");
    for payload in [&b""[..], b"\xff\x00", &[b'x'; 125]] {
        raw.send(&frame(PING, payload));
        assert_eq!(raw.frame(), Some((PONG, payload.to_vec())));
    }
}

#[test]
fn codes_and_reasons_that_may_be_sent_are_given_back() {
    let server = Server::start(&["--rate", "0"]);
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
        for reason in [&b""[..], "Auf Wiedersehen, κόσμε".as_bytes(), &[b'x'; 123]] {
            check(
                &server,
                &case(&format!("the code {code}"), &[close(code, reason), frame(TEXT, b"late")], code),
                usize::MAX,
            );
        }
    }
    check(&server, &case("no code", &[frame(CLOSE, b"")], 1005), usize::MAX);
    let amid = [frame(TEXT_BEGINS, b"{"), close(1000, b"")];
    check(&server, &case("a close amid a message", &amid, 1000), usize::MAX);
}
