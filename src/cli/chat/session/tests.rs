//! The session with a scripted server: events go in, commands and lines come out.

use serde_json::{Value, json};

use super::super::Exit;
use super::super::line::Line;
use super::{Effect, Session, Wishes};

/// A session at a desk: `commands` gives what was sent since, `answer` is the server.
struct Desk {
    session: Session,
    now_ms: u64,
    effects: Vec<Effect>,
}

fn wishes() -> Wishes {
    Wishes {
        user: Some("ada".to_owned()),
        token: None,
        rooms: vec!["ops".to_owned()],
        tail: 0,
        json: false,
        ends: true,
        patience_ms: Some(30_000),
        waits_at_first: false,
    }
}

fn message(sequence: u64, user: &str, content: &str) -> Value {
    json!({"id": format!("e:{sequence}"), "room": "ops", "user": user, "content": content, "sequence": sequence,
        "timestamp": 0})
}

impl Desk {
    fn new(wishes: Wishes) -> Self {
        let mut session = Session::new(wishes, "run".to_owned());
        session.start(0);
        assert_eq!(session.drain(), [Effect::Dial(None)]);
        Self { session, now_ms: 0, effects: Vec::new() }
    }

    /// One that is in the room, whose last number is `head`.
    fn inside(wishes: Wishes, head: u64) -> Self {
        let mut desk = Desk::new(wishes);
        desk.connect("ada");
        desk.joined(head);
        desk
    }

    fn connect(&mut self, user: &str) {
        self.session.opened(self.now_ms);
        let data = json!({"user": user, "session": "s1", "heartbeatMs": 1_000, "limits": {"contentBytes": 100}});
        self.answer("connected", None, data);
    }

    /// Answers the join that was just sent, as a room does that has nothing new.
    fn joined(&mut self, head: u64) {
        let join = self.commands().into_iter().find(|command| command["type"] == "join").expect("a join");
        self.answer("ack", Some(&join["id"]), json!({"room": "ops", "epoch": "e1", "head": head}));
        if head > 0 || !join["since"].is_null() {
            self.history(&[], head);
        }
    }

    fn history(&mut self, messages: &[Value], head: u64) {
        let data = json!({"room": "ops", "messages": messages, "epoch": "e1", "floor": 1, "head": head, "more": false});
        self.answer("history", None, data);
    }

    fn answer(&mut self, kind: &str, id: Option<&Value>, data: Value) {
        let mut event = json!({"type": kind, "data": data});
        if let Some(id) = id {
            event["id"] = id.clone();
        }
        self.session.received(&event.to_string(), self.now_ms);
        self.effects.extend(self.session.drain());
    }

    fn lose(&mut self, code: Option<u16>) {
        self.session.lost(code, "gone", 1.0, self.now_ms);
    }

    /// Waits for the next attempt, and connects.
    fn come_back(&mut self, user: &str) {
        self.now_ms = self.session.wake_at_ms().expect("it tries again");
        self.session.tick(1.0, self.now_ms);
        let mut effects = self.take();
        let count = effects.len();
        effects.retain(|effect| !matches!(effect, Effect::Dial(_)));
        assert_eq!(count - effects.len(), 1, "one attempt");
        self.effects = effects;
        self.connect(user);
    }

    fn take(&mut self) -> Vec<Effect> {
        self.effects.extend(self.session.drain());
        std::mem::take(&mut self.effects)
    }

