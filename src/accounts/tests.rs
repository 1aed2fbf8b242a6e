//! The ledger on a simulated disk: what is taken, what is settled, what is there after a restart.

use std::path::{Path, PathBuf};

use super::testing::*;
use super::*;
use crate::clock::Now;
use crate::limits;
use crate::log::sim::{Fault, SimDisk};

fn kept(account: AccountId, room: &str) -> Change {
    Change::RoomKept { account, room: room.to_owned() }
}

/// Submits, and expects it to be settled.
fn settle(accounts: &mut Ledger, change: Change) -> (Change, Vec<TokenId>) {
    accounts.submit(change, 7, at(0)).expect("it makes sense");
    match commit(accounts, at(0)).pop() {
        Some(AccountEvent::Settled { ticket: 7, change, ended }) => (change, ended),
        other => panic!("{other:?}"),
    }
}

fn registered(accounts: &mut Ledger, name: &str) -> AccountId {
    settle(accounts, added(name)).0.account().expect("a change of an account")
}

fn issued(accounts: &mut Ledger, account: AccountId, n: u32, expires_ms: u64) -> TokenId {
    match settle(accounts, Change::token_issued(account, token(n).hash(), expires_ms)) {
        (Change::TokenIssued { id, .. }, _) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_without_accounts_creates_and_syncs_nothing() {
    let disk = disk();
    let calls = disk.calls();
    let mut accounts = open(&disk, 1, at(0));
    let mut events = Vec::new();
    accounts.write(at(0), &mut events);
    assert!(accounts.next_sync(at(0)).is_none() && events.is_empty() && accounts.next_expiry_ms(at(0)).is_none());
    let unknown = Change::Removed { account: AccountId(1) };
    assert_eq!(accounts.submit(unknown, 0, at(0)), Err(SubmitError::UnknownAccount));
    accounts.shutdown(at(0)).expect("there is nothing to end");
    assert_eq!((disk.calls() - calls, disk.files()), (0, Vec::<PathBuf>::new()));
}

#[test]
fn a_change_is_in_the_tables_only_when_it_is_on_the_disk() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    let mut events = Vec::new();
    accounts.submit(added("Alice"), 1, at(0)).expect("a new name");
    accounts.write(at(0), &mut events);
    let batch = accounts.next_sync(at(0)).expect("something was written");
    assert!(events.is_empty() && accounts.tables().directory.is_empty());
    disk.fork().power_cut(1);
    accounts.synced(batch.run(), at(0), &mut events);
    let alice = accounts.tables().directory.by_name("ALICE").expect("settled");
    assert_eq!((alice.name.as_str(), alice.id, alice.role), ("Alice", AccountId(1), Role::Member));
    assert!(matches!(
        &events[..],
        [AccountEvent::Settled { ticket: 1, change: Change::Added { id: AccountId(1), .. }, .. }]
    ));
    drop(accounts);
    disk.power_cut(2);
    assert_eq!(open(&disk, 2, at(0)).tables().directory.len(), 1);
}

#[test]
fn a_name_is_reserved_while_its_account_waits_and_free_again_when_that_fails() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    registered(&mut accounts, "first");
    accounts.submit(added("alice"), 1, at(0)).expect("a new name");
    assert_eq!(accounts.submit(added("ＡＬＩＣＥ"), 2, at(0)), Err(SubmitError::NameTaken));
    assert_eq!(accounts.submit(added("\u{430}lice"), 3, at(0)), Err(SubmitError::LookAlike("alice".into())));
    assert!(matches!(accounts.submit(added("system"), 3, at(0)), Err(SubmitError::Invalid(_))));
    disk.set_capacity(Some(disk.used() + 10));
    let failed = commit(&mut accounts, at(0));
    assert!(matches!(&failed[..], [AccountEvent::Failed { ticket: 1, .. }]), "{failed:?}");
    disk.set_capacity(None);
    assert_eq!(registered(&mut accounts, "ALICE"), AccountId(3), "its number was given and is not given again");
    assert_eq!(accounts.submit(added("alice"), 2, at(0)), Err(SubmitError::NameTaken));
    assert_eq!(accounts.submit(added("\u{430}lice"), 3, at(0)), Err(SubmitError::LookAlike("ALICE".into())));
}

