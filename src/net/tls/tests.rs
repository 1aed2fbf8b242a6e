//! A session over a scripted socket, with a real client at the other end.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::Tls;
use super::session::Session;
use crate::net::testing::{ScriptedSocket, Step};

/// What connections read into is as large.
const SCRATCH_BYTES: usize = 64 * 1024;

struct Rig {
    client: ClientConnection,
    session: Session<ScriptedSocket>,
    scratch: Vec<u8>,
}

impl Rig {
    fn new() -> Rig {
        let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name);
        let tls = Tls::load(&file("first.pem"), &file("first.key")).expect("a good pair");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file("first.pem")).expect("a certificate")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("known versions").with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        Rig {
            client: ClientConnection::new(Arc::new(config), name).expect("a good configuration"),
            session: Session::new(
                ScriptedSocket::default(),
                UnbufferedServerConnection::new(tls.config()).expect("a good configuration"),
            ),
            scratch: vec![0; SCRATCH_BYTES],
        }
    }

    fn greeted() -> Rig {
        let mut rig = Rig::new();
        while rig.client.is_handshaking() || rig.client.wants_write() {
            assert_eq!(rig.receive().expect_err("only the handshake").kind(), ErrorKind::Interrupted);
            rig.session.flush().expect("the socket takes all");
            rig.hear();
        }
        rig
    }

    /// Hands on what the client has to send.
    fn receive(&mut self) -> io::Result<usize> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).expect("into memory");
        }
        self.session.socket_mut().incoming.push_back(Some(bytes));
        self.session.read(&mut self.scratch)
    }

    /// What the client makes of what was written since it was last asked.
    fn hear(&mut self) -> Vec<u8> {
        let written = std::mem::take(&mut self.session.socket_mut().written);
        let (mut plain, mut rest) = (Vec::new(), &written[..]);
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).expect("from memory");
            self.client.process_new_packets().expect("good records");
            match self.client.reader().read_to_end(&mut plain) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => drop(other.expect("read")),
            }
        }
        plain
    }
}

#[test]
fn what_is_taken_arrives_whatever_the_socket_takes_at_a_time() {
    let text: Vec<u8> = (0..40_000u32).map(|n| (n % 251) as u8).collect();
    for step in [1, 7, 1_000, 16_385, 40_000] {
        let mut rig = Rig::greeted();
        let (mut taken, mut heard) = (0, Vec::new());
        while taken < text.len() || rig.session.unsent_bytes() > 0 {
            rig.session.socket_mut().steps.extend([Step::Take(step), Step::Block]);
            let result = match taken < text.len() {
                true => rig.session.write(&text[taken..]).map(|count| taken += count),
                false => rig.session.flush(),
            };
            result
                .or_else(|error| if error.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(error) })
                .expect("room");
            assert!(rig.session.unsent_bytes() < 17_000, "a record at most is held");
            heard.extend(rig.hear());
        }
        assert_eq!(heard, text, "{step} bytes at a time");
    }
}

#[test]
fn nothing_is_taken_while_something_is_held() {
    let mut rig = Rig::greeted();
    rig.session.socket_mut().steps.push_back(Step::Block);
    assert_eq!(rig.session.write(b"first").expect("it is taken"), 5);
    rig.session.socket_mut().steps.push_back(Step::Block);
    assert_eq!(rig.session.write(b"second").expect_err("it has to wait").kind(), ErrorKind::WouldBlock);
    assert_eq!(rig.session.write(b"third").expect("there is room"), 5);
    assert_eq!(rig.hear(), b"firstthird");
}

#[test]
fn records_are_read_whole_however_they_come_and_none_stays_behind() {
    let text: Vec<u8> = (0..100_000u32).map(|n| (n % 253) as u8).collect();
    for size in [1, 5, 1_000, 49_152, 200_000] {
        let mut rig = Rig::greeted();
        let mut sent = Vec::new();
        for part in text.chunks(20_000) {
            rig.client.writer().write_all(part).expect("it is taken");
            while rig.client.wants_write() {
                rig.client.write_tls(&mut sent).expect("into memory");
            }
        }
        let mut heard = Vec::new();
        for chunk in sent.chunks(size) {
            rig.session.socket_mut().incoming.push_back(Some(chunk.to_vec()));
            loop {
                match rig.session.read(&mut rig.scratch) {
                    Ok(count) => {
                        heard.extend_from_slice(&rig.scratch[..count]);
                        if rig.session.has_emptied() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        assert!(heard == text, "{size} bytes at a time: {} of {}", heard.len(), text.len());
    }
}

#[test]
fn before_the_handshake_nothing_is_taken_and_then_it_is_said_that_it_would_be() {
    let mut rig = Rig::new();
    assert_eq!(rig.session.write(b"too early").expect_err("no keys yet").kind(), ErrorKind::WouldBlock);
    assert!(rig.session.unblocks() && !rig.session.unblocks());
}

#[test]
fn the_last_write_is_followed_by_the_announcement_and_a_cut_is_not_an_end() {
    let mut rig = Rig::greeted();
    assert_eq!(rig.session.write_last(b"bye").expect("it is taken"), 3);
    rig.session.shutdown_write().expect("it is open");
    assert!(rig.session.socket_mut().shut);
    assert_eq!(rig.hear(), b"bye");
    assert!(rig.client.process_new_packets().expect("good records").peer_has_closed());
    // The peer's is an end; without it, the end of the socket is an error.
    let mut other = Rig::greeted();
    other.session.socket_mut().incoming.push_back(None);
    let error = other.session.read(&mut other.scratch).expect_err("cut off");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    rig.client.send_close_notify();
    assert_eq!(rig.receive().expect("an end"), 0);
    assert!(!rig.session.has_emptied(), "an end is told of again");
}

#[test]
fn a_session_at_rest_holds_no_buffers() {
    let mut rig = Rig::greeted();
    for _ in 0..3 {
        rig.client.writer().write_all(&[1; 30_000]).expect("it is taken");
        assert_eq!(rig.receive().expect("it is read"), 30_000);
        rig.session.write(&[2; 30_000]).expect("it is taken");
        assert_eq!(rig.session.buffer_bytes(), 0);
    }
}

#[test]
fn keys_that_are_changed_amid_it_change_nothing() {
    let mut rig = Rig::greeted();
    for round in 0..5u8 {
        rig.client.refresh_traffic_keys().expect("the handshake is over");
        rig.client.writer().write_all(&[round; 300]).expect("it is taken");
        assert_eq!(rig.receive().expect("it is read"), 300);
        assert_eq!(rig.session.write(&[round; 200]).expect("it is taken"), 200);
        assert_eq!(rig.hear(), [round; 200]);
    }
}
