//! Edits and deletions: the record that takes a changed message's place, and what readers are shown for it.
//!
//! Owns: the JSON of a changed record, and its expansion to a message. Must never know: where records are, who may change
//! what.
//!
//! A changed record is shorter than any message, so that it fits into the place of each: `{"changed":57,"id":"<epoch>",
//! "user":…,"timestamp":…,"nonce":…}` points to the event that has the present text; one of a deletion says so, and has none.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::event::{MESSAGE_PREFIX, MESSAGE_SUFFIX, MessageIdentity, to_json};

/// How a changed record begins.
const CHANGED_PREFIX: &[u8] = br#"{"changed":"#;

/// What an event does to an earlier message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It has another text.
    Edit,
    /// Nobody can read it any more.
    Delete,
}

/// What makes a stored message an event that changes an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// The message that is changed.
    pub target: u64,
    /// The edit of the same message before this one.
    pub previous: Option<u64>,
}

/// Whether a record's payload is that of a changed message.
#[must_use]
pub fn is_changed(payload: &[u8]) -> bool {
    payload.starts_with(CHANGED_PREFIX)
}

/// What remains of a message, or of an edit, that is changed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Changed<'a> {
    /// The event that changed it, the last of them.
    #[serde(rename = "changed")]
    pub by: u64,
    /// Whether that was a deletion.
    #[serde(default)]
    pub deleted: bool,
    /// The epoch of its `id`.
    #[serde(borrow, rename = "id")]
    pub epoch: Cow<'a, str>,
    /// The author.
    #[serde(borrow)]
    pub user: Cow<'a, str>,
    /// Unix milliseconds.
    pub timestamp: u64,
    /// Of an edit: that it is one.
    #[serde(default)]
    pub kind: Option<ChangeKind>,
    /// Of an edit: what it changed.
    #[serde(default)]
    pub target: Option<u64>,
    /// The client's idempotency key.
    #[serde(borrow, default)]
    pub nonce: Option<Cow<'a, str>>,
}