#[test]
fn after_a_failed_sync_nothing_is_taken_until_a_restart() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    let alice = registered(&mut accounts, "alice");
    accounts.submit(kept(alice, "lost"), 1, at(0)).expect("it makes sense");
    // The write works, the sync does not.
    disk.fail_at(disk.calls() + 1, Fault::Error(std::io::ErrorKind::Other));
    let events = commit(&mut accounts, at(0));
    assert!(matches!(&events[..], [AccountEvent::Failed { ticket: 1, .. }]), "{events:?}");
    assert!(accounts.is_read_only());
    assert!(matches!(accounts.submit(kept(alice, "later"), 2, at(0)), Err(SubmitError::Storage(_))));
    assert!(accounts.shutdown(at(0)).is_err());
    drop(accounts);
    disk.crash();
    let mut accounts = open(&disk, 2, at(0));
    assert_eq!(accounts.tables().directory.get(alice).map(|alice| alice.rooms.len()), Some(0));
    settle(&mut accounts, kept(alice, "later"));
}

#[test]
fn a_first_account_that_fails_at_any_call_can_be_made_later() {
    let rehearsal = disk();
    let first = rehearsal.calls();
    registered(&mut open(&rehearsal, 1, at(0)), "alice");
    let end = rehearsal.calls();
    assert!(end - first > 10, "{} calls", end - first);
    for call in first..end {
        for kind in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::PermissionDenied] {
            let disk = disk();
            let mut accounts = open(&disk, 1, at(0));
            disk.fail_at(call, Fault::Error(kind));
            let failed = match accounts.submit(added("alice"), 1, at(0)) {
                Ok(()) => matches!(commit(&mut accounts, at(0))[..], [AccountEvent::Failed { .. }]),
                Err(error) => matches!(error, SubmitError::Storage(_)),
            };
            // A few calls do nothing that counts.
            assert_eq!(failed, accounts.tables().directory.is_empty(), "call {call}");
            if accounts.is_read_only() {
                drop(accounts);
                disk.crash();
                accounts = open(&disk, 2, at(0));
            }
            if failed {
                registered(&mut accounts, "alice");
            }
            drop(accounts);
            disk.power_cut(call);
            assert_eq!(open(&disk, 3, at(0)).tables().directory.len(), 1, "call {call}");
        }
    }
}

#[test]
fn a_copy_of_the_folder_is_as_good() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    registered(&mut accounts, "alice");
    let copy = disk.copy();
    let mut restored = open(&copy, 2, at(0));
    assert_eq!(restored.tables(), accounts.tables());
    registered(&mut restored, "bob");
    drop(restored);
    copy.power_cut(1);
    assert_eq!(open(&copy, 3, at(0)).tables().directory.len(), 2);
}

#[test]
fn numbers_are_never_given_twice() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    let one = registered(&mut accounts, "one");
    let two = registered(&mut accounts, "two");
    settle(&mut accounts, Change::Removed { account: two });
    drop(accounts);
    disk.crash();
    let mut accounts = open(&disk, 2, at(0));
    assert_eq!((one, two, registered(&mut accounts, "two")), (AccountId(1), AccountId(2), AccountId(3)));
    assert_eq!(AccountId(0x2a).to_string(), "2a");
}

