//! What a fuzzer calls of HTTP: requests of any client, in pieces of any size.
//!
//! Owns: the promises about requests. Must never know: sockets, what a request is for.

use super::{HEADERS_MAX, Progress, Refusal, Request, RequestReader};

const HEAD_BYTES_MAX: usize = 1_024;
const BODY_BYTES_MAX: usize = 256;

/// Bytes of a client: which requests they are does not depend on the pieces in which they come; no more is kept than
/// the bounds say; a request that is taken comes through encoded again.
///
/// # Panics
/// If a promise is broken.
pub fn http(bytes: &[u8]) {
    let (requests, refusal) = read(bytes, bytes.len());
    for size in [1, 2, 3, 7, 64] {
        let (found, refused) = read(bytes, size);
        assert_eq!(found, requests, "in pieces of {size}");
        // The whole is refused as soon as its beginning is wrong, a piece when its line or head has ended or is too long.
        let later = refusal == Some(Refusal::BadRequest) && matches!(refused, None | Some(Refusal::HeadTooLarge));
        let other = refusal == Some(Refusal::HeadTooLarge) && matches!(refused, None | Some(Refusal::BadRequest));
        assert!(refused == refusal || later || other, "{refused:?} in pieces of {size}, {refusal:?} as a whole");
    }
    for request in requests.iter().filter(|request| request.headers.len() < HEADERS_MAX) {
        let text = encode(request);
        let again = RequestReader::default().take(&text, text.len(), BODY_BYTES_MAX);
        let Ok(Progress::Complete { request: again, rest }) = again else { panic!("{again:?} of {request:?}") };
        assert!(rest.is_empty(), "{request:?}");
        assert_eq!(essence(&again), essence(request));
        assert_eq!((again.is_upgrade(), again.keeps_alive()), (request.is_upgrade(), request.keeps_alive()));
        assert_eq!(again.accept_key(), request.accept_key());
    }
    if let Some(refusal) = refusal {
        assert!((400..=503).contains(&refusal.response().status()));
    }
}

/// Reads requests until the end of the bytes, an upgrade or a refusal, as a connection does.
fn read(bytes: &[u8], piece_bytes: usize) -> (Vec<Request>, Option<Refusal>) {
    let mut requests = Vec::new();
    let mut reader = RequestReader::default();
    for piece in bytes.chunks(piece_bytes.max(1)) {
        let mut input = piece.to_vec();
        while !input.is_empty() {
            let progress = reader.take(&input, HEAD_BYTES_MAX, BODY_BYTES_MAX);
            match progress {
                Err(refusal) => return (requests, Some(refusal)),
                Ok(Progress::Incomplete | Progress::ExpectsContinue) => {
                    let bytes = kept(&reader);
                    assert!(bytes <= HEAD_BYTES_MAX + BODY_BYTES_MAX, "{bytes} bytes are kept");
                    break;
                }
                Ok(Progress::Complete { request, rest }) => {
                    assert!(reader.is_empty() && request.body().len() <= BODY_BYTES_MAX);
                    assert!(rest.len() < input.len(), "a request has bytes");
                    assert!(
                        request.target().starts_with(request.path()) && request.target().ends_with(request.query())
                    );
                    let is_last = request.is_upgrade();
                    requests.push(*request);
                    if is_last {
                        return (requests, None);
                    }
                    input = rest;
                }
            }
        }
    }
    (requests, None)
}

fn kept(reader: &RequestReader) -> usize {
    reader.bytes.len() + reader.awaiting_body.as_ref().map_or(0, |(request, _)| request.bytes.len())
}

/// A request without its framing: method, target, minor version, headers, body.
type Essence<'a> = (&'a str, &'a str, u8, Vec<(&'a [u8], &'a [u8])>, &'a [u8]);

/// What a request says, however it is spelled.
fn essence(request: &Request) -> Essence<'_> {
    let headers = request.headers.iter().map(|(name, value)| (request.slice(name), request.slice(value)));
    let headers = headers.filter(|(name, _)| !is_framing(name)).collect();
    (request.method(), request.str(&request.target), request.minor_version, headers, request.body())
}

fn is_framing(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

/// The same request with its body behind a length.
fn encode(request: &Request) -> Vec<u8> {
    let (method, target, minor_version, headers, body) = essence(request);
    let mut text = format!("{method} {target} HTTP/1.{minor_version}\r\n").into_bytes();
    for (name, value) in headers {
        text.extend([name, b": ", value, b"\r\n"].concat());
    }
    text.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
    text.extend_from_slice(body);
    text
}
