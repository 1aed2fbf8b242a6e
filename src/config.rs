//! What an operator can set: flags and environment variables → [`Invocation`], by one table per command.
//!
//! Owns: the option tables, the values in force, their bounds and the relations between them. Must never know: what
//! the values do. Parsing is pure: no file, no clock, no process environment but what is passed in.

mod account;
mod actions;
mod bench;
mod chat;
pub mod commands;
mod completions;
mod condition;
mod log;
mod manual;
pub mod options;
mod target;
mod values;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ::log::LevelFilter;

use crate::limits;
use crate::network::Network;
pub use account::{AccountAction, AccountCommand, PasswordSource, Secret};
pub use bench::{BENCH, Bench, SIZE_BYTES_MIN};
pub use chat::{CHAT, ChatOptions, TAIL_MAX};
use commands::{COMMANDS, CommandSpec, Environment, no_actions};
pub use condition::{Condition, FIGURES, LATENCIES, QUANTILES, Relation, Unit};
pub use log::{LogAction, LogCommand};
pub use options::UsageError;
use options::{OptionSpec, Outcome, fill, nearest, printable, rows};
pub use target::Target;
use values::{
    age, age_text, allow_origin, duration, duration_or_zero, duration_text, folder, fsync, ip, log_level, number, port,
    positive, size, size_text, tls_file, trust_proxy, word,
};

/// Shortest duration an option takes, in milliseconds (0 is a word of its own where it is allowed).
pub const DURATION_MS_MIN: u64 = 10;
/// Longest duration an option takes, in milliseconds: a day.
pub const DURATION_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Fastest rate that can be asked for, in messages per second and connection.
pub const RATE_PER_SECOND_MAX: u32 = 1_000_000;
/// Longest that retention by age can be asked for, in milliseconds: a hundred years.
pub const AGE_MS_MAX: u64 = 100 * 365 * DURATION_MS_MAX;
/// Bytes of a `message` command around its content: the longest room name (four bytes a character), `nonce` and `id`,
/// and the keys.
const ENVELOPE_BYTES_MAX: usize =
    4 * limits::ROOM_NAME_CHARS_MAX + limits::NONCE_BYTES_MAX + limits::COMMAND_ID_BYTES_MAX + 128;
const _: () = assert!(limits::CONTENT_BYTES_MAX + ENVELOPE_BYTES_MAX <= limits::MESSAGE_BYTES_MAX);

/// When a message counts as stored, and so may be acknowledged and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// After `fdatasync`.
    Always,
    /// After `write`; `fdatasync` follows at most this much later.
    Interval {
        /// In milliseconds.
        ms: u64,
    },
    /// After `write`; the kernel decides when it reaches the disk.
    Never,
}

/// Foreign origins whose pages may connect; a page's own origin always may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// `*`.
    Any,
    /// Serialized origins (RFC 6454, section 6.2) in lower case.
    Listed(Vec<String>),
}

impl Origins {
    /// Whether a request with this `Origin` header may connect although it is not the server's own.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Origins::Any => true,
            Origins::Listed(list) => list.iter().any(|listed| listed.eq_ignore_ascii_case(origin)),
        }
    }
}