#[test]
fn what_waits_counts_as_done_for_what_comes_after() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    let (one, two) = (registered(&mut accounts, "one"), registered(&mut accounts, "two"));
    let dropped = |account, room: &str| Change::RoomDropped { account, room: room.to_owned() };
    let ban = |until_ms| Change::Banned {
        target: BanTarget::name("Mallory"),
        until_ms,
        reason: "spam".into(),
        by: "one".into(),
    };
    let unban = || Change::Unbanned { target: BanTarget::name("mallory") };
    let begun = |account, with| Change::DirectBegun { account, with };
    let role = |role| Change::RoleSet { account: one, role };
    for (change, expected) in [
        (dropped(one, "a"), Err(SubmitError::Unchanged)),
        (kept(one, "a"), Ok(())),
        (kept(one, "a"), Err(SubmitError::Unchanged)),
        (kept(one, ""), Err(SubmitError::Invalid("A room name has 1 to 64 characters"))),
        (dropped(one, "a"), Ok(())),
        (dropped(one, "a"), Err(SubmitError::Unchanged)),
        (role(Role::Member), Err(SubmitError::Unchanged)),
        (role(Role::Admin), Ok(())),
        (role(Role::Admin), Err(SubmitError::Unchanged)),
        (role(Role::Member), Ok(())),
        (begun(one, two), Ok(())),
        (begun(two, one), Err(SubmitError::Unchanged)),
        (unban(), Err(SubmitError::UnknownBan)),
        (ban(Some(0)), Err(SubmitError::Invalid("A ban ends in the future"))),
        (ban(Some(10)), Ok(())),
        (unban(), Ok(())),
        (unban(), Err(SubmitError::UnknownBan)),
        (Change::TokensRevoked { account: two }, Err(SubmitError::Unchanged)),
        (Change::TokenRevoked { token: TokenId(1) }, Err(SubmitError::UnknownToken)),
        (Change::token_issued(two, token(1).hash(), 10), Ok(())),
        (Change::TokenRevoked { token: TokenId(1) }, Ok(())),
        (Change::TokenRevoked { token: TokenId(1) }, Err(SubmitError::UnknownToken)),
        (Change::Removed { account: two }, Ok(())),
        (Change::Removed { account: two }, Err(SubmitError::UnknownAccount)),
        (kept(two, "a"), Err(SubmitError::UnknownAccount)),
        (begun(one, two), Err(SubmitError::UnknownAccount)),
        (added("two"), Err(SubmitError::NameTaken)),
    ] {
        assert_eq!(accounts.submit(change.clone(), 0, at(0)), expected, "{change:?}");
    }
    let settled = commit(&mut accounts, at(0));
    assert!(settled.iter().all(|event| matches!(event, AccountEvent::Settled { .. })), "{settled:?}");
    let one = accounts.tables().directory.get(one).expect("it stays");
    assert_eq!((one.role, one.rooms.len(), one.peers.len()), (Role::Member, 0, 0));
    assert_eq!(accounts.tables().tokens.len() + accounts.tables().bans.len(), 0);
}

#[test]
fn rooms_and_waiting_changes_are_bounded() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    let one = registered(&mut accounts, "one");
    for n in 0..limits::ACCOUNT_ROOMS_MAX {
        accounts.submit(kept(one, &format!("room {n}")), 0, at(0)).expect("there is room");
    }
    assert_eq!(accounts.submit(kept(one, "more"), 0, at(0)), Err(SubmitError::TooMany("rooms")));
    commit(&mut accounts, at(0));
    assert_eq!(accounts.submit(kept(one, "more"), 0, at(0)), Err(SubmitError::TooMany("rooms")));
    let rooms = &accounts.tables().directory.get(one).expect("it is there").rooms;
    assert!(rooms.len() == limits::ACCOUNT_ROOMS_MAX && rooms.is_sorted());
    for n in 0..limits::LEDGER_PENDING_MAX {
        accounts.submit(Change::token_issued(one, token(n as u32).hash(), 10), 0, at(0)).expect("it can wait");
    }
    assert_eq!(accounts.submit(added("two"), 0, at(0)), Err(SubmitError::Busy));
    commit(&mut accounts, at(0));
    assert_eq!(accounts.tables().tokens.len(), limits::TOKENS_PER_ACCOUNT_MAX);
}

