//! What the server costs while nobody says anything: memory per idle connection, time to start, size of the binary.
//!
//! `cargo bench --bench idle`, or with another number of connections `cargo bench --bench idle -- 5000`. The connections
//! are a process's own, each joined to a room of its own; what is measured is the server's resident memory (`VmRSS`), which
//! is user space only: a TCP connection costs the kernel some 4 KiB more. Linux only.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

const CONNECTIONS: u32 = 10_000;
/// Connections per source address: well below the number of ephemeral ports.
const PER_ADDRESS: u32 = 1_000;
const STARTS: usize = 50;
/// A masked pong without payload (RFC 6455 section 5.2).
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// A server of its own, with a data folder of its own. Both end with it.
struct Server {
    child: Child,
    data: PathBuf,
    address: SocketAddr,
    started_in: Duration,
}

impl Server {
    fn start(arguments: &[&str]) -> io::Result<Server> {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("idle-{}", std::process::id()));
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(&data)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
        command.args(["--port", "0", "--bind", "127.0.0.1", "--log-level", "error", "--data"]).arg(&data);
        command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let started_in = begun.elapsed();
        let address = line.trim().rsplit('/').next().and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address: {line:?}"));
        Ok(Server { child, data, address, started_in })
    }

    fn resident_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        Ok(kib.map(|kib: u64| kib * 1024).expect("a process has a VmRSS"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// A WebSocket that has joined room `number`.
fn join(server: SocketAddr, number: u32) -> io::Result<TcpStream> {
    let source = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number / PER_ADDRESS).expect("few enough connections"));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&server.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let head = format!(
        "GET /?user=user-{number}&room=room-{number} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    read_until(&mut stream, b"\"ephemeral\":true}}")?;
    Ok(stream)
}

/// Reads until what has arrived ends with `end`.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> io::Result<()> {
    let mut seen = Vec::new();
    let mut buffer = [0; 2048];
    while !seen.ends_with(end) {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => seen.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}

fn measure_memory(connections: u32) -> io::Result<()> {
    let server = Server::start(&["--heartbeat", "5s", "--offline-timeout", "60s"])?;
    // The first connection brings in what the server needs once.
    let mut streams = vec![join(server.address, 0)?];
    let before = server.resident_bytes()?;
    for number in 1..=connections {
        streams.push(join(server.address, number)?);
    }
    let joined = server.resident_bytes()?;
    for stream in &mut streams {
        read_until(stream, b"}}")?; // a heartbeat
        stream.write_all(&PONG)?;
    }
    let idle = server.resident_bytes()?;
    let each = |after: u64| after.saturating_sub(before) / u64::from(connections);
    println!("memory: {connections} connections, {} KiB before, {} KiB after", before / 1024, idle / 1024);
    println!("  {} bytes each when joined, {} bytes each after a heartbeat", each(joined), each(idle));
    Ok(())
}

fn measure_start() -> io::Result<()> {
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        times.push(Server::start(&[])?.started_in);
    }
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, slowest) = (ms(times[STARTS / 2]), ms(times[STARTS - 1]));
    println!("start: {median:.1} ms from exec to listening, {slowest:.1} ms at most, of {STARTS}");
    Ok(())
}

fn main() -> io::Result<()> {
    let connections = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(CONNECTIONS);
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    println!("binary: {} bytes", fs::metadata(env!("CARGO_BIN_EXE_roomlog"))?.len());
    measure_start()?;
    measure_memory(connections)
}
