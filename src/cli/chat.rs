//! `roomlog chat`: a terminal client; or, with lines piped in, a way to have them stored.
//!
//! Owns: the order of a run: log in, connect, converse, end; the loop; what goes to which stream; the exit status. Must
//! never know: the server's insides. It is a client like any other, over the same reactor as the server.

mod complete;
mod editor;
mod input;
mod line;
mod link;
mod login;
mod room;
mod session;
mod terminal;
mod typed;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use self::complete::{Words, complete};
use self::input::{Input, Source};
use self::line::{Line, Style};
use self::login::{Listed, LoginError};
use self::session::{Effect, Session, Wishes};
use self::terminal::Terminal;
use self::typed::Typed;
use super::secret::{self, Ask};
use super::{SERVER_MESSAGE_BYTES_MAX, random};
use crate::config::ChatOptions;
use crate::net::{CloseReason, ConnId, Dial, Inbox, NetConfig, NetEvent, Reactor};
use crate::protocol::{SUBPROTOCOL, close};

const WAKER: usize = 0;
const SIGNALS: usize = 1;
/// What a server may take to answer a connection, in milliseconds.
const OPEN_TIMEOUT_MS: u64 = 10_000;
/// What saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// Messages that wait before no more are read from stdin.
const UNSENT_MAX: usize = 256;
/// Messages that are shown first at a terminal.
const TAIL: u32 = 20;

/// The server's rooms, or why they are not known.
type RoomList = Result<Vec<Listed>, String>;

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// All is well, and everything that was to be said is stored.
    Good = 0,
    /// A failure of this program or of the server.
    Failed = 1,
    /// The server does not want this name or login.
    Refused = 3,
    /// The server cannot be reached.
    Unreachable = 4,
    /// Something that was to be said is not stored.
    Unacked = 5,
}

/// Why it could not begin, or go on.
struct Failure {
    exit: Exit,
    why: String,
}

