//! What is true, as far as clients were told: every payload, every promise.
//!
//! Owns: what must hold for all of them together. Must never know: how it comes about.

use std::collections::BTreeMap;

use roomlog::config::Fsync;
use serde_json::Value;

use super::client::{Client, Draft, text};
use super::plan::Plan;
use super::view::Phase;

/// A message as it was first shown, without what a change may take away.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    user: String,
    timestamp: u64,
    nonce: Option<String>,
    target: Option<u64>,
}

/// A promise to an author.
#[derive(Clone, Debug)]
struct Acked {
    id: String,
    draft: Draft,
    at_us: u64,
    /// A power cut came before it had to be on the disk.
    may_be_lost: bool,
}

#[derive(Debug)]
pub struct Oracle {
    fsync: Fsync,
    retains: bool,
    /// By room and id.
    bases: BTreeMap<(String, String), Base>,
    contents: BTreeMap<(String, String), String>,
    /// What edits change, and to what, by room and number.
    edits: BTreeMap<(String, u64), Vec<(u64, String)>>,
    /// By room and number.
    acked: BTreeMap<(String, u64), Acked>,
    /// By room: the highest number that anybody saw.
    heads: BTreeMap<String, u64>,
    /// Deletions that were asked for, by room and number.
    deletions: Vec<(String, u64)>,
    pub disk_failed: bool,
    pub unclean_ends: bool,
    pub is_stopping: bool,
    has_full: bool,
}

impl Oracle {
    pub fn new(plan: &Plan) -> Self {
        Self {
            fsync: plan.config.fsync,
            retains: plan.config.retain_messages.is_some(),
            bases: BTreeMap::new(),
            contents: BTreeMap::new(),
            edits: BTreeMap::new(),
            acked: BTreeMap::new(),
            heads: BTreeMap::new(),
            deletions: Vec::new(),
            disk_failed: false,
            unclean_ends: false,
            is_stopping: false,
            has_full: plan.mishaps.contains(&super::core::Mishap::Full),
        }
    }

    /// Whether messages that were seen may be gone.
    pub fn may_lose(&self) -> bool {
        self.fsync != Fsync::Always && self.unclean_ends
    }

    pub fn may_fail(&self) -> bool {
        self.disk_failed || self.has_full
    }

    pub fn head(&self, room: &str) -> u64 {
        self.heads.get(room).copied().unwrap_or(0)
    }

    pub fn own_messages(&self, room: &str, user: &str) -> Vec<u64> {
        let all = self.acked.range((room.to_owned(), 0)..=(room.to_owned(), u64::MAX)).rev().take(20);
        let own = all.filter(|(_, acked)| {
            acked.draft.target.is_none()
                && self.bases.get(&(room.to_owned(), acked.id.clone())).is_some_and(|base| base.user == user)
        });
        own.map(|((_, number), _)| *number).collect()
    }

    pub fn on_submit(&mut self, draft: &Draft) {
        if let Some(target) = draft.target.filter(|_| draft.content.is_empty()) {
            self.deletions.push((draft.room.clone(), target));
        }
    }

    pub fn check_reset(&self, why: &str) -> Result<(), String> {
        let is_due = self.may_lose() || (why == "expired" && self.retains);
        if is_due { Ok(()) } else { Err("a position that was good is not honoured".into()) }
    }

    /// Somebody is shown a message: the same that everybody is shown.
    pub fn see(&mut self, message: &Value) -> Result<(), String> {
        let (room, id) = (text(message, "room").to_owned(), text(message, "id").to_owned());
        let number = message["sequence"].as_u64().ok_or("no sequence")?;
        if !id.ends_with(&format!(":{number}")) {
            return Err("an id of another number".into());
        }
        let base = Base {
            user: text(message, "user").into(),
            timestamp: message["timestamp"].as_u64().ok_or("no timestamp")?,
            nonce: message["nonce"].as_str().map(str::to_owned),
            target: message["target"].as_u64(),
        };
        let key = (room.clone(), id);
        let known = self.bases.entry(key.clone()).or_insert_with(|| base.clone());
        if *known != base {
            return Err(format!("shown before as {known:?}"));
        }
        let head = self.heads.entry(room.clone()).or_insert(0);
        *head = (*head).max(number);
        self.check_content(&key, message)
    }