/// The values in force for `roomlog serve`.
///
/// Invariant: `heartbeat_ms < offline_timeout_ms`, and every duration is in `DURATION_MS_MIN..=DURATION_MS_MAX`
/// (`grace_ms` may be 0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// TCP port; 0 lets the kernel pick one.
    pub port: u16,
    /// Address of the listener.
    pub bind: IpAddr,
    /// Folder of everything that is kept.
    pub data: PathBuf,
    /// Interval of ping frames and `heartbeat` events, in milliseconds.
    pub heartbeat_ms: u64,
    /// Silence after which a connection is closed, in milliseconds.
    pub offline_timeout_ms: u64,
    /// Time a vanished client keeps its name and rooms, in milliseconds; 0 announces it at once.
    pub grace_ms: u64,
    /// When a message counts as stored.
    pub fsync: Fsync,
    /// Sustained messages per second and connection; 0 is no limit.
    pub rate_per_second: u32,
    /// Sustained messages per second and account; 0 is no limit, `None` follows `rate_per_second`.
    pub account_rate: Option<u32>,
    /// Sustained messages per second and address; 0 is no limit, `None` follows `rate_per_second`.
    pub address_rate: Option<u32>,
    /// Connections of one address at once; 0 is no bound, `None` follows `rate_per_second`.
    pub connections_per_address: Option<u32>,
    /// Proxies that tell where requests come from; nobody else is believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether anybody may make an account.
    pub is_registration_open: bool,
    /// Whether one may take part without an account.
    pub allows_guests: bool,
    /// How long a login lasts, in milliseconds.
    pub token_age_ms: u64,
    /// How long messages of a busy room may wait to leave together, in milliseconds; 0 for not at all.
    pub linger_ms: u64,
    /// Longest message content, in bytes of UTF-8.
    pub content_bytes_max: usize,
    /// Age from which messages may go, in milliseconds.
    pub retain_age_ms: Option<u64>,
    /// Messages that each room keeps at least.
    pub retain_messages: Option<u64>,
    /// Bytes of log that each room keeps at least.
    pub retain_bytes: Option<u64>,
    /// Folder to serve the page from instead of the embedded one.
    pub public: Option<PathBuf>,
    /// File of the TLS certificate; set with `tls_key` or not at all.
    pub tls_cert: Option<PathBuf>,
    /// File of its key.
    pub tls_key: Option<PathBuf>,
    /// Foreign origins whose pages may connect.
    pub allow_origin: Origins,
    /// Time a socket with queued bytes may drain nothing, in milliseconds.
    pub write_timeout_ms: u64,
    /// Least severe level that is logged.
    pub log_level: LevelFilter,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 8080,
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            data: PathBuf::from("./data"),
            heartbeat_ms: limits::HEARTBEAT_MS,
            offline_timeout_ms: limits::OFFLINE_TIMEOUT_MS,
            grace_ms: limits::GRACE_MS,
            fsync: Fsync::Always,
            rate_per_second: limits::RATE_PER_SECOND,
            account_rate: None,
            address_rate: None,
            connections_per_address: None,
            trusted_proxies: Vec::new(),
            is_registration_open: true,
            allows_guests: true,
            token_age_ms: limits::TOKEN_AGE_MS,
            linger_ms: limits::LINGER_MS,
            content_bytes_max: limits::CONTENT_BYTES_MAX,
            retain_age_ms: None,
            retain_messages: None,
            retain_bytes: None,
            public: None,
            tls_cert: None,
            tls_key: None,
            allow_origin: Origins::Listed(Vec::new()),
            write_timeout_ms: limits::WRITE_TIMEOUT_MS,
            log_level: LevelFilter::Info,
        }
    }
}

/// The values in force for `roomlog healthcheck`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Healthcheck {
    /// Port of the server to ask.
    pub port: u16,
    /// Address the server listens on.
    pub bind: IpAddr,
}

impl Default for Healthcheck {
    fn default() -> Self {
        let Config { port, bind, .. } = Config::default();
        Self { port, bind }
    }
}

impl Healthcheck {
    /// Where to connect: an unspecified address is reached through the loopback of its family.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let host = match self.bind {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            named => named,
        };
        SocketAddr::new(host, self.port)
    }
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// `roomlog` or `roomlog serve`.
    Serve(Box<Config>),
    /// `roomlog healthcheck`.
    Healthcheck(Healthcheck),
    /// `roomlog log`.
    Log(LogCommand),
    /// `roomlog account`.
    Account(AccountCommand),
    /// `roomlog chat`.
    Chat(Box<ChatOptions>),
    /// `roomlog bench`.
    Bench(Box<Bench>),
    /// Print this text, which says how the program is used.
    Help(String),
    /// Print this text, which a program reads.
    Print(String),
    /// Print the version.
    Version,
}