impl Failure {
    fn new(exit: Exit, why: impl ToString) -> Self {
        Self { exit, why: why.to_string() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

/// Chats until it is over; what goes wrong is told on stderr. The exit status: 0 good, 1 failed, 3 refused, 4 unreachable,
/// 5 not everything is stored.
pub fn run(options: &ChatOptions) -> u8 {
    let ended = Client::start(options).and_then(|mut client| {
        let ended = client.converse();
        client.goodbye();
        ended
    });
    ended.unwrap_or_else(|failure| {
        // With stderr gone there is nobody left to tell; the exit status still does.
        let _ = writeln!(io::stderr(), "roomlog: chat: {}", failure.why);
        failure.exit
    }) as u8
}

struct Client {
    session: Session,
    net: Reactor,
    inbox: Inbox,
    signals: Signals,
    source: Source,
    screen: Screen,
    started: Instant,
    addresses: Vec<SocketAddr>,
    /// Which of them is tried.
    address: usize,
    host: String,
    path: String,
    token: Option<String>,
    /// The token is of this run's own login.
    is_own_login: bool,
    conn: Option<ConnId>,
    /// The session that is being come back to.
    resume: Option<String>,
    /// Commands are lines that begin with a slash.
    has_commands: bool,
    lists: (Sender<RoomList>, Receiver<RoomList>),
}

/// What is shown, and where.
struct Screen {
    style: Style,
    json: bool,
    /// What is said in rooms is shown.
    shows: bool,
    /// So is who comes and goes.
    shows_asides: bool,
    /// Where somebody edits a line.
    terminal: Option<Terminal>,
    /// Somebody is at a terminal, so what this program says goes there, too.
    is_person: bool,
    /// Nobody reads stdout any more.
    is_deaf: bool,
}

impl Client {
    fn start(options: &ChatOptions) -> Result<Self, Failure> {
        let found = (options.target.host.as_str(), options.target.port).to_socket_addrs();
        let found = found.map_err(|error| Failure::new(Exit::Unreachable, format!("{}: {error}", options.target.host)));
        let addresses: Vec<SocketAddr> = found?.collect();
        let host = options.target.authority();
        let token = token(options, &addresses, &host)?;
        let is_terminal = io::stdin().is_terminal();
        let config = NetConfig {
            message_bytes_max: SERVER_MESSAGE_BYTES_MAX,
            handshake_timeout_ms: OPEN_TIMEOUT_MS,
            ..NetConfig::default()
        };
        let mut net = Reactor::without_listener(config, 0)?;
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        net.register(&mut signals, SIGNALS)?;
        let waker = net.waker(WAKER)?;
        let edits = is_terminal && io::stdout().is_terminal() && !options.json;
        let terminal = if edits { Some(Terminal::take()?) } else { None };
        let source = if edits { Source::keys(waker)? } else { Source::lines(waker)? };
        let has_colours = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let screen = Screen {
            style: Style::new(has_colours),
            json: options.json,
            shows: is_terminal || options.follow || options.tail.is_some(),
            shows_asides: is_terminal || options.follow,
            terminal,
            is_person: is_terminal && !options.json,
            is_deaf: false,
        };
        Ok(Self {
            session: Session::new(wishes(options, is_terminal, token.clone()), format!("{:016x}", random::number()?)),
            net,
            inbox: Inbox::new(),
            signals,
            source,
            screen,
            started: Instant::now(),
            addresses,
            address: 0,
            host,
            path: options.target.path.clone(),
            token,
            is_own_login: options.token.is_none(),
            conn: None,
            resume: None,
            has_commands: is_terminal,
            lists: channel(),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The loop. Each turn: wait, hear the server, hear the person, do what is due.
    fn converse(&mut self) -> Result<Exit, Failure> {
        self.session.start(self.now_ms());
        let mut events = Vec::new();
        loop {
            if let Some(exit) = self.carry_out()? {
                return Ok(exit);
            }
            self.net.flush(self.now_ms(), &mut events);
            if events.is_empty() {
                self.net.wait(self.timeout())?;
            }
            let now_ms = self.now_ms();
            self.net.collect(now_ms, &mut events);
            for event in events.drain(..) {
                self.on_network(event, now_ms)?;
            }
            while let Some(conn) = self.net.receive(&mut self.inbox) {
                if Some(conn) == self.conn {
                    let texts = self.inbox.texts().filter_map(|text| std::str::from_utf8(text).ok());
                    texts.for_each(|text| self.session.received(text, now_ms));
                }
            }
            self.hear(now_ms)?;
            self.session.tick(dice()?, now_ms);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let due = [self.net.next_deadline_ms(), self.session.wake_at_ms()];
        let due_ms = due.into_iter().flatten().min()?;
        Some(Duration::from_millis(due_ms.saturating_sub(self.now_ms())))
    }

    fn on_network(&mut self, event: NetEvent, now_ms: u64) -> Result<(), Failure> {
        match event {
            NetEvent::Opened { conn } if Some(conn) == self.conn => self.session.opened(now_ms),
            NetEvent::DialFailed { conn, error } if Some(conn) == self.conn => {
                self.conn = None;
                // A name may stand for addresses that nobody listens at, as localhost often does.
                self.address += 1;
                self.dial(&error.to_string(), now_ms)?;
            }
            NetEvent::Closed { conn, reason } if Some(conn) == self.conn => {
                self.conn = None;
                let code = match reason {
                    CloseReason::PeerClosed { code } => code,
                    CloseReason::Protocol { code } => Some(code),
                    _ => None,
                };
                self.session.lost(code, &closed_text(code), dice()?, now_ms);
            }
            NetEvent::External { key: SIGNALS } if self.signals.pending().next().is_some() => self.session.quit(),
            _ => {}
        }
        Ok(())
    }

    /// Takes what was typed, as long as there is room for more that waits.
    fn hear(&mut self, now_ms: u64) -> Result<(), Failure> {
        while self.has_commands || self.session.unsent() < UNSENT_MAX {
            match self.source.next() {
                Some(Input::Keys(keys)) => self.on_keys(&keys, now_ms)?,
                Some(Input::Line(line)) => self.on_line(&line, now_ms),
                Some(Input::Unfit(why)) => self.session.refuse(why, ""),
                Some(Input::End) if self.has_commands => self.session.quit(),
                Some(Input::End) => self.session.end_input(),
                None => break,
            }
        }
        while let Ok(list) = self.lists.1.try_recv() {
            match list {
                Ok(rooms) => {
                    let rooms: Vec<_> =
                        rooms.iter().map(|listed| format!("#{} ({})", listed.room, listed.members)).collect();
                    self.session.info(&format!("The server has {}", rooms.join(", ")));
                }
                Err(why) => self.session.trouble(&why),
            }
        }
        let prompt = self.prompt();
        self.screen.terminal.as_mut().map_or(Ok(()), |terminal| terminal.set_prompt(prompt))?;
        Ok(())
    }

    fn on_keys(&mut self, keys: &[u8], now_ms: u64) -> Result<(), Failure> {
        let words = self.words();
        let Some(terminal) = &mut self.screen.terminal else { return Ok(()) };
        for typed in terminal.feed(keys, &|head| complete(&words, head))? {
            match typed {
                editor::Typed::Line(line) => self.on_line(&line, now_ms),
                editor::Typed::Choices(names) => {
                    self.session.info(&names.iter().map(|name| name.trim_end()).collect::<Vec<_>>().join("  "));
                }
                editor::Typed::End => self.session.quit(),
            }
        }
        Ok(())
    }

    fn words(&self) -> Words {
        let own = self.session.user.as_deref();
        let members = self.session.active().into_iter().flat_map(|room| room.members.keys());
        let rooms = self.session.rooms.iter().filter(|room| room.peer.is_none());
        Words {
            rooms: rooms.map(|room| room.name.clone()).collect(),
            members: members.filter(|name| Some(name.as_str()) != own).cloned().collect(),
        }
    }

    fn on_line(&mut self, line: &str, now_ms: u64) {
        if self.has_commands {
            self.on_typed(typed::read(line), now_ms);
        } else if !line.trim().is_empty() {
            self.session.say(line, now_ms);
        }
    }

    fn prompt(&self) -> String {
        let room = self.session.active().map_or_else(String::new, |room| line::visible(&room.title()));
        format!("{room}> ")
    }

    fn on_typed(&mut self, typed: Typed, now_ms: u64) {
        let session = &mut self.session;
        match typed {
            Typed::Nothing => {}
            Typed::Say(content) => session.say(&content, now_ms),
            Typed::Join(room) => session.join(&room),
            Typed::Leave(room) => session.leave(room.as_deref()),
            Typed::Private { to, content } => session.private(&to, &content, now_ms),
            Typed::Who(room) => session.who(room.as_deref()),
            Typed::History(count) => session.history(count),
            Typed::Rooms => session.list_rooms(),
            Typed::Nick(name) => session.nick(&name),
            Typed::Away => session.away(),
            Typed::Help => typed::COMMANDS
                .iter()
                .for_each(|(name, words, help)| session.info(&format!("{:<20}  {help}", format!("/{name} {words}")))),
            Typed::Quit => session.quit(),
            Typed::Wrong(why) => session.trouble(&why),
        }
    }

    /// Does what the session asks for; how it ends, if it does.
    fn carry_out(&mut self) -> Result<Option<Exit>, Failure> {
        let effects = self.session.drain();
        let exit = effects.iter().find_map(|effect| if let Effect::Exit(exit) = effect { Some(*exit) } else { None });
        if exit.is_some() {
            // What there is to say now is to stay on the screen.
            self.screen.terminal = None;
        }
        for effect in effects {
            match effect {
                Effect::Dial(resume) => {
                    self.resume = resume;
                    self.address = 0;
                    self.dial("it has no address", self.now_ms())?;
                }
                Effect::Send(text) => self.conn.iter().for_each(|conn| self.net.send_text(*conn, text.as_bytes())),
                Effect::Close(code) => self.conn.iter().for_each(|conn| self.net.close(*conn, code, "")),
                Effect::Show(line) => self.screen.show(&line)?,
                Effect::Event(event) => self.screen.print(&event)?,
                Effect::AskRooms => self.ask_rooms()?,
                Effect::Exit(_) => {}
            }
        }
        if self.screen.is_deaf && exit.is_none() {
            self.session.quit();
            return self.carry_out();
        }
        Ok(exit)
    }

    /// Connects to the next address that can be tried; `why` the last one could not.
    fn dial(&mut self, why: &str, now_ms: u64) -> Result<(), Failure> {
        let mut target = self.path.clone();
        if let Some(resume) = &self.resume {
            let glue = if target.contains('?') { '&' } else { '?' };
            target += &format!("{glue}session={}", utf8_percent_encode(resume, NON_ALPHANUMERIC));
        }
        let headers = [("Sec-WebSocket-Protocol", SUBPROTOCOL)];
        let mut why = why.to_owned();
        while let Some(addr) = self.addresses.get(self.address).copied() {
            let host = &self.host;
            let dial =
                Dial { addr, source: None, host, target: &target, headers: &headers, receive_buffer_bytes: None };
            match self.net.dial(&dial) {
                Ok(conn) => {
                    self.conn = Some(conn);
                    return Ok(());
                }
                // A machine without a network says so at once.
                Err(error) => why = error.to_string(),
            }
            self.address += 1;
        }
        let why = format!("http://{}: {why}", self.host);
        self.session.lost(None, &why, dice()?, now_ms);
        Ok(())
    }

    /// Asks which rooms the server has, without making anybody wait for the answer.
    fn ask_rooms(&mut self) -> Result<(), Failure> {
        let (addresses, host, token) = (self.addresses.clone(), self.host.clone(), self.token.clone());
        let sender = self.lists.0.clone();
        let ask = move || drop(sender.send(login::rooms(&addresses, &host, token.as_deref())));
        thread::Builder::new().name("rooms".into()).spawn(ask)?;
        Ok(())
    }

    /// Lets the close frame out, waits a moment for the server's, and gives a login back that was this run's.
    fn goodbye(&mut self) {
        self.screen.terminal = None;
        self.say_goodbye();
        if let Some(token) = self.token.as_ref().filter(|_| self.is_own_login && self.session.has_been_connected()) {
            // It ends by itself one day.
            let _ = login::log_out(&self.addresses, &self.host, token);
        }
    }

    fn say_goodbye(&mut self) {
        let until = Instant::now() + GOODBYE;
        let mut events = Vec::new();
        while let Some(conn) = self.conn
            && Instant::now() < until
        {
            self.net.close(conn, close::NORMAL, "");
            self.net.flush(self.now_ms(), &mut events);
            if self.net.wait(Some(Duration::from_millis(50))).is_err() {
                return;
            }
            self.net.collect(self.now_ms(), &mut events);
            while self.net.receive(&mut self.inbox).is_some() {}
            let is_over = |event: &NetEvent| matches!(event, NetEvent::Closed { .. } | NetEvent::DialFailed { .. });
            if events.drain(..).any(|event| is_over(&event)) {
                self.conn = None;
            }
        }
    }
}

impl Screen {
    /// Shows a line where it belongs; above the line that is edited, if there is one.
    fn show(&mut self, line: &Line) -> io::Result<()> {
        let text = self.style.text(line);
        if let Some(terminal) = &mut self.terminal {
            return terminal.print(&text);
        }
        match line {
            Line::Trouble(_) if self.is_person => writeln!(io::stderr(), "{text}"),
            Line::Trouble(why) => writeln!(io::stderr(), "roomlog: chat: {}", line::visible(why)),
            Line::Info(_) if !self.is_person => Ok(()),
            Line::Aside(_) if !self.shows_asides => Ok(()),
            _ if self.json || !self.shows => Ok(()),
            _ => self.print(&text),
        }
    }

    /// Writes to stdout. A reader that has seen enough (`| head -1`) is no failure.
    fn print(&mut self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_deaf = true;
                Ok(())
            }
            result => result,
        }
    }
}

/// The account's token: as it is, or for a password.
fn token(options: &ChatOptions, addresses: &[SocketAddr], host: &str) -> Result<Option<String>, Failure> {
    let secret = |source| secret::read(source, Ask::Once).map_err(|error| Failure::new(Exit::Refused, error));
    if let Some(source) = &options.token {
        return secret(source).map(|token| Some(token.trim().to_owned()));
    }
    let (Some(source), Some(user)) = (&options.password, &options.user) else { return Ok(None) };
    let password = secret(source)?;
    match login::log_in(addresses, host, user, &password) {
        Ok(token) => Ok(Some(token)),
        Err(LoginError::Unreachable(why)) => Err(Failure::new(Exit::Unreachable, why)),
        Err(LoginError::Refused(why)) => Err(Failure::new(Exit::Refused, why)),
    }
}

fn wishes(options: &ChatOptions, is_terminal: bool, token: Option<String>) -> Wishes {
    let tail = options.tail.unwrap_or(if is_terminal { TAIL } else { 0 });
    Wishes {
        user: options.user.clone(),
        token,
        rooms: options.rooms.clone(),
        tail: u64::from(tail),
        json: options.json,
        ends: !is_terminal && !options.follow,
        // Somebody at a terminal decides alone when it is enough.
        patience_ms: (!is_terminal || options.timeout_ms.is_some()).then(|| options.timeout_ms()),
        waits_at_first: options.timeout_ms.is_some(),
    }
}

fn closed_text(code: Option<u16>) -> String {
    match code {
        Some(close::GOING_AWAY) => "The server is shutting down".to_owned(),
        Some(close::LOG_IN) => "One has to log in here: --login, or ROOMLOG_TOKEN".to_owned(),
        Some(close::BANNED) => "Kicked or banned".to_owned(),
        Some(close::POLICY) => "The name is taken, or the server has had enough".to_owned(),
        Some(code) => format!("Connection closed with {code}"),
        None => "Connection lost".to_owned(),
    }
}

/// A number in 0..1.
fn dice() -> io::Result<f64> {
    Ok((random::number()? >> 11) as f64 / (1_u64 << 53) as f64)
}
