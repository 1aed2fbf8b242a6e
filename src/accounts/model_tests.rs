//! Random changes, crashes and power cuts against a plain model of what was settled.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::testing::*;
use super::*;
use crate::log::sim::SimDisk;

#[derive(Clone, Debug)]
enum Step {
    Submit(Wish),
    /// Issue so many tokens to one account.
    Issue(u8, u8),
    Write,
    Sync,
    /// No more than so many bytes fit on the disk until the next write is over.
    FullDisk(u8),
    Pass(u16),
    Sweep,
    Restart,
    Crash,
    PowerCut(u64),
}

/// What is submitted; numbers choose among the few there are.
#[derive(Clone, Debug)]
enum Wish {
    Add(u8),
    Password(u8, u8),
    Role(u8, bool),
    Remove(u8),
    Revoke(u8),
    RevokeAll(u8),
    Keep(u8, u8),
    Drop(u8, u8),
    Direct(u8, u8),
    Ban(u8, Option<u16>),
    Unban(u8),
}

const NAMES: [&str; 8] = ["ann", "Ann", "bob", "carol", "\u{441}arol", "dave", "eve", "名前"];

fn wishes() -> impl Strategy<Value = Wish> {
    let n = || 0..8_u8;
    prop_oneof![
        4 => n().prop_map(Wish::Add),
        1 => (n(), any::<u8>()).prop_map(|(a, b)| Wish::Password(a, b)),
        1 => (n(), any::<bool>()).prop_map(|(a, b)| Wish::Role(a, b)),
        1 => n().prop_map(Wish::Remove),
        2 => any::<u8>().prop_map(Wish::Revoke),
        1 => n().prop_map(Wish::RevokeAll),
        3 => (n(), 0..4_u8).prop_map(|(a, b)| Wish::Keep(a, b)),
        2 => (n(), 0..4_u8).prop_map(|(a, b)| Wish::Drop(a, b)),
        2 => (n(), n()).prop_map(|(a, b)| Wish::Direct(a, b)),
        1 => (n(), prop::option::of(1..500_u16)).prop_map(|(a, b)| Wish::Ban(a, b)),
        1 => n().prop_map(Wish::Unban),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        16 => wishes().prop_map(Step::Submit),
        2 => (0..8_u8, 1..40_u8).prop_map(|(a, b)| Step::Issue(a, b)),
        5 => Just(Step::Write),
        5 => Just(Step::Sync),
        1 => any::<u8>().prop_map(Step::FullDisk),
        1 => (0..300_u16).prop_map(Step::Pass),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        1 => any::<u64>().prop_map(Step::PowerCut),
    ];
    prop::collection::vec(step, 1..80)
}

#[derive(Clone, Default)]
struct Model {
    /// Name, role, password, rooms.
    accounts: BTreeMap<u32, (String, Role, PasswordHash, BTreeSet<String>)>,
    pairs: BTreeSet<(u32, u32)>,
    /// Owner and end.
    tokens: BTreeMap<u64, (u32, u64)>,
    bans: BTreeMap<String, Option<u64>>,
}

impl Model {
    /// Does what the change says; gives the tokens that ended.
    fn apply(&mut self, change: &Change) -> Vec<u64> {
        let before: Vec<u64> = self.tokens.keys().copied().collect();
        match change.clone() {
            Change::Added { id, name, role, password, .. } => {
                assert!(self.accounts.insert(id.0, (name, role, password, BTreeSet::new())).is_none());
            }
            Change::PasswordSet { account, password, keep } => {
                self.account(account).2 = password;
                self.tokens.retain(|id, (owner, _)| *owner != account.0 || Some(TokenId(*id)) == keep);
            }
            Change::RoleSet { account, role } => self.account(account).1 = role,
            Change::Removed { account } => {
                assert!(self.accounts.remove(&account.0).is_some());
                self.pairs.retain(|(one, other)| *one != account.0 && *other != account.0);
                self.tokens.retain(|_, (owner, _)| *owner != account.0);
            }
            Change::TokenIssued { id, account, expires_ms, replaces, .. } => {
                self.account(account);
                self.tokens.insert(id.0, (account.0, expires_ms));
                self.tokens.retain(|id, _| replaces.is_none_or(|old| old.0 != *id));
            }
            Change::TokenRevoked { token } => drop(self.tokens.remove(&token.0)),
            Change::TokensRevoked { account } => self.tokens.retain(|_, (owner, _)| *owner != account.0),
            Change::RoomKept { account, room } => assert!(self.account(account).3.insert(room)),
            Change::RoomDropped { account, room } => assert!(self.account(account).3.remove(&room)),
            Change::DirectBegun { account, with } => {
                assert!(self.pairs.insert((account.0.min(with.0), account.0.max(with.0))));
            }
            Change::Banned { target, until_ms, .. } => drop(self.bans.insert(target.to_string(), until_ms)),
            Change::Unbanned { target } => drop(self.bans.remove(&target.to_string())),
        }
        before.into_iter().filter(|id| !self.tokens.contains_key(id)).collect()
    }

