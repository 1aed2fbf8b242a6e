//! The documents against the code: every example frame of `docs/PROTOCOL.md`, its error codes and its bounds, and the
//! README's table of flags. Where one of these tests fails, the text and the program have drifted apart.
//!
//! A block marked `golden:client NAME` holds frames, one per line, that must parse as the command NAME. A block marked
//! `golden:server NAME` holds one frame, laid out for people, that must be what the encoder makes, byte for byte but for
//! white space between tokens.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use roomlog::config::options::OptionSpec;
use roomlog::config::{BENCH, Bench, Config, FIGURES, HEALTHCHECK, LATENCIES, QUANTILES, SERVE, Unit};
use roomlog::limits;
use roomlog::protocol::{
    AccountView, Announcement, Change, ChangeKind, Changed, Command, DirectView, ErrorCode, Event, Limits, Member,
    MessageIdentity, Reset, Serial, StoredMessage, encode_message, history_frame, parse, recorded,
};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .expect("a document that is part of the project")
}

/// The fenced blocks of a document that are marked `golden:SIDE NAME`, as (NAME, content).
fn golden(document: &str, side: &str) -> Vec<(String, String)> {
    let marker = format!("```json golden:{side} ");
    let blocks = document.split(&marker).skip(1).map(|rest| {
        let (name, rest) = rest.split_once('\n').expect("a marker ends its line");
        let (content, _) = rest.split_once("```").expect("a block ends");
        (name.trim().to_owned(), content.trim().to_owned())
    });
    blocks.collect()
}

/// A JSON text without the white space between its tokens.
fn compact(text: &str) -> String {
    let (mut within, mut escaped) = (false, false);
    let keep = |c: &char| {
        let kept = within || !c.is_whitespace();
        within ^= *c == '"' && !escaped;
        escaped = within && *c == '\\' && !escaped;
        kept
    };
    text.chars().filter(keep).collect()
}

/// Every command. A new one does not compile until it has a name, and fails until it is in the document.
const COMMANDS: [&str; 16] = [
    "hello",
    "join",
    "leave",
    "message",
    "edit",
    "delete",
    "presence",
    "status",
    "history",
    "typing",
    "private",
    "kick",
    "ban",
    "unban",
    "ping",
    "heartbeat",
];

