//! Names that are not what they seem: which are refused, and with which code, wherever a name can be taken.

mod common;

use common::rest::{PASSWORD, encoded};
use common::{Client, Server};
use serde_json::json;

/// What becomes of somebody who wants a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nobody has it, and nobody has one that it could be taken for.
    Free,
    /// It is somebody's, or looks like somebody's.
    Taken,
    /// It is against the rules.
    Bad,
}

use Verdict::{Bad, Free, Taken};

/// Registered names, and then guests' names, that others are compared with.
const REGISTERED: &[&str] =
    &["alice", "paypal", "Strauß", "istanbul", "kelvin", "josé", "Ольга", "modern", "bob1", "ꭺda"];
const GUESTS: &[&str] = &["scope", "Ωmega", "fin", "Ann Lee", "名前"];

/// Wanted names. Each is tried on its own.
const TABLE: &[(&str, Verdict, &str)] = &[
    // Case, width, compatibility forms.
    ("Alice", Taken, "case"),
    ("ALICE", Taken, "case"),
    ("ａｌｉｃｅ", Taken, "full width"),
    ("𝐚𝐥𝐢𝐜𝐞", Taken, "mathematical bold"),
    ("𝒶𝓁𝒾𝒸ℯ", Taken, "mathematical script"),
    ("ⓐⓛⓘⓒⓔ", Taken, "circled"),
    ("ªlice", Taken, "the ordinal indicator is an a"),
    ("ﬁn", Taken, "a ligature"),
    ("STRAUSS", Taken, "ß is ss when case does not count"),
    ("strauss", Taken, "ß is ss when case does not count"),
    ("STRAUẞ", Taken, "capital ß"),
    ("ſtrauß", Taken, "a long s is an s"),
    ("iſtanbul", Taken, "a long s is an s"),
    ("ISTANBUL", Taken, "a capital I"),
    ("\u{212a}elvin", Taken, "the Kelvin sign is a k"),
    ("KELVIN", Taken, "case"),
    ("jose\u{301}", Taken, "a combining accent"),
    ("JOSÉ", Taken, "case of an accented letter"),
    ("ОЛЬГА", Taken, "case in another script"),
    ("\u{2126}mega", Taken, "the Ohm sign is an omega"),
    ("ωmega", Taken, "case of a Greek letter"),
    ("ann lee", Taken, "case with a space"),
    ("Ann\u{a0}Lee", Taken, "a no-break space is a space"),
    ("Ann\u{2003}Lee", Taken, "an em space is a space"),
    ("Ann\u{3000}Lee", Taken, "an ideographic space is a space"),
    ("名\u{fe00}前", Taken, "a variation selector draws the same character"),
    ("alice\u{fe0f}", Taken, "a variation selector behind it"),
    ("alice\u{e0100}", Taken, "an ideographic variation selector behind it"),
    // Letters of other scripts.
    ("\u{430}lice", Taken, "Cyrillic a"),
    ("ali\u{441}e", Taken, "Cyrillic es"),
    ("alic\u{435}", Taken, "Cyrillic ie"),
    ("al\u{456}ce", Taken, "Cyrillic i"),
    ("\u{410}LICE", Taken, "Cyrillic capital A"),
    ("\u{3b1}lice", Taken, "Greek alpha"),
    ("al\u{3b9}ce", Taken, "Greek iota"),
    ("p\u{430}ypal", Taken, "Cyrillic a"),
    ("\u{440}\u{430}y\u{440}al", Taken, "Cyrillic er and a"),
    ("paypa\u{4cf}", Taken, "Cyrillic palochka"),
    ("\u{440}\u{430}\u{443}\u{440}\u{430}\u{4cf}", Taken, "all Cyrillic"),
    ("\u{455}\u{441}\u{43e}\u{440}\u{435}", Taken, "all Cyrillic, of a guest's name"),
    ("sc\u{585}pe", Taken, "Armenian oh"),
    ("sc\u{3bf}pe", Taken, "Greek omicron"),
    ("sc\u{43e}pe", Taken, "Cyrillic o"),
    ("\u{13aa}da", Taken, "a Cherokee letter"),
    ("m\u{43e}dern", Taken, "Cyrillic o"),
    ("\u{437}lice", Free, "Cyrillic ze looks like no a"),
    // Within one script people see the difference as well as they can.
    ("rnodern", Free, "rn is not m for those who read"),
    ("bobl", Free, "l is not 1"),
    ("bobI", Free, "nor is I"),
    ("alicé", Free, "an accent is seen"),
    ("jose", Free, "and so is that it lacks"),
    ("alice1", Free, "another name"),
    ("a.lice", Free, "another name"),
    ("AnnLee", Free, "another name"),
    ("olga", Free, "a transcription"),
    ("Оля", Free, "Cyrillic alone"),
    ("Ελένη", Free, "Greek alone"),
    ("Արամ", Free, "Armenian alone"),
    ("さくら", Free, "Japanese"),
    ("מרים", Free, "right to left by its letters"),
    ("❤", Free, "a picture"),
    ("x\u{338}", Free, "a combining mark"),
    // Characters that are not seen, or that move what is seen.
    ("", Bad, "nothing"),
    ("al\u{0}ice", Bad, "NUL"),
    ("al\nice", Bad, "a line break"),
    ("al\tice", Bad, "a tabulator"),
    ("al\u{7f}ice", Bad, "delete"),
    ("al\u{85}ice", Bad, "next line"),
    ("al\u{9b}ice", Bad, "a C1 control"),
    ("al\u{ad}ice", Bad, "a soft hyphen"),
    ("al\u{34f}ice", Bad, "a combining grapheme joiner"),
    ("al\u{61c}ice", Bad, "an Arabic letter mark"),
    ("al\u{180e}ice", Bad, "a Mongolian vowel separator"),
    ("al\u{200b}ice", Bad, "a zero-width space"),
    ("al\u{200c}ice", Bad, "a zero-width non-joiner"),
    ("al\u{200d}ice", Bad, "a zero-width joiner"),
    ("al\u{200e}ice", Bad, "a left-to-right mark"),
    ("al\u{200f}ice", Bad, "a right-to-left mark"),
    ("al\u{2028}ice", Bad, "a line separator"),
    ("al\u{2029}ice", Bad, "a paragraph separator"),
    ("\u{202e}ecila", Bad, "a right-to-left override"),
    ("al\u{202c}ice", Bad, "a pop of directional formatting"),
    ("al\u{2060}ice", Bad, "a word joiner"),
    ("al\u{2062}ice", Bad, "an invisible times"),
    ("al\u{2066}ice", Bad, "a left-to-right isolate"),
    ("al\u{206f}ice", Bad, "a nominal digit shape"),
    ("alice\u{feff}", Bad, "a byte order mark"),
    ("al\u{fff9}ice", Bad, "an interlinear annotation"),
    ("alice\u{e0041}", Bad, "a tag"),
    ("alice\u{e007f}", Bad, "a cancelled tag"),
    ("\u{1d173}alice", Bad, "a musical beam"),
    ("\u{1bca0}alice", Bad, "a shorthand control"),
    (" alice", Bad, "a space before"),
    ("alice ", Bad, "a space behind"),
    ("alice\u{a0}", Bad, "a no-break space behind"),
    ("alice\u{2009}", Bad, "a thin space behind"),
    ("\u{3000}alice", Bad, "an ideographic space before"),
    ("alice\u{1680}", Bad, "an Ogham space mark behind"),
    ("alice\u{3164}", Bad, "a Hangul filler behind"),
    ("alice\u{ffa0}", Bad, "a half-width Hangul filler behind"),
    ("\u{115f}alice", Bad, "a Hangul choseong filler before"),
    ("alice\u{2800}", Bad, "a blank Braille pattern behind"),
    ("\u{2800}", Bad, "a blank"),
    ("Ann  Lee", Bad, "two spaces in a row"),
    ("Ann \u{2003}Lee", Bad, "two spaces of different kinds in a row"),
    // The server's own name.
    ("system", Bad, "reserved"),
    ("System", Bad, "reserved in every case"),
    ("ｓｙｓｔｅｍ", Bad, "reserved in every width"),
    ("ſyſtem", Bad, "reserved with a long s"),
    ("system\u{fe0f}", Bad, "reserved with a variation selector"),
    ("sys\u{200b}tem", Bad, "reserved with what is not seen"),
    ("\u{455}ystem", Bad, "one that looks like it"),
    ("s\u{443}stem", Bad, "one that looks like it"),
    ("syst\u{435}m", Bad, "one that looks like it"),
    ("systems", Free, "another name"),
];

