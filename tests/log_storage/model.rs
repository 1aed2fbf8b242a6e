//! Random histories against a plain vector.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::support::*;
use roomlog::log::sim::SimDisk;
use roomlog::log::{LogId, Options, Store, SyncPolicy};

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    /// Changes a visible record: a share of the head.
    Amend(u64),
    Write,
    Sync,
    Read(u64),
    CloseRoom,
    Restart,
    Crash,
    PowerCut(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..6usize).prop_map(Step::Append),
        2 => any::<u64>().prop_map(Step::Amend),
        4 => Just(Step::Write),
        4 => Just(Step::Sync),
        3 => any::<u64>().prop_map(Step::Read),
        1 => Just(Step::CloseRoom),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        1 => any::<u64>().prop_map(Step::PowerCut),
    ];
    prop::collection::vec(step, 1..60)
}

fn policies() -> impl Strategy<Value = SyncPolicy> {
    prop_oneof![Just(SyncPolicy::Always), Just(SyncPolicy::Interval { ms: 10 }), Just(SyncPolicy::Never)]
}

/// The store under test, and what it must hold.
struct World {
    disk: SimDisk,
    policy: SyncPolicy,
    store: Option<Store<SimDisk>>,
    id: LogId,
    /// Lives of all records appended and not refused, by sequence - 1.
    model: Vec<u64>,
    /// By the records that change others: which.
    changes: BTreeMap<u64, Vec<u64>>,
    life: u64,
}

fn replacement(by: u64) -> Vec<u8> {
    format!("{{{by}}}").into_bytes()
}

impl World {
    fn new(policy: SyncPolicy) -> World {
        let disk = SimDisk::new();
        let (store, id) = start(&disk, policy, 1);
        World { disk, policy, store: Some(store), id, model: Vec::new(), changes: BTreeMap::new(), life: 1 }
    }

    fn store(&mut self) -> &mut Store<SimDisk> {
        self.store.as_mut().expect("a store is open between steps")
    }

    fn step(&mut self, step: &Step) {
        let (id, life) = (self.id, self.life);
        match *step {
            Step::Append(count) => {
                append_many(self.store(), id, life, count);
                self.model.extend(std::iter::repeat_n(life, count));
            }
            Step::Amend(share) => {
                let position = self.store().position(id);
                if position.head > 0 {
                    let (by, target) = (position.next, share % position.head + 1);
                    let mut targets = vec![target];
                    targets.extend(self.changes.get(&target).into_iter().flatten());
                    let (said, replacement) = (payload(life, by), replacement(by));
                    let amendments: Vec<_> = targets.iter().map(|&target| (target, &replacement[..])).collect();
                    let result = self.store().append_amending(id, by, &said, &amendments);
                    // What a power cut has torn cannot be changed.
                    if result.is_ok() {
                        self.model.push(life);
                        self.changes.insert(by, targets);
                    }
                }
            }
            Step::Write => self.store().write_dirty(at(0), &mut Vec::new()),
            Step::Sync => {
                if let Some(batch) = self.store().next_sync(at(u64::MAX)) {
                    let outcome = batch.run();
                    self.store().synced(outcome, at(0), &mut Vec::new());
                }
            }
            Step::Read(from) => self.read(from),
            Step::CloseRoom => {
                commit(self.store());
                self.store().close_room(id);
                self.id = self.store().open_room("r", 0xdead, at(0)).unwrap();
            }
            Step::Restart => {
                self.store().shutdown(at(0)).unwrap();
                self.end(|_| ());
            }
            Step::Crash => self.end(SimDisk::crash),
            Step::PowerCut(seed) => self.end(|disk| disk.power_cut(seed)),
        }
        let id = self.id;
        assert_eq!(self.store().position(id).next, self.model.len() as u64 + 1);
    }

    fn read(&mut self, from: u64) {
        let id = self.id;
        let head = self.store().position(id).head;
        let mut buffer = roomlog::log::ReadBuffer::default();
        let from = from % (head + 2);
        self.store().read(id, from, 7, 1000, &mut buffer).unwrap();
        for (n, bytes) in buffer.records() {
            assert!(n >= from && n <= head && self.is_right(n, bytes, |by| by <= head));
        }
        assert!(buffer.records().len() > 0 || buffer.gap.is_some() || from > head || head == 0);
    }

    /// Whether a record is what was stored, or what the last of the changes that count made of it.
    fn is_right(&self, sequence: u64, bytes: &[u8], counts: impl Fn(u64) -> bool) -> bool {
        let by = self.changes.iter().rev().find(|&(&by, targets)| targets.contains(&sequence) && counts(by));
        match by {
            Some((&by, _)) => bytes.trim_ascii_end() == replacement(by),
            None => bytes == payload(self.model[sequence as usize - 1], sequence),
        }
    }

    /// Ends the process and starts it again; the model forgets what was not visible and is not there.
    fn end(&mut self, how: impl Fn(&SimDisk)) {
        let id = self.id;
        let before = self.store().position(id);
        self.store = None;
        how(&self.disk);
        self.life += 1;
        let (store, id) = start(&self.disk, self.policy, self.life);
        (self.store, self.id) = (Some(store), id);
        let after = self.store().position(id);
        assert!(after.head < before.next);
        let is_same = after.epoch == before.epoch;
        assert!(after.head >= before.head || !is_same, "what was visible is there or the epoch is another");
        if self.policy == SyncPolicy::Always && before.head > 0 {
            assert!(is_same);
        }
        self.model.truncate(after.head as usize);
        self.changes.retain(|&by, _| by <= after.head);
        let (records, gaps) = read_all(self.store(), id);
        let lost: u64 = gaps.iter().map(|(from, to)| to - from + 1).sum();
        assert!(lost == 0 || self.policy != SyncPolicy::Always);
        assert_eq!(records.len() as u64 + lost, after.head);
        // A record that is lost changes nothing.
        let is_there = |by| records.iter().any(|(n, _)| *n == by);
        self.changes.retain(|&by, _| is_there(by));
        assert!(records.iter().all(|(n, bytes)| self.is_right(*n, bytes, is_there)));
        assert!(self.changes.values().flatten().all(|&target| is_there(target)), "what is changed is not lost");
    }
}

fn start(disk: &SimDisk, policy: SyncPolicy, life: u64) -> (Store<SimDisk>, LogId) {
    let options = Options { segment_bytes: 3000, ..options(policy, life) };
    let mut store = Store::open(disk.clone(), options).unwrap();
    let id = store.open_room("r", life, at(0)).unwrap();
    (store, id)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn store_agrees_with_a_plain_vector(policy in policies(), steps in steps()) {
        let mut world = World::new(policy);
        for step in &steps {
            world.step(step);
        }
    }
}
