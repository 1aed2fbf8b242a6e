//! A WebSocket echo server on the same network layer as the chat server; it proves that the layer knows no chat, and
//! conformance suites run against it.
//!
//! `cargo run --release --example echo -- --port 9001`, then connect to `ws://127.0.0.1:9001/`.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use roomlog::net::http::{Request, Response};
use roomlog::net::{ConnId, Frame, NetConfig, NetEvent, Reactor};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

const DEFAULT_PORT: u16 = 9001;
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
const SIGNALS_KEY: usize = 0;

fn main() -> Result<(), Box<dyn Error>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, parse_port()?));
    let started = Instant::now();
    let mut reactor = Reactor::bind(address, config(), 0)?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    reactor.register(&mut signals, SIGNALS_KEY)?;
    println!("listening on ws://{}", reactor.local_addr());

    let mut events = Vec::new();
    loop {
        let now_ms = started.elapsed().as_millis() as u64;
        let timeout_ms = reactor.next_deadline_ms().map(|deadline_ms| deadline_ms.saturating_sub(now_ms));
        reactor.wait(timeout_ms.map(Duration::from_millis))?;
        let now_ms = started.elapsed().as_millis() as u64;
        reactor.collect(now_ms, &mut events);
        for event in events.drain(..) {
            match event {
                NetEvent::Request { conn, request } => answer(&mut reactor, conn, &request),
                NetEvent::Text { conn, text } => reactor.push(conn, &Frame::text(text.as_bytes())),
                NetEvent::Binary { conn, data } => reactor.push(conn, &Frame::binary(&data)),
                NetEvent::External { .. } if signals.pending().next().is_some() => return Ok(()),
                NetEvent::External { .. }
                | NetEvent::Control { .. }
                | NetEvent::HeartbeatDue { .. }
                | NetEvent::Drained { .. }
                | NetEvent::Opened { .. }
                | NetEvent::DialFailed { .. }
                | NetEvent::Closed { .. } => {}
            }
        }
        reactor.flush(now_ms, &mut events);
        // There is nothing to do for those that have left.
        events.clear();
    }
}

fn answer(reactor: &mut Reactor, conn: ConnId, request: &Request) {
    match request.path() {
        "/" => reactor.upgrade(conn, None),
        _ => reactor.respond(conn, &Response::new(404)),
    }
}

/// Generous bounds, and no heartbeat: a conformance suite is neither slow on purpose nor fond of pings it did not ask
/// for.
fn config() -> NetConfig {
    NetConfig {
        heartbeat_ms: 0,
        idle_timeout_ms: 0,
        message_bytes_max: MESSAGE_BYTES_MAX,
        accept_binary: true,
        outbox_low_water_bytes: MESSAGE_BYTES_MAX,
        outbox_high_water_bytes: 2 * MESSAGE_BYTES_MAX,
        ..NetConfig::default()
    }
}

fn parse_port() -> Result<u16, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let mut port = DEFAULT_PORT;
    while let Some(argument) = parser.next()? {
        match argument {
            lexopt::Arg::Long("port") => port = lexopt::ValueExt::parse(&parser.value()?)?,
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(port)
}