const PORT_ENV: &[&str] = &["ROOMLOG_PORT", "PORT"];
const BIND_ENV: &[&str] = &["ROOMLOG_BIND"];

/// The options of `roomlog serve`, in the order of the help.
pub static SERVE: &[OptionSpec<Config>] = &[
    OptionSpec {
        flag: "port",
        value_name: "PORT",
        env: PORT_ENV,
        help: "port to listen on, 0 picks a free one",
        repeatable: false,
        set: |c, v| put(&mut c.port, port(v)),
        show: |c| c.port.to_string(),
    },
    OptionSpec {
        flag: "bind",
        value_name: "ADDR",
        env: BIND_ENV,
        help: "IP address to listen on",
        repeatable: false,
        set: |c, v| put(&mut c.bind, ip(v)),
        show: |c| c.bind.to_string(),
    },
    OptionSpec {
        flag: "data",
        value_name: "DIR",
        env: &["ROOMLOG_DATA"],
        help: "folder that everything is kept in",
        repeatable: false,
        set: |c, v| put(&mut c.data, folder(v)),
        show: |c| c.data.display().to_string(),
    },
    OptionSpec {
        flag: "fsync",
        value_name: "always|never|TIME",
        env: &["ROOMLOG_FSYNC"],
        help: "when to sync; with a TIME every so often",
        repeatable: false,
        set: |c, v| put(&mut c.fsync, fsync(v)),
        show: |c| c.fsync.to_string(),
    },
    OptionSpec {
        flag: "heartbeat",
        value_name: "TIME",
        env: &["ROOMLOG_HEARTBEAT"],
        help: "interval of pings and heartbeat events",
        repeatable: false,
        set: |c, v| put(&mut c.heartbeat_ms, duration(v)),
        show: |c| duration_text(c.heartbeat_ms),
    },
    OptionSpec {
        flag: "offline-timeout",
        value_name: "TIME",
        env: &["ROOMLOG_OFFLINE_TIMEOUT"],
        help: "silence after which a connection is closed",
        repeatable: false,
        set: |c, v| put(&mut c.offline_timeout_ms, duration(v)),
        show: |c| duration_text(c.offline_timeout_ms),
    },
    OptionSpec {
        flag: "grace",
        value_name: "TIME",
        env: &["ROOMLOG_GRACE"],
        help: "how long a lost client keeps name and rooms",
        repeatable: false,
        set: |c, v| put(&mut c.grace_ms, duration_or_zero(v)),
        show: |c| duration_text(c.grace_ms),
    },
    OptionSpec {
        flag: "write-timeout",
        value_name: "TIME",
        env: &["ROOMLOG_WRITE_TIMEOUT"],
        help: "how long a reader may drain nothing",
        repeatable: false,
        set: |c, v| put(&mut c.write_timeout_ms, duration(v)),
        show: |c| duration_text(c.write_timeout_ms),
    },
    OptionSpec {
        flag: "rate",
        value_name: "N",
        env: &["ROOMLOG_RATE"],
        help: "messages/s per connection, 0 = no limit",
        repeatable: false,
        set: |c, v| put(&mut c.rate_per_second, number(v, 0, RATE_PER_SECOND_MAX)),
        show: |c| c.rate_per_second.to_string(),
    },
    OptionSpec {
        flag: "account-rate",
        value_name: "N",
        env: &["ROOMLOG_ACCOUNT_RATE"],
        help: "messages/s per account; unset: 2 x --rate",
        repeatable: false,
        set: |c, v| put(&mut c.account_rate, number(v, 0, RATE_PER_SECOND_MAX).map(Some)),
        show: |c| c.account_rate.map_or_else(String::new, |rate| rate.to_string()),
    },
    OptionSpec {
        flag: "address-rate",
        value_name: "N",
        env: &["ROOMLOG_ADDRESS_RATE"],
        help: "messages/s per address; unset: 50 x --rate",
        repeatable: false,
        set: |c, v| put(&mut c.address_rate, number(v, 0, RATE_PER_SECOND_MAX).map(Some)),
        show: |c| c.address_rate.map_or_else(String::new, |rate| rate.to_string()),
    },
    OptionSpec {
        flag: "connections-per-address",
        value_name: "N",
        env: &["ROOMLOG_CONNECTIONS_PER_ADDRESS"],
        help: "at once; 0 = no bound",
        repeatable: false,
        set: |c, v| put(&mut c.connections_per_address, number(v, 0, u32::MAX).map(Some)),
        show: |c| c.connections_per_address_max().to_string(),
    },
    OptionSpec {
        flag: "trust-proxy",
        value_name: "ADDR",
        env: &["ROOMLOG_TRUST_PROXY"],
        help: "proxy or network with X-Forwarded-For; repeatable",
        repeatable: true,
        set: |c, v| trust_proxy(&mut c.trusted_proxies, v),
        show: |c| c.trusted_proxies.iter().map(Network::to_string).collect::<Vec<_>>().join(","),
    },
    OptionSpec {
        flag: "registration",
        value_name: "open|closed",
        env: &["ROOMLOG_REGISTRATION"],
        help: "open: anybody may make an account",
        repeatable: false,
        set: |c, v| put(&mut c.is_registration_open, word(v, "open", "closed")),
        show: |c| if c.is_registration_open { "open".to_owned() } else { "closed".to_owned() },
    },
    OptionSpec {
        flag: "guests",
        value_name: "yes|no",
        env: &["ROOMLOG_GUESTS"],
        help: "take part without an account",
        repeatable: false,
        set: |c, v| put(&mut c.allows_guests, word(v, "yes", "no")),
        show: |c| if c.allows_guests { "yes".to_owned() } else { "no".to_owned() },
    },
    OptionSpec {
        flag: "token-age",
        value_name: "AGE",
        env: &["ROOMLOG_TOKEN_AGE"],
        help: "how long a login lasts",
        repeatable: false,
        set: |c, v| put(&mut c.token_age_ms, age(v).and_then(|age| age.ok_or_else(|| "is no time: write 30d".into()))),
        show: |c| age_text(c.token_age_ms),
    },
    OptionSpec {
        flag: "linger",
        value_name: "MS",
        env: &["ROOMLOG_LINGER"],
        help: "how long a busy room may gather messages",
        repeatable: false,
        set: |c, v| put(&mut c.linger_ms, number(v, 0, limits::LINGER_MS_CEILING)),
        show: |c| c.linger_ms.to_string(),
    },
    OptionSpec {
        flag: "max-content",
        value_name: "BYTES",
        env: &["ROOMLOG_MAX_CONTENT"],
        help: "longest message content",
        repeatable: false,
        set: |c, v| put(&mut c.content_bytes_max, number(v, 1, limits::CONTENT_BYTES_CEILING)),
        show: |c| c.content_bytes_max.to_string(),
    },
    OptionSpec {
        flag: "retain-age",
        value_name: "AGE",
        env: &["ROOMLOG_RETAIN_AGE"],
        help: "drop older messages, as 90d; 0 = never",
        repeatable: false,
        set: |c, v| put(&mut c.retain_age_ms, age(v)),
        show: |c| c.retain_age_ms.map_or_else(|| "0".to_owned(), age_text),
    },
    OptionSpec {
        flag: "retain-messages",
        value_name: "N",
        env: &["ROOMLOG_RETAIN_MESSAGES"],
        help: "keep the last N of each room; 0 = all",
        repeatable: false,
        set: |c, v| put(&mut c.retain_messages, number(v, 0, u64::MAX).map(positive)),
        show: |c| c.retain_messages.unwrap_or(0).to_string(),
    },
    OptionSpec {
        flag: "retain-bytes",
        value_name: "SIZE",
        env: &["ROOMLOG_RETAIN_BYTES"],
        help: "keep the last SIZE of each room; 0 = all",
        repeatable: false,
        set: |c, v| put(&mut c.retain_bytes, size(v).map(positive)),
        show: |c| c.retain_bytes.map_or_else(|| "0".to_owned(), size_text),
    },
    OptionSpec {
        flag: "tls-cert",
        value_name: "FILE",
        env: &["ROOMLOG_TLS_CERT"],
        help: "serve https with this certificate (PEM)",
        repeatable: false,
        set: |c, v| put(&mut c.tls_cert, tls_file(v).map(Some)),
        show: |c| path_text(c.tls_cert.as_deref()),
    },
    OptionSpec {
        flag: "tls-key",
        value_name: "FILE",
        env: &["ROOMLOG_TLS_KEY"],
        help: "its private key (PEM)",
        repeatable: false,
        set: |c, v| put(&mut c.tls_key, tls_file(v).map(Some)),
        show: |c| path_text(c.tls_key.as_deref()),
    },
    OptionSpec {
        flag: "allow-origin",
        value_name: "ORIGIN",
        env: &["ROOMLOG_ALLOW_ORIGIN"],
        help: "let its pages connect; repeatable, * = any",
        repeatable: true,
        set: |c, v| allow_origin(&mut c.allow_origin, v),
        show: |c| c.allow_origin.to_string(),
    },
    OptionSpec {
        flag: "public",
        value_name: "DIR",
        env: &["ROOMLOG_PUBLIC"],
        help: "serve the page from DIR, to work on it",
        repeatable: false,
        set: |c, v| put(&mut c.public, folder(v).map(Some)),
        show: |c| path_text(c.public.as_deref()),
    },
    OptionSpec {
        flag: "log-level",
        value_name: "error|warn|info|debug|trace",
        env: &["ROOMLOG_LOG_LEVEL"],
        help: "least severe to be logged",
        repeatable: false,
        set: |c, v| put(&mut c.log_level, log_level(v)),
        show: |c| c.log_level.as_str().to_lowercase(),
    },
];

