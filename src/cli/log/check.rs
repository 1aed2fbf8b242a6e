//! `verify` and `repair`: where a log is damaged, and what becomes of it.
//!
//! Owns: the words. Must never know: how damage is found or replaced.

use std::io::Write;

use super::{LogCommandError, entropy, find, of_room, open_store, printing, settled, visible};
use crate::config::LogCommand;
use crate::log::Damage;
use crate::log::inspect::{Inspector, RoomFiles};

/// Reads everything; the places of all damage go to `out`.
pub fn verify(command: &LogCommand, room: Option<&str>, out: &mut impl Write) -> Result<(), LogCommandError> {
    let rooms = match room {
        Some(room) => vec![find(command, room)?],
        None => Inspector::open(&command.data)?.rooms()?,
    };
    let (count, mut damaged) = (rooms.len(), 0);
    for files in rooms {
        let (files, damage) = look(command, files)?;
        if damage.is_none() && damage.tail.is_none() {
            writeln!(out, "{}: {}, no damage", visible(&files.room), messages(damage.messages)).map_err(printing)?;
        } else {
            damaged += 1;
        }
        tell(&files, &damage, out)?;
    }
    match damaged {
        0 => Ok(()),
        n => Err(LogCommandError::Damaged(format!("{n} of {count} room{} damaged", if count == 1 { "" } else { "s" }))),
    }
}

/// Finds damage, and looks again where it may be a write under way.
fn look(command: &LogCommand, files: RoomFiles) -> Result<(RoomFiles, Damage), LogCommandError> {
    let damage = Damage::find(&files).map_err(of_room(&files))?;
    // A line that is being overwritten because its message was edited or deleted looks like damage, for a moment.
    if damage.tail.is_none() && damage.spots.is_empty() {
        return Ok((files, damage));
    }
    let files = settled(command, files)?;
    let damage = Damage::find(&files).map_err(of_room(&files))?;
    Ok((files, damage))
}

pub(super) fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

fn range((from, to): (u64, u64)) -> String {
    if from == to { format!("message {from} is") } else { format!("messages {from} to {to} are") }
}

fn tell(files: &RoomFiles, damage: &Damage, out: &mut impl Write) -> Result<(), LogCommandError> {
    let room = visible(&files.room);
    for &(segment, offset, bytes) in &damage.spots {
        writeln!(out, "{room}: {}: byte {offset}: {bytes} bytes are no record", files.path(segment).display())
            .map_err(printing)?;
    }
    if let Some((segment, offset, bytes)) = damage.tail {
        writeln!(
            out,
            "{room}: {}: byte {offset}: a torn end of {bytes} bytes; the server cuts it off when it opens the room",
            files.path(segment).display()
        )
        .map_err(printing)?;
    }
    for &lost in &damage.lost {
        writeln!(out, "{room}: {} lost", range(lost)).map_err(printing)?;
    }
    for &lost in &damage.known {
        writeln!(out, "{room}: {} lost; a repair has written that down", range(lost)).map_err(printing)?;
    }
    Ok(())
}

/// Says what is lost and what a repair does; does it if `yes`.
pub fn repair(command: &LogCommand, room: &str, yes: bool, out: &mut impl Write) -> Result<(), LogCommandError> {
    let (files, damage) = look(command, find(command, room)?)?;
    if damage.is_none() {
        tell(&files, &damage, out)?;
        return writeln!(out, "{}: nothing to repair", visible(room)).map_err(printing);
    }
    tell(&files, &damage, out)?;
    if !yes {
        return writeln!(
            out,
            "A repair keeps the damaged segments beside as .damaged-N, writes them anew with the {} that can be read, writes \
             down what is lost, and begins a new epoch. Stop the server, then do it with --yes.",
            messages(damage.messages)
        )
        .map_err(printing);
    }
    let (mut store, now) = open_store(command)?;
    // A line that was torn when it was overwritten is no loss.
    store.redo_room(room).map_err(of_room(&files))?;
    // Once more, now that nobody else writes.
    let files = find(command, room)?;
    let damage = Damage::find(&files).map_err(of_room(&files))?;
    if damage.is_none() {
        store.shutdown(now)?;
        return writeln!(out, "{}: made whole; nothing is lost", visible(room)).map_err(printing);
    }
    let repaired = store.repair_room(&files, &damage, entropy()?, now).map_err(of_room(&files))?;
    store.shutdown(now)?;
    for path in &repaired.kept {
        writeln!(out, "kept {}", path.display()).map_err(printing)?;
    }
    writeln!(out, "{}: repaired; the epoch is {} now", visible(room), repaired.epoch).map_err(printing)
}
