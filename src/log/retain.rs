//! Retention: the oldest sealed segments go.
//!
//! Owns: which and when. Must never know: the active segment, which always stays.

use super::disk::Disk;
use super::name;
use super::room::{Folders, RoomLog, Wanted};
use super::store::{Store, remove_if_there};
use crate::clock::Now;

/// Longest time between two looks for segments that are too old, in milliseconds.
const RETAIN_INTERVAL_MS: u64 = 3_600_000;

impl<D: Disk> Store<D> {
    /// Looks at every open room, and sets when to look again.
    pub(super) fn retain_all(&mut self, now: Now) {
        let age_ms = self.options.retention.age_ms.unwrap_or(u64::MAX);
        self.retain_at_ms = Some(now.monotonic_ms + (age_ms / 8).clamp(1, RETAIN_INTERVAL_MS));
        for id in 0..self.rooms.capacity() {
            self.retain_room(id as u32, now);
        }
    }

    /// Drops a room's oldest segment if it may go. The next one goes only after the folder is synced, so that a power cut
    /// cannot bring back an older segment without those behind it.
    pub(super) fn retain_room(&mut self, id: u32, now: Now) {
        let Some(log) = self.log_mut(id).filter(|log| log.folders == Folders::Synced && !log.in_flight) else { return };
        let Some(oldest) = log.sealed.first().map(|segment| segment.first) else { return };
        let Some(kept) = log.sealed.get(1).map(|s| s.first).or(log.active.as_ref().map(|a| a.first)) else { return };
        let (dir, wall_ms) = (self.room_dir(&self.rooms[id as usize].name), self.wall_ms(now));
        if self.options.retention.age_ms.is_some() {
            let created_ms = || self.segment_header(&dir, kept).map(|header| header.created_ms.min(wall_ms));
            let known = self.rooms[id as usize].log.as_ref().and_then(|log| log.sealed[0].until_ms);
            let until_ms = known.or_else(created_ms);
            if let Some(log) = self.log_mut(id) {
                log.sealed[0].until_ms = until_ms;
            }
        }
        let log = self.rooms[id as usize].log.as_deref();
        if !log.is_some_and(|log| self.may_go(log, kept, now)) {
            return;
        }
        self.files.remove((id, oldest));
        self.sealed_indexes.retain(|(key, _)| *key != (id, oldest));
        // The index first: alone it would never be found again.
        let removed = remove_if_there(&*self.disk, &dir.join(name::sidecar(oldest)))
            .and_then(|()| remove_if_there(&*self.disk, &dir.join(name::segment(oldest))));
        if let Err(error) = removed {
            ::log::warn!("{}: the segment {oldest} could not be removed: {error}", dir.display());
            return;
        }
        if let Some(log) = self.log_mut(id) {
            log.sealed.remove(0);
            log.amends.forget_segment(oldest);
            log.folders = Folders::Room;
        }
        self.want_sync(id, Wanted::Urgent, now);
    }

    /// Whether a room keeps enough without its oldest segment, after which the record `kept` is the first.
    fn may_go(&self, log: &RoomLog, kept: u64, now: Now) -> bool {
        let retention = &self.options.retention;
        let active_bytes = log.active.as_ref().map_or(0, |active| active.bytes);
        let kept_bytes = active_bytes + log.sealed[1..].iter().map(|segment| segment.bytes).sum::<u64>();
        let old =
            |age_ms| log.sealed[0].until_ms.is_some_and(|until| self.wall_ms(now).saturating_sub(until) >= age_ms);
        retention.messages.is_some_and(|messages| log.written + 1 - kept >= messages)
            || retention.bytes.is_some_and(|bytes| kept_bytes >= bytes)
            || retention.age_ms.is_some_and(old)
    }
}