    fn account(&mut self, id: AccountId) -> &mut (String, Role, PasswordHash, BTreeSet<String>) {
        self.accounts.get_mut(&id.0).expect("changes are of accounts that are there")
    }

    fn sweep(&mut self, now_ms: u64) -> Vec<u64> {
        let over: Vec<u64> =
            self.tokens.iter().filter(|(_, (_, expires_ms))| *expires_ms <= now_ms).map(|(id, _)| *id).collect();
        self.tokens.retain(|id, _| !over.contains(id));
        over
    }

    /// Everything in it as lines.
    fn dump(&self, now_ms: u64) -> Vec<String> {
        let accounts = self.accounts.iter().map(|(id, (name, role, password, rooms))| {
            let peers: BTreeSet<u32> = self
                .pairs
                .iter()
                .filter_map(|&(one, other)| match *id {
                    id if id == one => Some(other),
                    id if id == other => Some(one),
                    _ => None,
                })
                .collect();
            format!("{id} {name} {role:?} {} {rooms:?} {peers:?}", password.as_str())
        });
        let tokens = self.tokens.iter().map(|(id, (owner, expires_ms))| format!("token {id} {owner} {expires_ms}"));
        let bans = self.bans.iter().filter(|(_, until_ms)| until_ms.is_none_or(|until_ms| until_ms > now_ms));
        let mut lines: Vec<String> =
            accounts.chain(tokens).chain(bans.map(|(target, until_ms)| format!("ban {target} {until_ms:?}"))).collect();
        lines.sort();
        lines
    }
}

fn dump(tables: &Tables, now_ms: u64) -> Vec<String> {
    let accounts = tables.directory.iter().map(|account| {
        let Account { id, name, role, password, rooms, peers, .. } = account;
        assert_eq!(tables.directory.by_name(&name.as_str().to_uppercase()), Some(account));
        assert!(rooms.is_sorted() && peers.is_sorted());
        let rooms: BTreeSet<&str> = rooms.iter().map(|room| &**room).collect();
        let peers: BTreeSet<u32> = peers.iter().map(|peer| peer.0).collect();
        format!("{} {} {role:?} {} {rooms:?} {peers:?}", id.0, name.as_str(), password.as_str())
    });
    let tokens =
        tables.tokens.iter().map(|(id, token)| format!("token {} {} {}", id.0, token.account.0, token.expires_ms));
    let bans = tables.bans.iter(at(now_ms)).map(|ban| format!("ban {} {:?}", ban.target, ban.until_ms));
    let mut lines: Vec<String> = accounts.chain(tokens).chain(bans).collect();
    lines.sort();
    lines
}

struct World {
    disk: SimDisk,
    accounts: Option<Ledger>,
    model: Model,
    /// Tickets of changes that wait.
    waiting: BTreeSet<u32>,
    tickets: u32,
    tokens_made: u32,
    run: u64,
    now_ms: u64,
}

impl World {
    fn new() -> World {
        let disk = disk();
        let accounts = Some(open(&disk, 0, at(0)));
        let (model, run) = (Model::default(), 0);
        World { disk, accounts, model, waiting: BTreeSet::new(), tickets: 0, tokens_made: 0, run, now_ms: 0 }
    }

    fn step(&mut self, step: &Step) {
        let now = at(self.now_ms);
        let mut events = Vec::new();
        let accounts = self.accounts.as_mut().expect("open between steps");
        match step {
            Step::Submit(wish) => {
                let change = self.change(wish);
                self.submit(change);
            }
            Step::Issue(n, count) => {
                for _ in 0..*count {
                    let (account, expires_ms) = (self.nth(*n), self.now_ms + 1 + u64::from(*n) * 50);
                    self.tokens_made += 1;
                    let hash = token(self.tokens_made).hash();
                    self.submit(Change::token_issued(account, hash, expires_ms));
                }
            }
            Step::Write => accounts.write(now, &mut events),
            Step::Sync => {
                if let Some(batch) = accounts.next_sync(now) {
                    accounts.synced(batch.run(), now, &mut events);
                }
            }
            Step::FullDisk(bytes) => {
                self.disk.set_capacity(Some(self.disk.used() + u64::from(*bytes)));
                accounts.write(now, &mut events);
                self.disk.set_capacity(None);
            }
            Step::Pass(ms) => self.now_ms += u64::from(*ms),
            Step::Sweep => {
                let over: BTreeSet<u64> = accounts.expired(now).iter().map(|id| id.0).collect();
                assert_eq!(over, self.model.sweep(self.now_ms).into_iter().collect());
            }
            Step::Restart => {
                events = commit(accounts, now);
                self.take(std::mem::take(&mut events));
                self.accounts.as_mut().expect("open").shutdown(now).expect("a clean end");
                self.end(|_| ());
            }
            Step::Crash => self.end(SimDisk::crash),
            Step::PowerCut(seed) => self.end(|disk| disk.power_cut(*seed)),
        }
        self.take(events);
        let tables = self.accounts.as_ref().expect("open").tables();
        assert_eq!(dump(tables, self.now_ms), self.model.dump(self.now_ms));
    }