#[test]
fn one_login_too_many_ends_the_oldest_that_is_good() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    let one = registered(&mut accounts, "one");
    let first = issued(&mut accounts, one, 0, 1_000);
    // Not the oldest, but over first.
    issued(&mut accounts, one, 1, 100);
    for n in 2..limits::TOKENS_PER_ACCOUNT_MAX as u32 {
        issued(&mut accounts, one, n, 1_000);
    }
    assert_eq!(accounts.next_expiry_ms(Now::at(5_000, 40)), Some(5_060), "on the monotonic clock");
    let issue = |accounts: &mut Ledger, n| {
        accounts.submit(Change::token_issued(one, token(n).hash(), 1_000), 0, at(100)).expect("it makes sense");
        match commit(accounts, at(100)).pop() {
            Some(AccountEvent::Settled { ended, .. }) => ended,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(issue(&mut accounts, 40), [], "one is over, so there is room");
    assert_eq!(accounts.expired(at(100)), [TokenId(2)]);
    assert_eq!(issue(&mut accounts, 41), [first]);
    assert_eq!(accounts.tables().tokens.find(token(0).reveal(), at(100)), None);
    // The same after a restart, although the reader does not know when each was over.
    let before = accounts.tables().clone();
    drop(accounts);
    disk.crash();
    assert_eq!(*open(&disk, 2, at(100)).tables(), before);
}

#[test]
fn another_password_or_no_account_ends_logins_and_tells_which() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    let (one, two) = (registered(&mut accounts, "one"), registered(&mut accounts, "two"));
    let tokens: Vec<TokenId> = (0..3).map(|n| issued(&mut accounts, one, n, 10)).collect();
    let other = issued(&mut accounts, two, 9, 10);
    let password = PasswordHash::new("another".into());
    let set = Change::PasswordSet { account: one, password: password.clone(), keep: Some(tokens[1]) };
    assert_eq!(settle(&mut accounts, set).1, [tokens[0], tokens[2]]);
    assert_eq!(accounts.tables().directory.get(one).map(|one| &one.password), Some(&password));
    assert_eq!(settle(&mut accounts, Change::TokensRevoked { account: one }).1, [tokens[1]]);
    settle(&mut accounts, Change::DirectBegun { account: one, with: two });
    assert_eq!(settle(&mut accounts, Change::Removed { account: two }).1, [other]);
    assert!(accounts.tables().directory.get(one).is_some_and(|one| one.peers.is_empty()));
    assert_eq!(accounts.tables().tokens.find(token(9).reveal(), at(0)), None);
}

#[test]
fn secrets_are_not_shown() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    let one = registered(&mut accounts, "one");
    accounts.submit(Change::token_issued(one, token(5).hash(), 10), 1, at(0)).expect("it makes sense");
    let shown = format!("{:?} {:?}", commit(&mut accounts, at(0)), accounts.tables());
    let stored = String::from(token(5).hash());
    for secret in [&token(5).reveal()[3..], &stored, "hash of one"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let files = disk.files();
    let bytes: Vec<u8> = files.iter().flat_map(|path| disk.bytes(path).expect("a file")).collect();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(&stored) && !text.contains(token(5).reveal()), "only the hash is stored");
}

#[test]
fn damage_costs_what_it_hits_and_numbers_are_not_given_again() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    for name in ["one", "two", "three"] {
        registered(&mut accounts, name);
    }
    accounts.shutdown(at(0)).expect("a clean end");
    drop(accounts);
    let file = Path::new("/data/accounts/rooms/accounts/00000000000000000001.log");
    let mut bytes = disk.bytes(file).expect("the ledger");
    let at_byte = bytes.windows(5).position(|window| window == b"\"two\"").expect("it is in there");
    bytes[at_byte + 1] ^= 1;
    disk.tamper(file, &bytes);
    let mut accounts = open(&disk, 2, at(0));
    let names: Vec<&str> = accounts.tables().directory.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["one", "three"]);
    assert!(registered(&mut accounts, "four") > AccountId(3));
}

