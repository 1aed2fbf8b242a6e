//! The real binary under test: started on a free port over a fresh data folder, gone with its guard.
//!
//! Owns: the process, its folder, its output. Nothing here sleeps: an exit is the end of the child's output.

#![allow(dead_code, reason = "each test file uses its part of it")]

pub mod client;
pub mod raw;
pub mod rest;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

pub use client::Client;
pub use rest::Rest;

/// How long anything that must happen may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// What the service promises for its end.
pub const EXIT_WITHIN: Duration = Duration::from_secs(5);

/// A data folder of its own, removed with the guard unless the test failed.
pub struct Data(PathBuf);

impl Data {
    /// An empty folder under the build's own temporary one, which is on a real disk.
    pub fn fresh() -> Data {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("roomlog-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder for the test");
        Data(path)
    }

    /// The folder given to `--data`.
    pub fn path(&self) -> PathBuf {
        self.0.join("data")
    }

    /// The folder around it, in which nothing else may appear.
    pub fn around(&self) -> &Path {
        &self.0
    }

    /// The folder of a room.
    pub fn room(&self, escaped: &str) -> PathBuf {
        self.path().join("rooms").join(escaped)
    }

    /// A room's log files, the earliest first.
    pub fn segments(&self, escaped: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.room(escaped)).expect("the room has a folder");
        let paths = entries.map(|entry| entry.expect("a readable folder").path());
        let mut logs: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|ext| ext == "log")).collect();
        logs.sort();
        logs
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A running server. Dropped, it is killed, and the test fails if it had died by itself.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    output: Option<JoinHandle<String>>,
    ended: Receiver<()>,
    over: bool,
    /// The folder given to `--data`.
    folder: PathBuf,
    /// Last, so that the process is gone before its folder is.
    data: Option<Data>,
}

impl Server {
    /// A server on a data folder of its own.
    pub fn start(flags: &[&str]) -> Server {
        let data = Data::fresh();
        let mut server = Server::on(&data, flags);
        server.data = Some(data);
        server
    }

    /// A server on a data folder that outlives it.
    pub fn on(data: &Data, flags: &[&str]) -> Server {
        Server::run(command(data, flags), data)
    }

    /// A server with these variables in its environment.
    pub fn with_variables(data: &Data, flags: &[&str], variables: &[(&str, &str)]) -> Server {
        let mut server = command(data, flags);
        server.envs(variables.iter().copied());
        Server::run(server, data)
    }