    fn submit(&mut self, change: Change) {
        let accounts = self.accounts.as_mut().expect("open between steps");
        if accounts.submit(change, self.tickets, at(self.now_ms)).is_ok() {
            self.waiting.insert(self.tickets);
            self.tickets += 1;
        }
        assert_eq!(accounts.pending(), self.waiting.len());
    }

    fn take(&mut self, events: Vec<AccountEvent<u32>>) {
        for event in events {
            let (AccountEvent::Settled { ticket, .. } | AccountEvent::Failed { ticket, .. }) = &event;
            let is_settled = matches!(event, AccountEvent::Settled { .. });
            assert!(!is_settled || self.waiting.first() == Some(ticket), "settled in order");
            assert!(self.waiting.remove(ticket), "each ticket comes back once");
            if let AccountEvent::Settled { change, ended, .. } = event {
                let ended: Vec<u64> = ended.iter().map(|id| id.0).collect();
                assert_eq!(ended, self.model.apply(&change), "{change:?}");
            }
        }
    }

    /// Ends the process and starts it again: all that was settled is there, and of what waited perhaps a beginning.
    fn end(&mut self, how: impl Fn(&SimDisk)) {
        let waited = self.accounts.take().expect("open between steps").waiting();
        how(&self.disk);
        self.run += 10;
        let accounts = open(&self.disk, self.run, at(self.now_ms));
        let found = dump(accounts.tables(), self.now_ms);
        let mut possible = self.model.clone();
        let mut waited = waited.iter();
        loop {
            let mut swept = possible.clone();
            swept.sweep(self.now_ms);
            if swept.dump(self.now_ms) == found {
                self.model = swept;
                break;
            }
            let next = waited.next();
            possible.apply(next.unwrap_or_else(|| panic!("{found:?} is not {:?}", self.model.dump(self.now_ms))));
        }
        self.accounts = Some(accounts);
        self.waiting.clear();
    }

    /// One of the accounts there are.
    fn nth(&self, n: u8) -> AccountId {
        let directory = &self.accounts.as_ref().expect("open").tables().directory;
        directory.iter().nth(usize::from(n)).map_or(AccountId(u32::from(n)), |account| account.id)
    }

    fn change(&self, wish: &Wish) -> Change {
        let room = |n: u8| format!("room {n}");
        let token = |n: u8| TokenId(u64::from(self.tokens_made).saturating_sub(u64::from(n)));
        let target = |n: u8| BanTarget::name(NAMES[usize::from(n)]);
        match *wish {
            Wish::Add(n) => added(NAMES[usize::from(n)]),
            Wish::Password(n, keep) => {
                let password = PasswordHash::new(format!("{}", self.now_ms));
                Change::PasswordSet { account: self.nth(n), password, keep: Some(token(keep)) }
            }
            Wish::Role(n, is_admin) => {
                Change::RoleSet { account: self.nth(n), role: if is_admin { Role::Admin } else { Role::Member } }
            }
            Wish::Remove(n) => Change::Removed { account: self.nth(n) },
            Wish::Revoke(n) => Change::TokenRevoked { token: token(n) },
            Wish::RevokeAll(n) => Change::TokensRevoked { account: self.nth(n) },
            Wish::Keep(n, of) => Change::RoomKept { account: self.nth(n), room: room(of) },
            Wish::Drop(n, of) => Change::RoomDropped { account: self.nth(n), room: room(of) },
            Wish::Direct(n, with) => Change::DirectBegun { account: self.nth(n), with: self.nth(with) },
            Wish::Ban(n, ms) => {
                let until_ms = ms.map(|ms| self.now_ms + u64::from(ms));
                Change::Banned { target: target(n), until_ms, reason: String::new(), by: String::new() }
            }
            Wish::Unban(n) => Change::Unbanned { target: target(n) },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_settled_is_there_after_whatever_end(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
    }
}