#[test]
fn records_of_a_later_version_are_skipped() {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    let one = registered(&mut accounts, "one");
    accounts.shutdown(at(0)).expect("a clean end");
    drop(accounts);
    for payload in [
        r#"{"kind":"colourSet","account":1,"colour":"red"}"#.to_owned(),
        r#"{"kind":"roomKept","account":1,"room":"a","since":5}"#.to_owned(),
        "no JSON".to_owned(),
        r#"{"kind":"roomKept","account":1,"room":"b"}"#.to_owned(),
    ] {
        append_raw(&disk, payload.as_bytes());
    }
    let accounts = open(&disk, 9, at(0));
    let rooms = accounts.tables().directory.get(one).map(|one| one.rooms.join(","));
    assert_eq!(rooms.as_deref(), Some("a,b"));
}

/// A ledger of many records of which few are needed, ended cleanly.
fn long_ledger() -> (SimDisk, Tables) {
    let disk = disk();
    let mut accounts = open(&disk, 1, at(0));
    let (one, two, gone) =
        (registered(&mut accounts, "one"), registered(&mut accounts, "two"), registered(&mut accounts, "gone"));
    issued(&mut accounts, gone, 1, 1_000);
    issued(&mut accounts, one, 2, 1_000);
    settle(&mut accounts, Change::DirectBegun { account: one, with: two });
    settle(&mut accounts, Change::DirectBegun { account: two, with: two });
    settle(
        &mut accounts,
        Change::Banned {
            target: BanTarget::parse("2001:db8::1"),
            until_ms: None,
            reason: "spam".into(),
            by: "one".into(),
        },
    );
    settle(&mut accounts, Change::Removed { account: gone });
    for n in 0..limits::LEDGER_COMPACT_RECORDS / 2 {
        accounts.submit(kept(one, "a room"), 0, at(0)).expect("it makes sense");
        let dropped = Change::RoomDropped { account: one, room: "a room".into() };
        accounts.submit(dropped, 0, at(0)).expect("it makes sense");
        if n % 500 == 499 {
            commit(&mut accounts, at(0));
        }
    }
    settle(&mut accounts, kept(one, "a room"));
    accounts.shutdown(at(0)).expect("a clean end");
    let tables = accounts.tables().clone();
    (disk, tables)
}

fn text_on(disk: &SimDisk) -> String {
    let bytes: Vec<u8> = disk.files().iter().flat_map(|path| disk.bytes(path).expect("a file")).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_ledger_that_has_grown_too_long_leaves_behind_what_says_nothing_any_more() {
    let (disk, tables) = long_ledger();
    let (before, secret) = (disk.used(), String::from(token(1).hash()));
    assert!(text_on(&disk).contains(&secret));
    let mut accounts = open(&disk, 100, at(0));
    assert_eq!(*accounts.tables(), tables);
    assert!(disk.used() < before / 50, "{} of {before} bytes", disk.used());
    let text = text_on(&disk);
    assert!(!text.contains(&secret) && !text.contains("hash of gone"), "{text}");
    assert_eq!(registered(&mut accounts, "three"), AccountId(4), "numbers of those who are gone stay theirs");
    let tables = accounts.tables().clone();
    accounts.shutdown(at(0)).expect("a clean end");
    drop(accounts);
    let calls = disk.calls();
    let accounts = open(&disk, 200, at(0));
    assert!(*accounts.tables() == tables && disk.calls() - calls < 8, "nothing to leave behind now");
}

#[test]
fn a_power_cut_at_any_moment_of_a_snapshot_loses_nothing() {
    let (disk, tables) = long_ledger();
    let rehearsal = disk.fork();
    let calls = rehearsal.calls();
    drop(open(&rehearsal, 100, at(0)));
    let end = rehearsal.calls();
    assert!(end - calls > 20, "{} calls", end - calls);
    for call in calls..end {
        for seed in 0..3 {
            let disk = disk.fork();
            disk.fail_at(call, Fault::PowerOff);
            drop(try_open(&disk, 100, at(0)));
            disk.power_cut(seed);
            let accounts = open(&disk, 200, at(0));
            assert!(*accounts.tables() == tables, "call {call}, seed {seed}");
            drop(accounts);
            disk.crash();
            let mut accounts = open(&disk, 300, at(0));
            assert!(*accounts.tables() == tables, "call {call}, seed {seed}");
            registered(&mut accounts, "three");
        }
    }
}