/// How a connection with this name in its URL ends: not at all, or with a code.
fn at_connect(server: &Server, name: &str) -> Option<u16> {
    let mut client = Client::open(server.address, &format!("/?user={}", encoded(name)));
    let event = client.read();
    match event {
        Ok(event) => {
            assert_eq!((&event["type"], &event["data"]["user"]), (&json!("connected"), &json!(name)));
            client.close();
            None
        }
        Err(common::client::End::Closed(code)) => Some(code),
        Err(end) => panic!("{name:?}: {end:?}"),
    }
}

#[test]
fn a_name_is_judged_alike_at_connect_in_hello_and_at_registration() {
    let server = Server::start(&["--rate", "0"]);
    for name in REGISTERED {
        server.operator().register(name);
    }
    let _guests: Vec<Client> =
        GUESTS.iter().map(|name| Client::connect(server.address, &format!("/?user={}", encoded(name)))).collect();
    let mut wrong = Vec::new();
    for &(name, verdict, why) in TABLE {
        let (close, code, status) = match verdict {
            Free => (None, "connected", 201),
            Taken => (Some(1008), "name_taken", 409),
            Bad => (Some(1008), "bad_name", 422),
        };
        // Nothing in the URL asks for a name given by the server; that one is not bad.
        let closed = if name.is_empty() { close } else { at_connect(&server, name) };
        let mut client = Client::connect(server.address, "/");
        client.send(json!({"type": "hello", "user": name}));
        let event = client.next();
        let told = event["data"]["code"].as_str().unwrap_or("connected").to_owned();
        client.close();
        // The operator pushes guests aside, so a registration is tried for nobody in particular; from an address of its
        // own, since their number is bounded.
        let last_byte = 2 + (wrong.len() + TABLE.iter().position(|row| row.0 == name).expect("a row")) % 250;
        let rest = server.rest().from(last_byte as u8);
        let response = rest.post("/api/accounts", json!({"user": name, "password": PASSWORD}));
        if (closed, told.as_str(), response.status) != (close, code, status) {
            wrong.push(format!("{name:?}, {why}: {closed:?} {told} {}, and not {verdict:?}", response.status));
        }
        if response.status == 201 {
            let removed = server.operator().delete(&format!("/api/accounts/{}", encoded(name)));
            assert_eq!(removed.status, 204, "{name:?}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(TABLE.len() >= 60);
}

#[test]
fn a_name_is_shown_as_it_was_written_and_found_in_any_spelling() {
    let server = Server::start(&[]);
    let mut alice = Client::connect(server.address, "/?user=%EF%BC%A1lice%20Strau%C3%9F");
    assert_eq!(alice.user(), "Ａlice Strauß");
    let mut bob = server.client("bob");
    bob.ask(json!({"type": "private", "to": "ALICE STRAUSS", "content": "psst"}));
    let got = alice.expect("private");
    assert_eq!((&got["to"], &got["content"]), (&json!("Ａlice Strauß"), &json!("psst")));
    // A name that only looks like hers is not hers: nobody is written to by mistake.
    bob.refused(json!({"type": "private", "to": "\u{410}lice Strauß", "content": "psst"}), "no_such_user");
    // She may write herself otherwise; nobody else may.
    alice.ask(json!({"type": "hello", "user": "alice strauss"}));
    assert_eq!(alice.expect("connected")["user"], "alice strauss");
    bob.refused(json!({"type": "hello", "user": "Ａlice Strauß"}), "name_taken");
    alice.ask(json!({"type": "hello", "user": "carol"}));
    bob.ask(json!({"type": "hello", "user": "Ａlice Strauß"}));
}