/// The options of `roomlog healthcheck`: where [`SERVE`] says the server listens.
pub static HEALTHCHECK: &[OptionSpec<Healthcheck>] = &[
    OptionSpec {
        flag: "port",
        value_name: "PORT",
        env: PORT_ENV,
        help: "port of the server",
        repeatable: false,
        set: |c, v| put(&mut c.port, port(v)),
        show: |c| c.port.to_string(),
    },
    OptionSpec {
        flag: "bind",
        value_name: "ADDR",
        env: BIND_ENV,
        help: "address it listens on",
        repeatable: false,
        set: |c, v| put(&mut c.bind, ip(v)),
        show: |c| c.bind.to_string(),
    },
];

static SERVE_COMMAND: CommandSpec = CommandSpec {
    name: "serve",
    help: "run the server",
    about: "Runs the server until SIGTERM or SIGINT.",
    words: "",
    actions: no_actions,
    options: || rows(SERVE, &Config::default()),
    notes: "A TIME reads 500ms, 30s, 5m or 2h; an AGE also 90d; a SIZE 500M or 2G. Each\n\
            option is also a variable, as ROOMLOG_GRACE=60s (and PORT); a flag beats it.\n",
    parse: serve,
};

static HEALTHCHECK_COMMAND: CommandSpec = CommandSpec {
    name: "healthcheck",
    help: "ask a running server how it is",
    about: "Asks a running server for GET /healthz; exits with 0 if it is well, else with 1.",
    words: "",
    actions: no_actions,
    options: || rows(HEALTHCHECK, &Healthcheck::default()),
    notes: "Each option is also an environment variable, as ROOMLOG_PORT (and PORT).\n",
    parse: healthcheck,
};

