//! What TLS costs the server beside plain TCP: memory per idle connection, processor time per handshake and per delivery.
//!
//! `cargo bench --features rustls --bench tls`, or with another number of idle connections
//! `cargo bench --features rustls --bench tls -- 5000`. Both kinds take turns on servers of their own, and the figure is the
//! median of the rounds. Memory is resident (`VmRSS`), so user space only; time is that of all the server's threads
//! (`schedstat`). Linux only.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

const IDLE: u32 = 2_000;
const ROUNDS: usize = 5;
/// Connections per source address, as few as the server takes.
const PER_ADDRESS: u32 = 1_000;
const MEMBERS: u32 = 64;
const CONTENT_BYTES: usize = 100;
/// What is in each of these messages, and in no announcement.
const SAID: &str = "xxxxxxxx";
/// Deliveries that are measured, by how many messages are sent at once: alone each is a write of its own.
const BURSTS: [(u32, u32); 2] = [(1, 400), (32, 120)];

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

type Client = WebSocket<Box<dyn Stream>>;

/// A server of its own, with a data folder of its own. Both end with it.
struct Server {
    child: Child,
    data: PathBuf,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Server {
    fn start(with_tls: bool) -> io::Result<Server> {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}", std::process::id()));
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(&data)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
        command.args(["--port", "0", "--bind", "127.0.0.1", "--log-level", "error", "--rate", "0", "--fsync", "never"]);
        command.args(["--heartbeat", "5s", "--offline-timeout", "300s", "--data"]).arg(&data);
        let mut tls = None;
        if with_tls {
            let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name);
            command.arg("--tls-cert").arg(file("first.pem")).arg("--tls-key").arg(file("first.key"));
            tls = Some(trusting(&file("first.pem")));
        }
        let mut child = command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let address = line.trim().rsplit('/').next().and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address: {line:?}"));
        Ok(Server { child, data, address, tls })
    }

    fn resident_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        Ok(kib.map(|kib: u64| kib * 1024).expect("a process has a VmRSS"))
    }

    /// Time that its threads were on a processor, in nanoseconds.
    fn processor_ns(&self) -> io::Result<u64> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let times = fs::read_to_string(task?.path().join("schedstat"))?;
            sum += times.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).expect("a number first");
        }
        Ok(sum)
    }

    /// A WebSocket that has joined a room and heard all that belongs to it.
    fn join(&self, number: u32, room: &str) -> io::Result<Client> {
        let source = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number / PER_ADDRESS).expect("few enough connections"));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&self.address.into())?;
        socket.set_tcp_nodelay(true)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let stream: Box<dyn Stream> = match &self.tls {
            Some(config) => {
                let name = ServerName::try_from("localhost").expect("a name");
                let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(session, stream))
            }
            None => Box::new(stream),
        };
        let url = format!("ws://localhost/?user=user-{number}&room={room}");
        let request = url.into_client_request().map_err(io::Error::other)?;
        let (mut client, _) =
            tungstenite::client(request, stream).map_err(|error| io::Error::other(error.to_string()))?;
        hear(&mut client, "\"ephemeral\":true}}", 1);
        Ok(client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

fn trusting(cert: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).expect("a certificate")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("known versions").with_root_certificates(roots).with_no_client_auth();
    // Each handshake is a whole one.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// Reads until so many events had these words.
fn hear(client: &mut Client, words: &str, count: u32) {
    let mut heard = 0;
    while heard < count {
        if let Message::Text(text) = client.read().expect("the connection stays") {
            heard += u32::from(text.contains(words));
        }
    }
}

/// Per idle connection: bytes of memory, and nanoseconds to connect, shake hands, upgrade and join.
fn idle(with_tls: bool, connections: u32) -> io::Result<(f64, f64)> {
    let server = Server::start(with_tls)?;
    // The first connections bring in what the server needs once.
    let mut clients: Vec<Client> = Vec::new();
    for number in 0..8 {
        clients.push(server.join(number, &format!("room-{number}"))?);
    }
    let (memory, time) = (server.resident_bytes()?, server.processor_ns()?);
    for number in 8..8 + connections {
        clients.push(server.join(number, &format!("room-{number}"))?);
    }
    let time = server.processor_ns()? - time;
    for client in &mut clients {
        hear(client, "\"heartbeat\"", 1);
    }
    let memory = server.resident_bytes()?.saturating_sub(memory);
    Ok((memory as f64 / f64::from(connections), time as f64 / f64::from(connections)))
}

/// A member that says when it has heard as many messages as it is told to expect.
fn listen(mut client: Client, bursts: &Receiver<u32>, done: &Sender<()>) {
    for burst in bursts {
        hear(&mut client, SAID, burst);
        done.send(()).expect("the bench waits");
    }
}

/// Nanoseconds of the server per delivery to one room of [`MEMBERS`], for each of [`BURSTS`].
fn fan_out(with_tls: bool) -> io::Result<Vec<f64>> {
    let server = Server::start(with_tls)?;
    let mut sender = server.join(0, "elsewhere")?;
    let clients = (1..=MEMBERS).map(|number| server.join(number, "room")).collect::<io::Result<Vec<_>>>()?;
    let (done, is_done) = mpsc::channel();
    let mut members = Vec::new();
    for mut client in clients {
        let (bursts, told) = mpsc::channel();
        let done = done.clone();
        // What belongs to the joins of the others is before the first message.
        members.push(bursts);
        thread::spawn(move || {
            client.flush().expect("the connection stays");
            listen(client, &told, &done);
        });
    }
    sender.send(Message::text(r#"{"type":"join","room":"room"}"#)).map_err(io::Error::other)?;
    let message = format!(r#"{{"type":"message","data":{{"room":"room","content":"{}"}}}}"#, "x".repeat(CONTENT_BYTES));
    let mut round = |burst: u32| {
        members.iter().for_each(|member| member.send(burst).expect("it listens"));
        for _ in 0..burst {
            sender.write(Message::text(message.as_str())).expect("the connection stays");
        }
        sender.flush().expect("the connection stays");
        hear(&mut sender, SAID, burst);
        members.iter().for_each(|_| is_done.recv().expect("it listens"));
    };
    let mut figures = Vec::new();
    for (burst, rounds) in BURSTS {
        (0..20).for_each(|_| round(burst));
        let before = server.processor_ns()?;
        (0..rounds).for_each(|_| round(burst));
        let deliveries = u64::from(rounds * burst) * u64::from(MEMBERS + 1);
        figures.push((server.processor_ns()? - before) as f64 / deliveries as f64);
    }
    Ok(figures)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> io::Result<()> {
    let connections = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(IDLE);
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    // Per kind: memory, time of a connection, time of a delivery for each burst.
    let mut figures = [vec![Vec::new(); 4], vec![Vec::new(); 4]];
    for round in 0..ROUNDS {
        for kind in [round % 2, 1 - round % 2] {
            let (memory, time) = idle(kind == 1, connections)?;
            let all = [vec![memory, time], fan_out(kind == 1)?].concat();
            figures[kind].iter_mut().zip(all).for_each(|(list, figure)| list.push(figure));
        }
    }
    let [plain, tls] = figures.map(|kind| kind.into_iter().map(median).collect::<Vec<_>>());
    println!("{connections} idle connections, a room of {}, {ROUNDS} rounds; plain, TLS:", MEMBERS + 1);
    println!("  memory of an idle connection     {:>8.0} {:>8.0} bytes", plain[0], tls[0]);
    println!("  connecting and joining           {:>8.1} {:>8.1} µs", plain[1] / 1e3, tls[1] / 1e3);
    for (at, (burst, _)) in BURSTS.iter().enumerate() {
        let (plain, tls) = (plain[2 + at] / 1e3, tls[2 + at] / 1e3);
        println!("  a delivery, {burst:>2} messages at once  {plain:>8.2} {tls:>8.2} µs");
    }
    Ok(())
}