fn command_name(command: &Command<'_>) -> &'static str {
    match command {
        Command::Hello { .. } => "hello",
        Command::Join { .. } => "join",
        Command::Leave { .. } => "leave",
        Command::Message { .. } => "message",
        Command::Edit { .. } => "edit",
        Command::Delete { .. } => "delete",
        Command::Kick { .. } => "kick",
        Command::Ban { .. } => "ban",
        Command::Unban { .. } => "unban",
        Command::Presence { .. } => "presence",
        Command::Status { .. } => "status",
        Command::History { .. } => "history",
        Command::Typing { .. } => "typing",
        Command::Private { .. } => "private",
        Command::Ping { .. } => "ping",
        Command::Heartbeat => "heartbeat",
    }
}

#[test]
fn client_examples_parse_as_the_command_they_are_named_after() {
    let blocks = golden(&read("docs/PROTOCOL.md"), "client");
    for (name, frames) in &blocks {
        for frame in frames.lines() {
            let request = parse(frame).unwrap_or_else(|bad| panic!("{name}: {frame}: {bad:?}"));
            assert_eq!(command_name(&request.command), name, "{frame}");
            // The parser ignores fields it does not know, so a misspelt one would go unnoticed.
            check_fields(frame);
        }
    }
    let named: BTreeSet<&str> = blocks.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(named, BTreeSet::from(COMMANDS), "the document has an example of every command, and of nothing else");
}

/// Each field of an example matters: given a value that no field takes, the frame is refused.
fn check_fields(frame: &str) {
    let json: serde_json::Value = serde_json::from_str(frame).expect("it parsed before");
    let object = json.as_object().expect("a frame is an object");
    let paths = object.keys().map(|key| vec![key.clone()]);
    let nested = object.get("data").and_then(|data| data.as_object());
    let nested = nested.into_iter().flat_map(|data| data.keys().map(|key| vec!["data".to_owned(), key.clone()]));
    for path in paths.chain(nested).filter(|path| path.last().is_some_and(|field| field != "timestamp")) {
        let mut broken = json.clone();
        path.iter().fold(&mut broken, |place, key| &mut place[key]).clone_from(&serde_json::json!([[]]));
        assert!(parse(&broken.to_string()).is_err(), "{path:?} is no field: {frame}");
    }
}

/// Every event. A new one does not compile until it has a name, and fails until it is in the document. (The stored
/// message and `history` are no [`Event`]s: their bytes are the log's.)
const EVENTS: [&str; 13] = [
    "connected",
    "presence",
    "status",
    "announcement",
    "typing",
    "private",
    "ack-message",
    "ack-join",
    "ack",
    "error",
    "heartbeat",
    "pong",
    "message",
];

fn event_name(event: &Event<'_>) -> &'static str {
    match event {
        Event::Connected { .. } => "connected",
        Event::Presence { .. } => "presence",
        Event::Status { .. } => "status",
        Event::Announcement { .. } => "announcement",
        Event::Typing { .. } => "typing",
        Event::Private { .. } => "private",
        Event::MessageAck { .. } => "ack-message",
        Event::JoinAck { .. } => "ack-join",
        Event::Ack { .. } => "ack",
        Event::Error { .. } => "error",
        Event::Heartbeat { .. } => "heartbeat",
        Event::Pong { .. } => "pong",
    }
}

const EPOCH: &str = "9c1f04e2b7a65d38";
const NOW: u64 = 1_790_000_000_000;

fn events() -> Vec<(&'static str, Option<&'static str>, Event<'static>)> {
    const ALICE: Member<'_> = Member { user: "alice", status: "online", last_seen: NOW };
    const BOB: Member<'_> = Member { user: "bob", status: "away", last_seen: NOW - 60_000 };
    let limits = Limits {
        content_bytes: limits::CONTENT_BYTES_MAX,
        message_bytes: limits::MESSAGE_BYTES_MAX,
        rooms_per_connection: limits::ROOMS_PER_CONNECTION_MAX,
        messages_per_second: limits::RATE_PER_SECOND,
    };
    let serial = |serial| Serial { timestamp: NOW, serial };
    let identity = |sequence| MessageIdentity { epoch: EPOCH, sequence };
    let ack =
        |duplicate| Event::MessageAck { room: "general", sequence: 42, id: identity(42), timestamp: NOW, duplicate };
    let error = |code, message, retry_after_ms| Event::Error { code, message, retry_after_ms };
    let slow_down = error(ErrorCode::RateLimited, "Too many messages; slow down", Some(50));
    let private = |id, room, sequence| Event::Private {
        id,
        from: "alice",
        to: "bob",
        content: "lunch?",
        timestamp: NOW,
        room,
        sequence,
        nonce: Some("a4"),
        kind: None,
        target: None,
    };
    let status = Event::Status { room: "general", user: "bob", status: "away", last_seen: NOW };
    let session = "0.5f0c7e1b94d24a6c8e3b6d1fa2907c55";
    vec![
        ("connected", None, Event::connected("c0-1", "alice", session, limits::HEARTBEAT_MS, limits)),
        ("connected-account", None, connected_account(session, limits)),
        ("presence", None, Event::Presence { room: "general", users: &[ALICE, BOB], count: 2, more: false }),
        ("presence-large", None, Event::Presence { room: "lobby", users: &[], count: 2_317, more: true }),
        ("status", None, status),
        ("announcement", None, Event::announcement("general", "bob", Announcement::Join, 42, serial(7))),
        ("typing", None, Event::Typing { room: "general", user: "bob", is_typing: true }),
        ("private", None, private("~1790000000000-8", None, None)),
        ("private-kept", None, private("9c1f04e2b7a65d38:7", Some("@dm:1-3"), Some(7))),
        ("ack-message", Some("7"), ack(false)),
        ("ack-message-duplicate", Some("8"), ack(true)),
        ("ack-join", Some(r#""j1""#), Event::JoinAck { room: "general", epoch: EPOCH, head: 42 }),
        ("ack", Some("3"), Event::Ack { room: Some("general") }),
        ("ack-plain", Some("4"), Event::Ack { room: None }),
        ("error", Some("5"), error(ErrorCode::NotSubscribed, "Not subscribed to room random", None)),
        ("error-rate", Some("6"), slow_down),
        ("heartbeat", None, Event::Heartbeat { timestamp: NOW }),
        ("pong", None, Event::Pong { timestamp: None }),
    ]
}

fn connected_account(session: &'static str, limits: Limits) -> Event<'static> {
    let mut event = Event::connected("c0-1", "alice", session, limits::HEARTBEAT_MS, limits);
    if let Event::Connected { account, .. } = &mut event {
        let direct = vec![DirectView { room: "@dm:1-3".into(), user: "bob" }];
        *account = Some(AccountView { role: "member", rooms: vec!["general", "random"], direct });
    }
    event
}

fn message(sequence: u64, user: &str, content: &str, nonce: Option<&str>) -> Vec<u8> {
    let id = MessageIdentity { epoch: EPOCH, sequence };
    let timestamp = NOW + sequence - 42;
    let mut json = Vec::new();
    encode_message(
        &StoredMessage { id, room: "general", user, content, sequence, timestamp, nonce, change: None },
        &mut json,
    );
    json
}

fn change(
    sequence: u64,
    user: &str,
    content: &str,
    nonce: Option<&str>,
    (kind, timestamp): (ChangeKind, u64),
) -> Vec<u8> {
    let id = MessageIdentity { epoch: EPOCH, sequence };
    let change = Some(Change { kind, target: 42, previous: None });
    let mut json = Vec::new();
    encode_message(
        &StoredMessage { id, room: "general", user, content, sequence, timestamp, nonce, change },
        &mut json,
    );
    json
}

/// What is shown of a message once it is changed.
fn changed(message: &[u8], by: u64, deleted: bool) -> Vec<u8> {
    let edit = change(57, "alice", "Hi, Bob and Carol!", Some("a5"), (ChangeKind::Edit, NOW + 60_000));
    let mut json = Vec::new();
    let changed = Changed::of(message, by, deleted).expect("a message");
    changed.expand("general", 42, recorded::parse(&edit).as_ref(), &mut json);
    json
}

fn history(messages: &[Vec<u8>], more: bool, reset: Option<Reset>, gap: Option<(u64, u64)>) -> Vec<u8> {
    let mut json = Vec::new();
    history_frame::begin("general", &mut json);
    for payload in messages {
        history_frame::push(payload, &mut json);
    }
    history_frame::end(&history_frame::Tail { epoch: EPOCH, floor: 1, head: 42, more, reset, gap }, &mut json);
    json
}

#[test]
fn server_examples_are_what_the_encoder_makes() {
    let hello = [message(41, "bob", "hello?", None), message(42, "alice", "Hi, Bob!", Some("a3"))];
    let mut made: Vec<(&str, Vec<u8>)> = vec![
        ("message", hello[1].clone()),
        ("message-edit", change(57, "alice", "Hi, Bob and Carol!", Some("a5"), (ChangeKind::Edit, NOW + 60_000))),
        ("message-delete", change(80, "mod", "", None, (ChangeKind::Delete, NOW + 120_000))),
        ("message-edited", changed(&hello[1], 57, false)),
        ("message-deleted", changed(&hello[1], 80, true)),
        ("history", history(&hello, false, None, None)),
        ("history-reset", history(&hello[..1], true, Some(Reset::EpochChanged), Some((38, 40)))),
    ];
    for (name, id, event) in events() {
        assert!(name.starts_with(event_name(&event)), "{name}");
        made.push((name, event.to_vec(id)));
    }
    let blocks = golden(&read("docs/PROTOCOL.md"), "server");
    for (name, shown) in &blocks {
        let (_, json) = made.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no encoder for {name}"));
        assert_eq!(compact(shown), String::from_utf8_lossy(json), "{name}");
    }
    let shown: BTreeSet<&str> = blocks.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(shown, made.iter().map(|(name, _)| *name).collect(), "every example that is made is shown");
    assert!(EVENTS.iter().all(|name| shown.contains(name)), "every event has an example");
}

#[test]
fn the_examples_are_compared_without_white_space_between_tokens_only() {
    assert_eq!(compact("{ \"a b\" :\n [1, \"\\\" \\\\\" , 2] }"), r#"{"a b":[1,"\" \\",2]}"#);
}

/// A new error code does not compile until it has a place here, and fails until it is in the document.
fn place(code: ErrorCode) -> usize {
    match code {
        ErrorCode::BadRequest => 0,
        ErrorCode::UnknownType => 1,
        ErrorCode::BadRoom => 2,
        ErrorCode::BadName => 3,
        ErrorCode::NameTaken => 4,
        ErrorCode::BadSession => 5,
        ErrorCode::BadToken => 6,
        ErrorCode::Empty => 7,
        ErrorCode::TooLong => 8,
        ErrorCode::TooManyRooms => 9,
        ErrorCode::NotSubscribed => 10,
        ErrorCode::RateLimited => 11,
        ErrorCode::NonceConflict => 12,
        ErrorCode::NoSuchUser => 13,
        ErrorCode::NoSuchMessage => 14,
        ErrorCode::Forbidden => 15,
        ErrorCode::Banned => 16,
        ErrorCode::StorageUnavailable => 17,
    }
}

#[test]
fn every_error_code_has_a_row() {
    let document = read("docs/PROTOCOL.md");
    for (index, code) in ErrorCode::ALL.into_iter().enumerate() {
        assert_eq!(place(code), index, "{code:?}");
        let code = serde_json::to_value(code).expect("a code is a string");
        let row = format!("\n| `{}` |", code.as_str().expect("a code is a string"));
        assert!(document.contains(&row), "no row {row}");
    }
}

/// `4096` → `4,096`.
fn grouped(number: u64) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", grouped(number / 1_000), number % 1_000) }
}

#[test]
fn the_bounds_in_the_text_are_those_in_force() {
    let document = read("docs/PROTOCOL.md");
    let seconds = |ms: u64| format!("{} s", ms / 1_000);
    let kib = |bytes: usize| format!("{} KiB", bytes / 1_024);
    let rows = [
        ("Message", kib(limits::MESSAGE_BYTES_MAX)),
        ("Content", format!("{} bytes", grouped(limits::CONTENT_BYTES_MAX as u64))),
        ("Room name", format!("1–{} characters", limits::ROOM_NAME_CHARS_MAX)),
        ("User name", format!("1–{} characters", limits::USER_NAME_CHARS_MAX)),
        ("`id`", format!("{} bytes", limits::COMMAND_ID_BYTES_MAX)),
        ("`nonce`", format!("1–{} bytes", limits::NONCE_BYTES_MAX)),
        ("Rooms", format!("{} per connection", limits::ROOMS_PER_CONNECTION_MAX)),
        (
            "Messages",
            format!(
                "{} a second, {} at once",
                limits::RATE_PER_SECOND,
                limits::RATE_PER_SECOND * limits::RATE_BURST_FACTOR
            ),
        ),
        ("Messages of an account", {
            let rate = limits::RATE_PER_SECOND * limits::ACCOUNT_RATE_FACTOR;
            format!("{} a second, {} at once", rate, rate * limits::RATE_BURST_FACTOR)
        }),
        ("Messages and requests of an address", {
            let rate = u64::from(limits::RATE_PER_SECOND * limits::ADDRESS_RATE_FACTOR);
            format!("{} a second, {} at once", grouped(rate), grouped(rate * u64::from(limits::RATE_BURST_FACTOR)))
        }),
        ("Other commands and control frames", {
            let rate = u64::from(limits::RATE_PER_SECOND * limits::RATE_COMMANDS_FACTOR);
            format!("{} a second, {} at once", grouped(rate), grouped(rate * u64::from(limits::RATE_BURST_FACTOR)))
        }),
        ("Connections of an address", grouped(u64::from(limits::CONNECTIONS_PER_ADDRESS_MAX))),
        ("Password", format!("{}–{} characters", limits::PASSWORD_CHARS_MIN, limits::PASSWORD_CHARS_MAX)),
        ("Logins of an account", limits::TOKENS_PER_ACCOUNT_MAX.to_string()),
        ("Rooms that an account keeps", limits::ACCOUNT_ROOMS_MAX.to_string()),
        ("Request body", kib(limits::BODY_BYTES_MAX)),
        ("Edits of a message", limits::EDITS_MAX.to_string()),
        ("Reason of a kick or ban", format!("{} bytes", limits::REASON_BYTES_MAX)),
        ("Typing", format!("one in {} for a user in a room", seconds(limits::TYPING_INTERVAL_MS))),
        ("Typing without a word", seconds(limits::TYPING_MS)),
        ("Refused messages", format!("{} more than accepted", limits::RATE_ABUSE_MAX)),
        ("Request head", format!("{}, {}", kib(limits::HEAD_BYTES_MAX), seconds(limits::HANDSHAKE_TIMEOUT_MS))),
        ("Silence", seconds(limits::OFFLINE_TIMEOUT_MS)),
        ("Taking nothing", seconds(limits::WRITE_TIMEOUT_MS)),
        ("Closing", seconds(limits::CLOSE_TIMEOUT_MS)),
        ("Plain join", format!("{} messages", limits::JOIN_HISTORY_MESSAGES)),
        (
            "Replay frame",
            format!("{} messages or {}", grouped(limits::HISTORY_LIMIT_MAX), kib(limits::REPLAY_FRAME_BYTES_MAX)),
        ),
        (
            "`history` answer",
            format!("{} messages or {}", grouped(limits::HISTORY_LIMIT_MAX), kib(limits::HISTORY_FRAME_BYTES_MAX)),
        ),
        ("`limit`", format!("1–{}, {} if not said", grouped(limits::HISTORY_LIMIT_MAX), limits::HISTORY_LIMIT_DEFAULT)),
        ("Members listed", limits::PRESENCE_USERS_MAX.to_string()),
        ("Member lists", format!("one in {}", seconds(limits::PRESENCE_COUNT_INTERVAL_MS))),
        ("Grace", seconds(limits::GRACE_MS)),
        ("Heartbeat", seconds(limits::HEARTBEAT_MS)),
    ];
    for (what, bound) in rows {
        let row = format!("\n| {what} | {bound} |");
        assert!(document.contains(&row), "no row {row}");
    }
}

/// The rows of a table of options, as they stand in the README.
fn flag_rows<T>(table: &[OptionSpec<T>], defaults: &T) -> String {
    let row = |spec: &OptionSpec<T>| {
        let default = (spec.show)(defaults);
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let flag = format!("--{} {}", spec.flag, spec.value_name);
        // A table's cells end at a bar, also in code.
        format!("| `{}` | {default} | {} |\n", flag.trim_end().replace('|', "\\|"), spec.help)
    };
    table.iter().map(row).collect()
}

#[test]
fn the_readme_has_every_flag_as_the_help_has_it() {
    let rows = flag_rows(SERVE, &Config::default());
    assert!(read("README.md").contains(&rows), "the table should be:\n{rows}");
}

#[test]
fn the_bench_document_has_every_flag_and_figure() {
    let document = read("docs/BENCH.md");
    let rows = flag_rows(BENCH, &Bench::default());
    assert!(document.contains(&rows), "the table should be:\n{rows}");
    let rows = |(name, pointer, unit): &(&str, &str, Unit)| {
        format!("| `{name}` | `{pointer}` | {} |\n", if *unit == Unit::Time { "time" } else { "number" })
    };
    let figures: String = FIGURES.iter().map(rows).collect();
    assert!(document.contains(&figures), "the table should be:\n{figures}");
    let names = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let latencies = names(LATENCIES.iter().map(|(name, _)| *name).collect());
    assert!(document.contains(&latencies) && document.contains(&names(QUANTILES.to_vec())), "{latencies}");
}

#[test]
fn options_of_both_commands_have_the_variable_that_the_readme_promises() {
    let named = SERVE.iter().map(|spec| (spec.flag, spec.env));
    for (flag, env) in named.chain(HEALTHCHECK.iter().map(|spec| (spec.flag, spec.env))) {
        let variable = format!("ROOMLOG_{}", flag.replace('-', "_").to_uppercase());
        assert!(env.contains(&variable.as_str()), "--{flag}: {env:?}");
    }
}