    /// A server that may have so many descriptors only.
    pub fn with_descriptors(data: &Data, count: u32) -> Server {
        let server = command(data, &[]);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("ulimit -n {count} && exec \"$0\" \"$@\"")]).arg(server.get_program());
        shell.args(server.get_args()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Server::run(shell, data)
    }

    fn run(mut command: Command, data: &Data) -> Server {
        let mut child = command.spawn().expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take().expect("piped");
        let output = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the binary's output is readable");
        let address = line.trim_end().strip_prefix("listening on http");
        let Some(address) = address.and_then(|rest| rest.strip_prefix("://").or(rest.strip_prefix("s://"))) else {
            let _ = child.kill();
            panic!("instead of its address it said {line:?} and {}", output.join().expect("read to its end"));
        };
        let address = address.parse().expect("an address and a port");
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            let _ = stdout.read_to_end(&mut Vec::new());
            let _ = sender.send(());
        });
        Server { child, address, output: Some(output), ended, over: false, folder: data.path(), data: None }
    }

    /// A client with this name.
    pub fn client(&self, user: &str) -> Client {
        Client::connect(self.address, &format!("/?user={user}"))
    }

    /// The REST interface, for somebody without an account.
    pub fn rest(&self) -> Rest {
        Rest::new(self.address)
    }

    /// The REST interface, for whoever can read the data folder.
    pub fn operator(&self) -> Rest {
        let text = fs::read_to_string(self.folder.join("control")).expect("a running server tells how to reach it");
        let control: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(control["address"], self.address.to_string());
        self.rest().with(control["token"].as_str().expect("a token"))
    }

    /// How long the turns of its loop took so far, for people.
    pub fn turns(&self) -> String {
        let text = String::from_utf8(self.rest().get("/metrics").body).expect("text");
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("roomlog_turn_seconds{name} ")));
            line.map_or(0, |number| number.parse::<u64>().expect("a count"))
        };
        let (all, short) = (of("_count"), of("_bucket{le=\"0.01\"}"));
        format!("{all} turns, {} over 10 ms, {} over 25 ms", all - short, all - of("_bucket{le=\"0.025\"}"))
    }

    /// The data folder of a server that has its own.
    pub fn data(&self) -> &Data {
        self.data.as_ref().expect("a server made by start")
    }

    /// Asks it to end, and returns at once.
    pub fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("the child is ours until it is waited for");
    }

    /// What Ctrl-C sends, and returns at once.
    pub fn interrupt(&self) {
        kill_process(self.pid(), Signal::INT).expect("the child is ours until it is waited for");
    }

    /// SIGKILL, and returns at once.
    pub fn crash(&self) {
        kill_process(self.pid(), Signal::KILL).expect("the child is ours until it is waited for");
    }

    /// Any signal, and returns at once.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child is ours until it is waited for");
    }

    /// SIGTERM: it must end by itself in time, with 0. Returns what it wrote to stderr.
    pub fn stop(mut self) -> String {
        self.terminate();
        let (status, output) = self.wait();
        assert_eq!(status.code(), Some(0), "exit after SIGTERM: {output}");
        output
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub fn kill(mut self) -> String {
        self.crash();
        self.wait().1
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        self.ended.recv_timeout(EXIT_WITHIN).expect("it ends within five seconds");
        let status = self.child.wait().expect("waited for once");
        self.over = true;
        (status, self.output.take().expect("read once").join().expect("read to its end"))
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a living process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number of KiB");
        kib * 1024
    }

    /// Processor time used so far, in milliseconds (to ten of them).
    pub fn processor_ms(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a living process");
        // Behind the name, which may hold anything: user and system time are the 12th and 13th (proc_pid_stat(5)).
        let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
        let times = fields.split_whitespace().skip(11).take(2);
        times.map(|ticks| ticks.parse::<u64>().expect("a number of ticks") * 10).sum()
    }

    /// The process's number, for tools that look at it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let died = self.child.try_wait().expect("waited for once");
        let _ = self.child.kill();
        let _ = self.child.wait();
        let output = self.output.take().expect("read once").join().unwrap_or_default();
        if thread::panicking() {
            eprintln!("the server's output:\n{output}");
        } else {
            assert!(died.is_none(), "the server died ({died:?}):\n{output}");
            assert!(!output.contains("panicked"), "the server panicked:\n{output}");
        }
    }
}

/// The binary: cargo's, or for figures another build, as `ROOMLOG_BIN` says.
fn binary() -> OsString {
    env::var_os("ROOMLOG_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_roomlog").into())
}

/// The binary's command line, with nothing inherited from the caller's environment.
pub fn command(data: &Data, flags: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(["--port", "0", "--bind", "127.0.0.1", "--data"]).arg(data.path()).args(flags).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The binary as an operator's command over a data folder: nobody at a terminal, nothing in the environment.
pub fn operator_command(command: &str, data: &Path, args: &[&str]) -> Command {
    let mut binary = Command::new(binary());
    binary.arg(command).args(args).arg("--data").arg(data).env_clear().stdin(Stdio::null());
    binary.stdout(Stdio::piped()).stderr(Stdio::piped());
    binary
}

/// How a command ended: exit status, standard output, standard error.
pub fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (output.status.code().expect("an exit, not a signal"), text(&output.stdout), text(&output.stderr))
}