impl<'a> Changed<'a> {
    /// What remains of a record: of one that is no message of this protocol, nothing.
    #[must_use]
    pub fn of(payload: &'a [u8], by: u64, deleted: bool) -> Option<Self> {
        if is_changed(payload) {
            return Some(Self { by, deleted, ..Self::parse(payload)? });
        }
        #[derive(Deserialize)]
        struct Original<'a> {
            #[serde(borrow)]
            id: Cow<'a, str>,
        }
        let object = super::recorded::object(payload)?;
        let Original { id } = serde_json::from_slice(object).ok()?;
        let epoch = match id {
            Cow::Borrowed(id) => Cow::Borrowed(id.split_once(':')?.0),
            Cow::Owned(id) => Cow::Owned(id.split_once(':')?.0.to_owned()),
        };
        let super::recorded::Message { user, timestamp, nonce, kind, target, .. } = super::recorded::parse(payload)?;
        Some(Self { by, deleted, epoch, user, timestamp, kind, target, nonce })
    }

    /// Reads a changed record's payload; `None` if it is none.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        if is_changed(payload) { serde_json::from_slice(payload).ok() } else { None }
    }

    /// Appends the record's payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(CHANGED_PREFIX);
        to_json(&self.by, out);
        if self.deleted {
            out.extend_from_slice(br#","deleted":true"#);
        }
        field("id", &self.epoch, out);
        field("user", &self.user, out);
        field("timestamp", &self.timestamp, out);
        self.encode_rest(out);
        out.push(b'}');
    }

    fn encode_rest(&self, out: &mut Vec<u8>) {
        if let (Some(kind), Some(target)) = (self.kind, self.target) {
            field("kind", &kind, out);
            field("target", &target, out);
        }
        if let Some(nonce) = &self.nonce {
            field("nonce", nonce, out);
        }
    }

    /// The event that has the present text of the message `sequence`, from the payload of the record that is said to be
    /// it; `None` if that is another, or was changed itself, and for a deletion.
    #[must_use]
    pub fn present<'p>(&self, sequence: u64, payload: &'p [u8]) -> Option<super::recorded::Message<'p>> {
        let event = super::recorded::parse(payload).filter(|_| !self.deleted);
        event.filter(|event| event.target == Some(sequence) && event.changed.is_none())
    }

    /// Appends what readers are shown in its place: a record's payload, as of a message. `present` has the text that the
    /// event gives it; none if that cannot be read, or of a deletion.
    pub fn expand(&self, room: &str, sequence: u64, present: Option<&super::recorded::Message<'_>>, out: &mut Vec<u8>) {
        out.extend_from_slice(MESSAGE_PREFIX);
        out.extend_from_slice(br#"{"id":"#);
        to_json(&MessageIdentity { epoch: &self.epoch, sequence }, out);
        field("room", room, out);
        field("user", &self.user, out);
        field("content", present.filter(|_| !self.deleted).map_or("", |message| &message.content), out);
        field("sequence", &sequence, out);
        field("timestamp", &self.timestamp, out);
        self.encode_rest(out);
        out.extend_from_slice(if self.deleted { br#","deleted":{"sequence":"# } else { br#","edited":{"sequence":"# });
        to_json(&self.by, out);
        if let Some(present) = present.filter(|_| !self.deleted) {
            field("timestamp", &present.timestamp, out);
        }
        out.extend_from_slice(b"}}");
        out.extend_from_slice(MESSAGE_SUFFIX);
    }
}

fn field<T: Serialize + ?Sized>(key: &str, value: &T, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    to_json(value, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{MessageIdentity, StoredMessage, encode_message, recorded};
    use super::*;

    const LARGEST: u64 = 9_999_999_999_999_999;

    fn stored(user: &str, content: &str, sequence: u64, nonce: Option<&str>, change: Option<Change>) -> Vec<u8> {
        let (id, timestamp) = (MessageIdentity { epoch: "9c1f04e2b7a65d38", sequence }, 1_790_000_000_000);
        let mut payload = Vec::new();
        let message = StoredMessage { id, room: "r", user, content, sequence, timestamp, nonce, change };
        encode_message(&message, &mut payload);
        payload
    }

    fn remains(payload: &[u8], by: u64, deleted: bool) -> Vec<u8> {
        let mut out = Vec::new();
        Changed::of(payload, by, deleted).expect("a message").encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn what_remains_fits_into_the_place_of_what_was(
            user in "\\PC{1,32}|[\"\\\\]{32}",
            content in "\\PC{1}|.{1,40}",
            sequence in prop_oneof![1..20_u64, Just(LARGEST - 1)],
            distance in prop_oneof![1..9_u64, Just(LARGEST)],
            nonce in proptest::option::of("\\PC{1,20}|[\\x01-\\x1f]{20}"),
            is_edit in any::<bool>(),
            deleted in any::<bool>(),
        ) {
            let change = is_edit.then_some(Change { kind: ChangeKind::Edit, target: sequence / 2 + 1, previous: None });
            let payload = stored(&user, &content, sequence, nonce.as_deref(), change);
            let by = (sequence + distance).min(LARGEST);
            let once = remains(&payload, by, deleted);
            prop_assert!(once.len() <= payload.len(), "{} > {}", once.len(), payload.len());
            let again = remains(&once, LARGEST, true);
            prop_assert!(again.len() <= payload.len(), "{} > {}", again.len(), payload.len());
            // Filled up with spaces, as it stands in the log.
            let filled = [&once[..], b"   "].concat();
            let (was, is) = (recorded::parse(&payload).unwrap(), recorded::parse(&filled).unwrap());
            prop_assert_eq!((was.user, was.timestamp, was.nonce), (is.user, is.timestamp, is.nonce));
            prop_assert_eq!((was.kind, was.target, ""), (is.kind, is.target, &*is.content));
            prop_assert_eq!(Changed::parse(&filled).map(|changed| (changed.by, changed.deleted)), Some((by, deleted)));
        }
    }

    #[test]
    fn an_edited_message_has_the_present_text_and_a_deleted_one_none() {
        let original = stored("alice", "old", 42, Some("a3"), None);
        let change = Some(Change { kind: ChangeKind::Edit, target: 42, previous: Some(50) });
        let edit = stored("alice", "new", 57, None, change);
        assert_eq!(
            edit,
            br#"{"type":"message","data":{"id":"9c1f04e2b7a65d38:57","room":"r","user":"alice","content":"new","sequence":57,"timestamp":1790000000000,"kind":"edit","target":42,"previous":50}}"#
        );
        let expanded = |record: &[u8], sequence, present: Option<&[u8]>| -> Value {
            let mut out = Vec::new();
            let present = present.map(|payload| recorded::parse(payload).unwrap());
            Changed::parse(record).unwrap().expand("r", sequence, present.as_ref(), &mut out);
            serde_json::from_slice(&out).unwrap()
        };
        let record = remains(&original, 57, false);
        assert_eq!(
            record,
            br#"{"changed":57,"id":"9c1f04e2b7a65d38","user":"alice","timestamp":1790000000000,"nonce":"a3"}"#
        );
        let data = json!({"id": "9c1f04e2b7a65d38:42", "room": "r", "user": "alice", "content": "new", "sequence": 42,
            "timestamp": 1_790_000_000_000_u64, "nonce": "a3",
            "edited": {"sequence": 57, "timestamp": 1_790_000_000_000_u64}});
        assert_eq!(expanded(&record, 42, Some(&edit)), json!({"type": "message", "data": data}));
        let lost = expanded(&record, 42, None);
        assert_eq!((&lost["data"]["content"], &lost["data"]["edited"]), (&json!(""), &json!({"sequence": 57})));
        let gone = expanded(&remains(&edit, 80, true), 57, None);
        assert_eq!((&gone["data"]["content"], &gone["data"]["deleted"]), (&json!(""), &json!({"sequence": 80})));
        assert_eq!((&gone["data"]["kind"], &gone["data"]["target"]), (&json!("edit"), &json!(42)));
    }

    #[test]
    fn only_an_unchanged_edit_of_a_message_has_its_present_text() {
        let edit_of = |target, sequence| {
            stored("alice", "new", sequence, None, Some(Change { kind: ChangeKind::Edit, target, previous: None }))
        };
        let original = stored("alice", "old", 42, None, None);
        let text = |deleted, payload: &[u8]| {
            let changed = Changed::of(&original, 57, deleted).expect("a message");
            changed.present(42, payload).map(|message| message.content.into_owned())
        };
        let edit = edit_of(42, 57);
        assert_eq!(text(false, &edit).as_deref(), Some("new"));
        assert_eq!(text(true, &edit), None, "deleted");
        assert_eq!(text(false, &edit_of(41, 57)), None, "of another message");
        assert_eq!(text(false, &original), None, "no edit");
        assert_eq!(text(false, &remains(&edit, 60, false)), None, "changed itself");
        assert_eq!(text(false, b"{}"), None, "no message");
    }

    #[test]
    fn what_remains_is_told_from_a_message_by_how_it_begins() {
        let original = stored("alice", "old", 42, Some("n"), None);
        let record = remains(&original, 57, true);
        assert_eq!((is_changed(&original), is_changed(&record)), (false, true));
        assert_eq!(Changed::parse(&original), None);
        let changed = Changed::parse(&record).expect("a changed message");
        assert_eq!((changed.by, changed.deleted, &*changed.epoch), (57, true, "9c1f04e2b7a65d38"));
        assert_eq!(
            (&*changed.user, changed.timestamp, changed.nonce.as_deref()),
            ("alice", 1_790_000_000_000, Some("n"))
        );
        assert_eq!(Changed::of(b"no message", 57, true), None);
        let again = Changed::of(&record, 80, false).expect("a changed message");
        assert_eq!((again.by, again.deleted, &*again.user, again.nonce.as_deref()), (80, false, "alice", Some("n")));
    }
}