impl Config {
    /// Reads a command line (without the program's name) over an environment.
    ///
    /// # Errors
    /// The first thing that cannot be used, worded for the operator; exit with 2.
    pub fn parse(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Invocation, UsageError> {
        let mut args: Vec<OsString> = args.into_iter().collect();
        let is_word = args.first().is_some_and(|arg| !arg.as_encoded_bytes().starts_with(b"-"));
        let name = if is_word { printable(&args.remove(0)) } else { COMMANDS[0].name.to_owned() };
        let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
            let nearest = nearest(&name, COMMANDS.iter().map(|command| command.name)).map(str::to_owned);
            return Err(UsageError::UnknownCommand { command: name, nearest });
        };
        (command.parse)(&mut lexopt::Parser::from_args(args), &env)
    }

    /// Where to listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }

    /// The files of the TLS certificate and of its key, if TLS is to be spoken.
    #[must_use]
    pub fn tls_files(&self) -> Option<(&Path, &Path)> {
        self.tls_cert.as_deref().zip(self.tls_key.as_deref())
    }

    /// Sustained messages per second and account; 0 is no limit.
    #[must_use]
    pub fn account_rate_per_second(&self) -> u32 {
        self.account_rate.unwrap_or(self.rate_per_second.saturating_mul(limits::ACCOUNT_RATE_FACTOR))
    }