    fn commands(&mut self) -> Vec<Value> {
        let (sent, rest) = self.take().into_iter().partition(|effect| matches!(effect, Effect::Send(_)));
        self.effects = rest;
        let parse = |effect| match effect {
            Effect::Send(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("{other:?}"),
        };
        Vec::into_iter(sent).map(parse).collect()
    }

    fn shown(&mut self) -> Vec<String> {
        let (shown, rest) = self.take().into_iter().partition(|effect| matches!(effect, Effect::Show(_)));
        self.effects = rest;
        let text = |effect| match effect {
            Effect::Show(Line::Said(said)) => Some(format!("{}: {}", said.user, said.content.unwrap_or_default())),
            Effect::Show(Line::Trouble(why)) => Some(format!("!! {why}")),
            _ => None,
        };
        Vec::into_iter(shown).filter_map(text).collect()
    }

    fn exit(&mut self) -> Option<Exit> {
        self.take().into_iter().find_map(|effect| if let Effect::Exit(exit) = effect { Some(exit) } else { None })
    }
}

fn contents(commands: &[Value]) -> Vec<&str> {
    commands.iter().filter_map(|command| command["content"].as_str()).collect()
}

#[test]
fn lines_are_sent_one_after_the_other_and_it_ends_when_all_are_stored() {
    let mut desk = Desk::inside(wishes(), 7);
    for line in ["one", "two"] {
        desk.session.say(line, 0);
    }
    desk.session.end_input();
    for (number, line) in ["one", "two"].into_iter().enumerate() {
        let sent = desk.commands();
        assert_eq!(contents(&sent), [line], "one is in flight at a time, so order is kept");
        assert_eq!(desk.exit(), None);
        desk.answer("ack", Some(&sent[0]["id"]), json!({"room": "ops", "sequence": 8 + number}));
    }
    assert_eq!(desk.exit(), Some(Exit::Good));
}

#[test]
fn what_was_not_acked_is_sent_again_with_its_nonce_unless_the_replay_has_it() {
    for is_stored in [false, true] {
        let mut desk = Desk::inside(wishes(), 0);
        desk.session.say("one", 0);
        let nonce = desk.commands()[0]["nonce"].clone();
        desk.lose(None);
        desk.come_back("ada");
        let join = desk.commands().pop().expect("a join");
        assert_eq!((&join["since"], &join["epoch"]), (&json!(0), &json!("e1")), "from its own position");
        if is_stored {
            // The frame comes before the ack of the join can lead to a second attempt only if it is settled by number.
            desk.answer("ack", Some(&join["id"]), json!({"room": "ops", "epoch": "e1", "head": 1}));
            let again = desk.commands();
            let mut stored = message(1, "ada", "one");
            stored["nonce"] = nonce.clone();
            desk.history(&[stored], 1);
            assert!(again.iter().all(|command| command["nonce"] == nonce), "harmless, as the nonce is the same");
            assert_eq!(
                (desk.session.unsent(), desk.shown()),
                (0, vec!["!! gone. Trying again, and keeping what you write".to_owned(), "ada: one".to_owned()])
            );
        } else {
            desk.answer("ack", Some(&join["id"]), json!({"room": "ops", "epoch": "e1", "head": 0}));
            desk.history(&[], 0);
            assert_eq!(desk.commands()[0]["nonce"], nonce);
        }
    }
}

#[test]
fn rate_limited_lines_wait_as_long_as_told() {
    let mut desk = Desk::inside(wishes(), 0);
    desk.session.say("one", 0);
    let sent = desk.commands().remove(0);
    desk.answer("error", Some(&sent["id"]), json!({"code": "rate_limited", "message": "slow", "retryAfterMs": 700}));
    desk.session.tick(0.0, 699);
    assert_eq!((desk.commands().len(), desk.session.wake_at_ms()), (0, Some(700)));
    desk.session.tick(0.0, 700);
    assert_eq!(desk.commands()[0]["nonce"], sent["nonce"]);
    assert_ne!(desk.session.wake_at_ms(), Some(700), "it waits for the answer now");
}

#[test]
fn what_cannot_be_stored_is_told_and_ends_with_5_after_the_rest_is_stored() {
    let mut desk = Desk::inside(wishes(), 0);
    desk.session.say(&"x".repeat(101), 0);
    desk.session.say("fine", 0);
    desk.session.end_input();
    let sent = desk.commands();
    assert_eq!(contents(&sent), ["fine"]);
    desk.answer("ack", Some(&sent[0]["id"]), json!({"room": "ops", "sequence": 1}));
    let effects = desk.take();
    let told = |effect: &Effect| matches!(effect, Effect::Show(Line::Trouble(why)) if why.starts_with("Not sent: Too long by 1 bytes (xxx"));
    assert!(effects.iter().any(told), "{effects:?}");
    assert!(effects.contains(&Effect::Exit(Exit::Unacked)));
}

#[test]
fn disk_that_is_full_is_waited_for_but_not_for_ever() {
    let mut desk = Desk::inside(wishes(), 0);
    desk.session.say("one", 0);
    let sent = desk.commands().remove(0);
    desk.answer("error", Some(&sent["id"]), json!({"code": "storage_unavailable", "message": "full"}));
    desk.session.tick(0.0, 1_000);
    assert_eq!(desk.commands().len(), 1);
    desk.session.tick(0.0, 30_000);
    assert_eq!(desk.exit(), Some(Exit::Unacked));
}

#[test]
fn replay_and_duplicates_are_shown_once_and_holes_are_mended() {
    let mut desk = Desk::inside(Wishes { ends: false, ..wishes() }, 3);
    desk.answer("message", None, message(4, "bob", "four"));
    desk.answer("message", None, message(4, "bob", "four"));
    assert_eq!(desk.shown(), ["bob: four"]);
    desk.answer("message", None, message(6, "bob", "six"));
    assert_eq!(desk.shown(), [""; 0]);
    let join = desk.commands().pop().expect("it joins from where it is");
    assert_eq!((&join["type"], &join["since"]), (&json!("join"), &json!(4)));
    desk.answer("ack", Some(&join["id"]), json!({"room": "ops", "epoch": "e1", "head": 6}));
    desk.history(&[message(5, "bob", "five"), message(6, "bob", "six")], 6);
    assert_eq!(desk.shown(), ["bob: five", "bob: six"]);
}

#[test]
fn outage_is_resumed_from_the_last_number_without_a_hole_or_a_duplicate() {
    let mut desk = Desk::inside(Wishes { ends: false, ..wishes() }, 0);
    desk.answer("message", None, message(1, "bob", "1"));
    desk.lose(Some(1001));
    desk.come_back("ada");
    let join = desk.commands().pop().expect("a join");
    assert_eq!(join["since"], 1);
    // What a resumed session delivers from where it was is in the replay, too.
    desk.answer("message", None, message(3, "bob", "3"));
    desk.answer("ack", Some(&join["id"]), json!({"room": "ops", "epoch": "e1", "head": 3}));
    desk.history(&[message(2, "bob", "2"), message(3, "bob", "3")], 3);
    desk.answer("message", None, message(4, "bob", "4"));
    let said: Vec<_> = desk.shown().into_iter().filter(|line| line.starts_with("bob")).collect();
    assert_eq!(said, ["bob: 1", "bob: 2", "bob: 3", "bob: 4"]);
}

#[test]
fn tail_shows_as_many_of_the_last_as_were_asked_for() {
    let mut desk = Desk::new(Wishes { tail: 2, ..wishes() });
    desk.connect("ada");
    let join = desk.commands().pop().expect("a join");
    desk.answer("ack", Some(&join["id"]), json!({"room": "ops", "epoch": "e1", "head": 4}));
    let all: Vec<_> = (1..=4).map(|number| message(number, "bob", &number.to_string())).collect();
    desk.history(&all, 4);
    assert_eq!(desk.shown(), ["bob: 3", "bob: 4"]);
    // More than a join brings are read before it.
    let mut desk = Desk::new(Wishes { tail: 60, ..wishes() });
    desk.connect("ada");
    let read = desk.commands().pop().expect("a history");
    assert_eq!((&read["type"], &read["limit"]), (&json!("history"), &json!(60)));
    desk.history(&all, 4);
    let join = desk.commands().pop().expect("a join");
    assert_eq!((&join["type"], &join["since"], &join["epoch"]), (&json!("join"), &json!(4), &json!("e1")));
    assert_eq!(desk.shown().len(), 4);
}

#[test]
fn log_that_was_started_over_is_told_and_followed() {
    let mut desk = Desk::inside(Wishes { ends: false, ..wishes() }, 9);
    desk.lose(None);
    desk.come_back("ada");
    let join = desk.commands().pop().expect("a join");
    desk.answer("ack", Some(&join["id"]), json!({"room": "ops", "epoch": "e2", "head": 5}));
    // Lost between ack and history, one still has what belongs to the old epoch.
    desk.lose(None);
    desk.come_back("ada");
    let join = desk.commands().pop().expect("a join");
    assert_eq!((&join["since"], &join["epoch"]), (&json!(9), &json!("e1")));
    desk.answer("ack", Some(&join["id"]), json!({"room": "ops", "epoch": "e2", "head": 5}));
    let data = json!({"room": "ops", "messages": [message(5, "bob", "five")], "epoch": "e2", "floor": 1, "head": 5,
        "more": false, "reset": "ahead"});
    desk.answer("history", None, data);
    desk.answer("message", None, message(6, "bob", "six"));
    let said: Vec<_> = desk.shown().into_iter().filter(|line| line.starts_with("bob")).collect();
    assert_eq!(said, ["bob: five", "bob: six"]);
}

#[test]
fn server_that_was_never_there_is_4_at_once_and_one_that_is_gone_after_a_while() {
    let mut desk = Desk::new(wishes());
    desk.lose(None);
    assert_eq!(desk.exit(), Some(Exit::Unreachable));

    let mut desk = Desk::new(Wishes { waits_at_first: true, ..wishes() });
    desk.lose(None);
    assert_eq!((desk.exit(), desk.session.wake_at_ms()), (None, Some(500)));
    desk.session.tick(0.0, 30_000);
    assert_eq!(desk.exit(), Some(Exit::Unreachable));

    let mut desk = Desk::inside(wishes(), 0);
    desk.session.say("one", 0);
    desk.lose(None);
    desk.session.tick(0.0, 29_999);
    assert_eq!(desk.exit(), None);
    desk.session.tick(0.0, 30_000);
    assert_eq!(desk.exit(), Some(Exit::Unacked), "something is not stored");
}

#[test]
fn refusals_end_it_and_terminal_codes_do_not_loop() {
    for (code, exit) in [(4500, Exit::Refused), (4501, Exit::Refused), (1008, Exit::Refused), (1002, Exit::Failed)] {
        let mut desk = Desk::inside(wishes(), 0);
        desk.lose(Some(code));
        assert_eq!(desk.exit(), Some(exit), "{code}");
        desk.session.tick(0.0, 1_000_000);
        assert_eq!(desk.take(), []);
    }
    let mut desk = Desk::new(wishes());
    desk.connect("user_1");
    let hello = desk.commands().remove(0);
    assert_eq!((&hello["type"], &hello["user"]), (&json!("hello"), &json!("ada")));
    desk.answer("error", Some(&hello["id"]), json!({"code": "name_taken", "message": "This name is taken"}));
    assert_eq!(desk.exit(), Some(Exit::Refused));
}

#[test]
fn token_is_said_in_hello_and_not_again_to_a_resumed_login() {
    let mut desk = Desk::new(Wishes { token: Some("rl_x".to_owned()), ..wishes() });
    desk.connect("user_1");
    let hello = desk.commands().remove(0);
    assert_eq!((&hello["token"], &hello["user"]), (&json!("rl_x"), &Value::Null));
    let login =
        json!({"user": "ada", "session": "s1", "role": "member", "direct": [{"room": "@dm:1-2", "user": "bob"}]});
    desk.answer("connected", Some(&hello["id"]), login.clone());
    let joined: Vec<_> = desk.commands().into_iter().map(|command| command["room"].clone()).collect();
    assert_eq!(joined, ["ops", "@dm:1-2"], "private conversations are followed");
    desk.lose(None);
    desk.now_ms = 500;
    desk.session.tick(0.0, 500);
    assert!(desk.take().contains(&Effect::Dial(Some("s1".to_owned()))));
    desk.session.opened(500);
    desk.answer("connected", None, login);
    assert!(desk.commands().iter().all(|command| command["type"] == "join"));
}

#[test]
fn private_words_go_where_a_log_of_the_two_is_known() {
    let mut desk = Desk::inside(Wishes { ends: false, ..wishes() }, 0);
    desk.session.private("bob", "psst", 0);
    let sent = desk.commands().remove(0);
    assert_eq!((&sent["type"], &sent["to"]), (&json!("private"), &json!("bob")));
    let event =
        json!({"from": "ada", "to": "bob", "content": "psst", "room": "@dm:1-2", "sequence": 1, "timestamp": 0});
    desk.answer("private", None, event);
    let join = desk.commands().remove(0);
    assert_eq!(
        (&join["room"], &join["since"]),
        (&json!("@dm:1-2"), &json!(0)),
        "so that it is shown, and nothing is missed"
    );
    desk.session.private("bob", "more", 0);
    desk.answer("ack", Some(&join["id"]), json!({"room": "@dm:1-2", "epoch": "e2", "head": 1}));
    let sent = desk.commands().remove(0);
    assert_eq!((&sent["type"], &sent["room"]), (&json!("message"), &json!("@dm:1-2")));
    // With a guest it is live only: what may have arrived is not sent again.
    desk.session.private("eve", "hello", 0);
    desk.lose(None);
    assert!(desk.shown().iter().any(|line| line == "!! What you wrote to eve may not have arrived"));
}

#[test]
fn private_conversation_that_began_during_an_outage_is_news() {
    let mut desk = Desk::inside(Wishes { ends: false, ..wishes() }, 0);
    desk.lose(None);
    desk.come_back("ada");
    let direct = json!({"user": "ada", "direct": [{"room": "@dm:1-2", "user": "bob"}]});
    desk.answer("connected", None, direct);
    let joins = desk.commands().into_iter().filter(|command| command["room"] == "@dm:1-2");
    assert_eq!(joins.map(|join| join["since"].clone()).collect::<Vec<_>>(), [0]);
}

#[test]
fn json_passes_events_through_without_history_that_was_not_asked_for() {
    let mut desk = Desk::new(Wishes { json: true, ends: false, tail: 1, ..wishes() });
    desk.connect("ada");
    let join = desk.commands().pop().expect("a join");
    desk.answer("ack", Some(&join["id"]), json!({"room": "ops", "epoch": "e1", "head": 2}));
    desk.history(&[message(1, "bob", "1"), message(2, "bob", "2")], 2);
    let text =
        r#"{"type":"message","data":{"room":"ops","user":"bob","content":"3","sequence":3,"timestamp":0,"new":1}}"#;
    desk.session.received(text, 0);
    let events: Vec<_> = desk
        .take()
        .into_iter()
        .filter_map(|effect| if let Effect::Event(text) = effect { Some(text) } else { None })
        .collect();
    assert_eq!(events.last().map(String::as_str), Some(text), "as it came");
    let history: Value = serde_json::from_str(&events[events.len() - 2]).expect("JSON");
    assert_eq!(history["data"]["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(history["data"]["messages"][0]["sequence"], 2);
}

#[test]
fn silence_of_two_and_a_half_heartbeats_is_a_dead_link() {
    let mut desk = Desk::inside(wishes(), 0);
    desk.session.tick(0.0, 2_499);
    assert!(!desk.take().contains(&Effect::Close(4000)));
    desk.session.tick(0.0, 2_500);
    assert!(desk.take().contains(&Effect::Close(4000)));
}
