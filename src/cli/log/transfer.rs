//! `export` and `import`: messages as JSON Lines, one message object as in the `data` of a `message` event per line.
//!
//! Owns: the lines and what may be in them. Must never know: segments.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::check::messages;
use super::{LogCommandError, entropy, of_room, open_store, printing, visible};
use crate::clock::Now;
use crate::config::LogCommand;
use crate::limits;
use crate::log::inspect::{Batch, Found, Lookup, RoomFiles};
use crate::log::{LogError, LogEvent, LogId, ReadBuffer, Store};
use crate::protocol::{Changed, MessageIdentity, SYSTEM_USER, StoredMessage, encode_message, recorded};

/// Bytes of messages that are written and synced at once.
const BATCH_BYTES: usize = 1024 * 1024;
/// Longest line: the longest content with every byte escaped, and room for the rest.
const LINE_BYTES_MAX: u64 = 6 * limits::CONTENT_BYTES_CEILING as u64 + 16 * 1024;

/// Prints the messages after `since` up to and including `until`.
pub fn export(files: &RoomFiles, since: u64, until: u64, out: &mut impl Write) -> Result<(), LogCommandError> {
    let (mut walk, mut batch, mut missing) = (files.walk_from(since.saturating_add(1)), Batch::default(), 0);
    let mut present = Present { room: &files.room, lookup: Lookup::new(files), shown: Vec::new() };
    'walk: while walk.next(&mut batch).map_err(of_room(files))? {
        for found in &batch.found {
            match found {
                Found::Message { sequence, .. } if *sequence > until => break 'walk,
                Found::Message { sequence, payload } if *sequence > since => {
                    let payload = present.of(*sequence, batch.payload(payload)).map_err(of_room(files))?;
                    if let Some(object) = recorded::object(payload) {
                        out.write_all(object).and_then(|()| out.write_all(b"\n")).map_err(printing)?;
                    }
                }
                Found::Lost { from, to, is_known: false } if *to > since && *from <= until => {
                    missing += (*to).min(until) - (*from).max(since + 1) + 1;
                }
                _ => {}
            }
        }
    }
    match missing {
        0 => Ok(()),
        n => Err(LogCommandError::Damaged(format!("{n} messages are lost to damage; all others were exported"))),
    }
}

/// The present text of messages.
struct Present<'a> {
    room: &'a str,
    lookup: Lookup,
    shown: Vec<u8>,
}

impl Present<'_> {
    /// A record's payload, or what is shown in the place of a changed one.
    fn of<'a>(&'a mut self, sequence: u64, payload: &'a [u8]) -> io::Result<&'a [u8]> {
        let Some(changed) = Changed::parse(payload) else { return Ok(payload) };
        let event = if changed.deleted { None } else { self.lookup.record(changed.by)? };
        let event = event.as_deref().and_then(|payload| changed.present(sequence, payload));
        self.shown.clear();
        changed.expand(self.room, sequence, event.as_ref(), &mut self.shown);
        Ok(&self.shown)
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    content: Cow<'a, str>,
    timestamp: Option<u64>,
    #[serde(borrow, default)]
    nonce: Option<Cow<'a, str>>,
    /// Edits and deletions are no messages, and their numbers mean nothing in another room.
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    edited: Option<IgnoredAny>,
    #[serde(default)]
    deleted: Option<IgnoredAny>,
}