    fn check_content(&mut self, key: &(String, String), message: &Value) -> Result<(), String> {
        let content = text(message, "content");
        if let Some(by) = message["deleted"]["sequence"].as_u64() {
            // An edit is deleted with what it edits.
            let number = message["target"].as_u64().or(message["sequence"].as_u64()).unwrap_or_default();
            let is_asked = self.deletions.contains(&(key.0.clone(), number));
            return if content.is_empty() && is_asked { Ok(()) } else { Err(format!("deleted by {by}")) };
        }
        if let Some(by) = message["edited"]["sequence"].as_u64() {
            // A power cut may have let the number be given twice, in two epochs.
            let known = self.edits.get(&(key.0.clone(), by));
            let is_right = known.is_none_or(|known| {
                known.iter().any(|(target, text)| Some(*target) == message["sequence"].as_u64() && text == content)
            });
            return if is_right { Ok(()) } else { Err("not the text of the edit".into()) };
        }
        if let (Some(target), Some(by)) = (message["target"].as_u64(), message["sequence"].as_u64()) {
            let known = self.edits.entry((key.0.clone(), by)).or_default();
            if !known.iter().any(|(known, text)| *known == target && text == content) {
                known.push((target, content.to_owned()));
            }
        }
        let known = self.contents.entry(key.clone()).or_insert_with(|| content.to_owned());
        if known == content { Ok(()) } else { Err(format!("it was {known:?}")) }
    }

    pub fn on_acked(&mut self, user: &str, draft: &Draft, data: &Value, now_us: u64) -> Result<(), String> {
        let number = data["sequence"].as_u64().ok_or("no sequence")?;
        let id = text(data, "id").to_owned();
        let key = (draft.room.clone(), id.clone());
        let nonce = (draft.target.is_none() || !draft.content.is_empty()).then(|| draft.nonce.clone());
        if let Some(base) = self.bases.get(&key)
            && (base.user != user || base.nonce != nonce || base.target != draft.target)
        {
            return Err(format!("acked as what is {base:?}"));
        }
        let timestamp = data["timestamp"].as_u64().ok_or("no timestamp")?;
        let base = Base { user: user.to_owned(), timestamp, nonce, target: draft.target };
        self.bases.entry(key.clone()).or_insert(base);
        if data["duplicate"] != true {
            self.contents.entry(key).or_insert_with(|| draft.content.clone());
        }
        let acked = Acked { id, draft: draft.clone(), at_us: now_us, may_be_lost: false };
        match self.acked.insert((draft.room.clone(), number), acked) {
            Some(other) if !other.may_be_lost && other.draft.nonce != draft.nonce => {
                Err(format!("the number was acked before, to {:?}", other.draft))
            }
            _ => Ok(()),
        }
    }

    pub fn on_power_cut(&mut self, now_us: u64) {
        let safe_until_us = match self.fsync {
            Fsync::Always => u64::MAX,
            Fsync::Interval { ms } if !self.disk_failed => now_us.saturating_sub(ms * 1_000 + 15_000_000),
            _ => 0,
        };
        self.acked.values_mut().for_each(|acked| acked.may_be_lost |= acked.at_us >= safe_until_us);
    }

    /// What is kept in the end is what was promised, and what everybody holds.
    pub fn check_log(&self, auditor: &Client, others: &[&Client]) -> Result<(), String> {
        for (room, view) in &auditor.rooms {
            if !matches!(view.phase, Phase::Live { .. }) || !auditor.is_open() {
                return Err(format!("{room:?} could not be read to its end: {:?}", view.phase));
            }
            let floor = view.held.keys().next().copied().unwrap_or(1);
            if floor > 1 && !self.retains {
                return Err(format!("{room:?} begins with {floor}"));
            }
            self.check_acked(room, floor, auditor)?;
            self.check_kept(room, auditor)?;
            for other in others {
                let Some(theirs) = other.rooms.get(room).filter(|view| matches!(view.phase, Phase::Live { .. })) else {
                    continue;
                };
                // What a power cut has damaged is missing, and told as a gap; what is there is what was shown.
                let is_kept = |is: Option<&String>, id| is == Some(id) || (is.is_none() && self.may_lose());
                let wrong = theirs.held.range(floor..).find(|(number, id)| !is_kept(view.held.get(number), id));
                if let Some((number, id)) = wrong {
                    let is = view.held.get(number);
                    return Err(format!("{} holds {id} as {number} of {room:?}, which is {is:?}", other.name));
                }
            }
        }
        Ok(())
    }

    fn check_acked(&self, room: &str, floor: u64, auditor: &Client) -> Result<(), String> {
        let held = &auditor.rooms[room].held;
        let all = self.acked.range((room.to_owned(), floor)..=(room.to_owned(), u64::MAX));
        for ((_, number), acked) in all.filter(|(_, acked)| !acked.may_be_lost) {
            if held.get(number) != Some(&acked.id) {
                return Err(format!("{acked:?} was acked as {number} of {room:?}, which is {:?}", held.get(number)));
            }
        }
        Ok(())
    }

    fn check_kept(&self, room: &str, auditor: &Client) -> Result<(), String> {
        let mut used: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let mut last = 0;
        for (number, id) in &auditor.rooms[room].held {
            let base = &self.bases[&(room.to_owned(), id.clone())];
            if base.timestamp < last {
                return Err(format!("{id} of {room:?} is from before the one before"));
            }
            last = base.timestamp;
            if let Some(nonce) = &base.nonce
                && let Some(first) = used.insert((&base.user, nonce), *number)
            {
                return Err(format!("{nonce} is stored as {first} and as {number} in {room:?}"));
            }
        }
        Ok(())
    }
}
