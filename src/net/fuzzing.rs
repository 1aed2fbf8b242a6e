//! What a fuzzer calls of this layer: input of any peer, in pieces of any size.
//!
//! Owns: the promises about frames from clients and from servers. Must never know: HTTP (see `http::fuzzing`), sockets.

pub use super::http::fuzzing::http;

use super::inbox::{Carry, Control, Inbox};
use super::mask::Masks;
use super::outbox::{Opcode, encode_header};
use super::wire::{Decoder, Incoming};

const MESSAGE_BYTES_MAX: usize = 1_000;

/// All that came of a client's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    incoming: Vec<Incoming>,
    pongs: Vec<u8>,
    controls: u32,
    /// It ended within a message.
    is_partial: bool,
}

/// Bytes of a client, as of one that is a WebSocket: what is understood does not depend on the pieces in which they come,
/// nor on whom else the decoder serves; messages are no longer than allowed, and come through encoded again.
///
/// # Panics
/// If a promise is broken.
pub fn frames(bytes: &[u8]) {
    let whole = hear(bytes, bytes.len());
    for size in [1, 7, 64] {
        assert_eq!(hear(bytes, size), whole, "in pieces of {size}");
    }
    let mut masks = Masks::seeded();
    let mut again = Vec::new();
    for item in &whole.incoming {
        match item {
            Incoming::Text(text) => masks.append(1, text.as_bytes(), &mut again),
            Incoming::Binary(data) => masks.append(2, data, &mut again),
            Incoming::Close(Some(code)) => assert!(matches!(code, 1000..=1014 | 3000..=4999), "{code}"),
            Incoming::Close(None) => {}
            Incoming::Failure(code) => assert!(matches!(code, 1002 | 1007 | 1009), "{code}"),
        }
    }
    let messages = whole.incoming.into_iter().filter(|item| matches!(item, Incoming::Text(_) | Incoming::Binary(_)));
    assert_eq!(hear(&again, again.len()).incoming, messages.collect::<Vec<_>>(), "encoded again");
}

/// Feeds a decoder until the end of the bytes or of the connection, with another connection's message between any two
/// pieces.
fn hear(bytes: &[u8], piece_bytes: usize) -> Heard {
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
    let mut bystander = Vec::new();
    Masks::seeded().append(1, b"calm", &mut bystander);
    let mut heard = Heard::default();
    let mut partial = None;
    for piece in bytes.chunks(piece_bytes.max(1)) {
        let before = heard.incoming.len();
        heard.controls += decoder.feed(&mut partial, piece, &mut heard.pongs, &mut heard.incoming);
        let (mut calm, mut none, mut pongs) = (Vec::new(), None, Vec::new());
        decoder.feed(&mut none, &bystander, &mut pongs, &mut calm);
        assert_eq!(calm, [Incoming::Text("calm".into())], "another connection notices");
        assert!(none.is_none() && pongs.is_empty());
        if matches!(heard.incoming.last(), Some(Incoming::Close(_) | Incoming::Failure(_))) {
            assert!(partial.is_none(), "nothing is kept of what is over");
            // What the same piece held behind the end may count or not: nobody is left to be held to it.
            heard.controls = 0;
            break;
        }
        let fresh = &heard.incoming[before..];
        assert!(!fresh.iter().any(|item| matches!(item, Incoming::Close(_) | Incoming::Failure(_))), "they end it");
    }
    let length = |item: &Incoming| match item {
        Incoming::Text(text) => text.len(),
        Incoming::Binary(data) => data.len(),
        Incoming::Close(_) | Incoming::Failure(_) => 0,
    };
    assert!(heard.incoming.iter().all(|item| length(item) <= MESSAGE_BYTES_MAX));
    heard.is_partial = partial.is_some();
    heard
}

/// All that came of a server's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Received {
    texts: Vec<Vec<u8>>,
    controls: Vec<Control>,
}

/// Bytes of a server, as a client gets them: the same promises as in [`frames`].
///
/// # Panics
/// If a promise is broken.
pub fn inbox(bytes: &[u8]) {
    let mut inbox = Inbox::new();
    let whole = receive(&mut inbox, bytes, bytes.len());
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(receive(&mut inbox, bytes, size), whole, "in pieces of {size}");
    }
    let mut again = Vec::new();
    for text in &whole.texts {
        assert!(std::str::from_utf8(text).is_ok() && text.len() <= MESSAGE_BYTES_MAX);
        encode_header(Opcode::Text, text.len(), &mut again);
        again.extend_from_slice(text);
    }
    let expected = Received { texts: whole.texts, controls: Vec::new() };
    assert_eq!(receive(&mut inbox, &again, again.len()), expected, "encoded again");
}

fn receive(inbox: &mut Inbox, bytes: &[u8], piece_bytes: usize) -> Received {
    let mut received = Received::default();
    let mut carry = Carry::default();
    for piece in bytes.chunks(piece_bytes.max(1)) {
        inbox.begin(&carry)[..piece.len()].copy_from_slice(piece);
        inbox.end(piece.len(), &mut carry, MESSAGE_BYTES_MAX);
        received.texts.extend(inbox.texts().map(<[u8]>::to_vec));
        received.controls.append(&mut inbox.controls);
        if let Some(at) = received.controls.iter().position(|it| matches!(it, Control::Close(_) | Control::Failure(_)))
        {
            assert_eq!(at + 1, received.controls.len(), "it ends the connection");
            assert!(carry.bytes.is_empty(), "nothing is kept of what is over");
            break;
        }
        assert!(carry.bytes.len() < MESSAGE_BYTES_MAX + 10, "less than a frame is kept");
    }
    received
}