impl Line<'_> {
    /// Whether it is none that could be said again: a change, a deleted message, or one whose present text was not readable.
    fn is_no_message(&self) -> bool {
        let is_change = matches!(self.kind.as_deref(), Some("edit" | "delete"));
        is_change || self.deleted.is_some() || (self.edited.is_some() && self.content.is_empty())
    }

    /// Reads a line, and holds it to what a client may send.
    fn parse(text: &[u8]) -> Result<Line<'_>, String> {
        let line: Line<'_> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if line.is_no_message() {
            return Ok(line);
        }
        let name_chars = line.user.chars().count();
        if !(1..=limits::USER_NAME_CHARS_MAX).contains(&name_chars) || line.user.chars().any(char::is_control) {
            return Err(format!(
                "a user has 1 to {} characters, none a control character",
                limits::USER_NAME_CHARS_MAX
            ));
        }
        if line.user == SYSTEM_USER {
            return Err(format!("the user cannot be {SYSTEM_USER}"));
        }
        if line.content.is_empty() || line.content.len() > limits::CONTENT_BYTES_CEILING {
            return Err(format!("a content has 1 to {} bytes", limits::CONTENT_BYTES_CEILING));
        }
        if line.nonce.as_ref().is_some_and(|nonce| nonce.len() > limits::NONCE_BYTES_MAX) {
            return Err(format!("a nonce has at most {} bytes", limits::NONCE_BYTES_MAX));
        }
        Ok(line)
    }
}

/// An import under way.
struct Import<'a> {
    store: Store,
    id: LogId,
    now: Now,
    room: &'a str,
    /// The first number that was given.
    first: u64,
    last_timestamp: u64,
    /// Nonces that are in the room, with their users; read when the first line has one.
    nonces: Option<HashSet<(String, String)>>,
    payload: Vec<u8>,
    waiting_bytes: usize,
    skipped: u64,
    /// Edits, deletions, and messages that were deleted.
    changes: u64,
    raised: u64,
}

/// Appends lines to a room, with new numbers. No server may use the folder.
pub fn import(
    command: &LogCommand,
    room: &str,
    file: Option<&Path>,
    out: &mut impl Write,
) -> Result<(), LogCommandError> {
    let chars = room.chars().count();
    if !(1..=limits::ROOM_NAME_CHARS_MAX).contains(&chars) || room.chars().any(char::is_control) {
        let source =
            io::Error::new(io::ErrorKind::InvalidInput, "a room name has 1 to 64 characters, none a control character");
        return Err(LogCommandError::Io { what: visible(room), source });
    }
    let named = |source| LogCommandError::Io {
        what: file.map_or_else(|| "stdin".to_owned(), |path| path.display().to_string()),
        source,
    };
    let mut lines: Box<dyn BufRead> = match file {
        Some(path) => Box::new(BufReader::new(File::open(path).map_err(named)?)),
        None => Box::new(io::stdin().lock()),
    };
    let (mut store, now) = open_store(command)?;
    let refused = |source| LogCommandError::Refused { room: room.to_owned(), source, imported: 0 };
    let id = store.open_room(room, entropy()?, now).map_err(refused)?;
    let first = store.position(id).next;
    let mut import = Import {
        last_timestamp: last_timestamp(&mut store, id).map_err(refused)?,
        store,
        id,
        now,
        room,
        first,
        nonces: None,
        payload: Vec::new(),
        waiting_bytes: 0,
        skipped: 0,
        changes: 0,
        raised: 0,
    };
    let result = import.all(&mut *lines, named);
    // What was imported before an error stays.
    let committed = import.commit();
    let imported = import.imported();
    import.store.close_room(id);
    import.store.shutdown(now)?;
    result.and(committed)?;
    writeln!(
        out,
        "{}: imported {} as {first} to {}",
        visible(room),
        messages(imported),
        first + imported - 1.min(imported)
    )
    .map_err(printing)?;
    if import.skipped > 0 {
        writeln!(out, "skipped {}: their nonces are in the room already", import.skipped).map_err(printing)?;
    }
    if import.changes > 0 {
        writeln!(out, "left out {} lines: edits, deletions, and messages that were deleted", import.changes)
            .map_err(printing)?;
    }
    if import.raised > 0 {
        writeln!(out, "{} timestamps were before the one before them and were raised to it", import.raised)
            .map_err(printing)?;
    }
    Ok(())
}

fn last_timestamp(store: &mut Store, id: LogId) -> Result<u64, LogError> {
    let (mut buffer, head) = (ReadBuffer::default(), store.position(id).head);
    if head > 0 {
        store.read(id, head, 1, usize::MAX, &mut buffer)?;
    }
    let last = buffer.records().last().and_then(|(_, payload)| recorded::parse(payload).map(|m| m.timestamp));
    Ok(last.unwrap_or(0))
}