    /// Sustained messages per second and address; 0 is no limit.
    #[must_use]
    pub fn address_rate_per_second(&self) -> u32 {
        self.address_rate.unwrap_or(self.rate_per_second.saturating_mul(limits::ADDRESS_RATE_FACTOR))
    }

    /// Connections of one address at once; 0 is no bound. Whoever asks for no limit of the rate measures the server, often
    /// from one machine, and is not meant to be stopped by another bound.
    #[must_use]
    pub fn connections_per_address_max(&self) -> u32 {
        let default = if self.rate_per_second == 0 { 0 } else { limits::CONNECTIONS_PER_ADDRESS_MAX };
        self.connections_per_address.unwrap_or(default)
    }

    /// Largest frame a client may send, in bytes: grows with the content, which JSON escapes may double.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        limits::MESSAGE_BYTES_MAX.max(2 * self.content_bytes_max + ENVELOPE_BYTES_MAX)
    }
}

fn serve(parser: &mut lexopt::Parser, env: Environment<'_>) -> Result<Invocation, UsageError> {
    let mut config = Config::default();
    match fill(&mut config, SERVE, parser, env)? {
        Outcome::Help => Ok(Invocation::Help(SERVE_COMMAND.help_text())),
        Outcome::Version => Ok(Invocation::Version),
        Outcome::Filled { origins } => {
            check_relations(&config, &origins)?;
            Ok(Invocation::Serve(Box::new(config)))
        }
    }
}

fn healthcheck(parser: &mut lexopt::Parser, env: Environment<'_>) -> Result<Invocation, UsageError> {
    let mut target = Healthcheck::default();
    match fill(&mut target, HEALTHCHECK, parser, env)? {
        Outcome::Help => Ok(Invocation::Help(HEALTHCHECK_COMMAND.help_text())),
        Outcome::Version => Ok(Invocation::Version),
        Outcome::Filled { .. } => Ok(Invocation::Healthcheck(target)),
    }
}

/// A path, or nothing where there is none.
fn path_text(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| path.display().to_string())
}

fn check_relations(config: &Config, origins: &[String]) -> Result<(), UsageError> {
    let origin = |flag: &str| {
        let row = SERVE.iter().position(|spec| spec.flag == flag).expect("the relations name flags of the table");
        &origins[row]
    };
    if config.offline_timeout_ms <= config.heartbeat_ms {
        return Err(UsageError::Conflict(format!(
            "{} ({}) must be longer than {} ({}): a ping must have time to be answered",
            origin("offline-timeout"),
            duration_text(config.offline_timeout_ms),
            origin("heartbeat"),
            duration_text(config.heartbeat_ms),
        )));
    }
    let (given, missing) = match (&config.tls_cert, &config.tls_key) {
        (Some(_), None) => (origin("tls-cert"), "--tls-key FILE"),
        (None, Some(_)) => (origin("tls-key"), "--tls-cert FILE"),
        _ => return Ok(()),
    };
    Err(UsageError::Conflict(format!("{given} needs {missing}: TLS takes a certificate and its key")))
}

fn put<V>(place: &mut V, value: Result<V, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

#[cfg(test)]
mod tests;