impl Import<'_> {
    fn imported(&self) -> u64 {
        self.store.position(self.id).head + 1 - self.first
    }

    fn all(
        &mut self,
        lines: &mut dyn BufRead,
        named: impl Fn(io::Error) -> LogCommandError,
    ) -> Result<(), LogCommandError> {
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            if io::Read::take(&mut *lines, LINE_BYTES_MAX).read_until(b'\n', &mut text).map_err(&named)? == 0 {
                break;
            }
            let trimmed = text.trim_ascii();
            if !trimmed.is_empty() {
                let parsed = Line::parse(trimmed);
                let parsed = parsed.map_err(|why| (why, self.commit()));
                let message = match parsed {
                    Ok(message) => message,
                    Err((why, committed)) => {
                        committed?;
                        return Err(LogCommandError::BadLine { line, why, imported: self.imported() });
                    }
                };
                self.one(&message).map_err(|source| self.refused(source))?;
            }
            if self.waiting_bytes >= BATCH_BYTES {
                self.commit()?;
            }
        }
        Ok(())
    }

    fn refused(&self, source: LogError) -> LogCommandError {
        LogCommandError::Refused { room: self.room.to_owned(), source, imported: self.imported() }
    }

    fn one(&mut self, line: &Line<'_>) -> Result<(), LogError> {
        if line.is_no_message() {
            self.changes += 1;
            return Ok(());
        }
        if let Some(nonce) = &line.nonce
            && !self.is_new(&line.user, nonce)?
        {
            self.skipped += 1;
            return Ok(());
        }
        let wanted = line.timestamp.unwrap_or(self.now.unix_ms);
        self.raised += u64::from(line.timestamp.is_some_and(|at| at < self.last_timestamp));
        let timestamp = wanted.max(self.last_timestamp);
        let position = self.store.position(self.id);
        let (epoch, sequence) = (position.epoch, position.next);
        let message = StoredMessage {
            id: MessageIdentity { epoch, sequence },
            room: self.room,
            user: &line.user,
            content: &line.content,
            sequence,
            timestamp,
            nonce: line.nonce.as_deref(),
            change: None,
        };
        self.payload.clear();
        encode_message(&message, &mut self.payload);
        self.store.append(self.id, sequence, &self.payload)?;
        self.last_timestamp = timestamp;
        self.waiting_bytes += self.payload.len();
        Ok(())
    }

    /// Whether this user's nonce is not in the room yet. From now on it is.
    fn is_new(&mut self, user: &str, nonce: &str) -> Result<bool, LogError> {
        if self.nonces.is_none() {
            let (mut nonces, mut buffer) = (HashSet::new(), ReadBuffer::default());
            let position = self.store.position(self.id);
            let mut next = position.floor;
            while next <= position.head {
                self.store.read(self.id, next, usize::MAX, BATCH_BYTES, &mut buffer)?;
                for message in buffer.records().filter_map(|(_, payload)| recorded::parse(payload)) {
                    nonces.extend(message.nonce.map(|nonce| (message.user.into_owned(), nonce.into_owned())));
                }
                next = buffer.next;
            }
            self.nonces = Some(nonces);
        }
        Ok(self.nonces.as_mut().is_some_and(|nonces| nonces.insert((user.to_owned(), nonce.to_owned()))))
    }

    /// Makes durable what was appended.
    fn commit(&mut self) -> Result<(), LogCommandError> {
        let mut events = Vec::new();
        self.store.write_dirty(self.now, &mut events);
        while let Some(batch) = self.store.next_sync(self.now) {
            self.store.synced(batch.run_at_end(), self.now, &mut events);
            self.store.write_dirty(self.now, &mut events);
        }
        self.waiting_bytes = 0;
        let why =
            events.iter().find_map(|event| if let LogEvent::Refused { why, .. } = event { Some(*why) } else { None });
        why.map_or(Ok(()), |why| Err(self.refused(why)))
    }
}
