//! What history costs the real server: replaying it to a reader, starting on top of it, having it lie there; and what an
//! ack costs beside the sync it waits for.
//!
//! `cargo bench --bench history [-- replay|start|idle|ack]`; files go to `$TMPDIR`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use roomlog::clock::Now;
use roomlog::log::{Options, RealDisk, Retention, Store, SyncPolicy};
use roomlog::protocol::{MessageIdentity, StoredMessage, encode_message};

const ROUNDS: usize = 7;
const NOW: Now = Now::at(0, 1_795_442_400_000);

type Bench = fn(&Path);

fn main() {
    let dir = std::env::temp_dir().join(format!("roomlog-history-{}", std::process::id()));
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let benches: [(&str, Bench); 4] = [("replay", replay), ("start", start), ("idle", idle), ("ack", ack)];
    for (name, bench) in benches {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            fs::create_dir_all(&dir).expect("the temporary folder is writable");
            bench(&dir);
            fs::remove_dir_all(&dir).expect("the folder is ours");
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q) as usize]
}

/// Stores `count` messages of about 220 bytes in each of the rooms, and ends cleanly.
fn fill(dir: &Path, rooms: impl Iterator<Item = String>, count: u64) {
    let options = Options {
        dir: dir.into(),
        policy: SyncPolicy::Never,
        segment_bytes: 64 << 20,
        files_open_max: 64,
        retention: Retention::default(),
        run_id: 1,
        opened: NOW,
    };
    let mut store = Store::open(RealDisk, options).expect("the data folder opens");
    let (content, mut payload) = ("x".repeat(60), Vec::new());
    for room in rooms {
        let id = store.open_room(&room, 7, NOW).expect("the room opens");
        let epoch = store.position(id).epoch;
        for sequence in 1..=count {
            let message = StoredMessage {
                id: MessageIdentity { epoch, sequence },
                room: &room,
                user: "alice",
                content: &content,
                sequence,
                timestamp: NOW.unix_ms,
                nonce: None,
                change: None,
            };
            payload.clear();
            encode_message(&message, &mut payload);
            store.append(id, sequence, &payload).expect("the record is taken");
            if sequence % 64 == 0 || sequence == count {
                store.write_dirty(NOW, &mut Vec::new());
                while let Some(batch) = store.next_sync(NOW) {
                    store.synced(batch.run(), NOW, &mut Vec::new());
                    store.write_dirty(NOW, &mut Vec::new());
                }
            }
        }
        store.close_room(id);
    }
    store.shutdown(NOW).expect("the run ends cleanly");
}

struct Server {
    child: Child,
    port: u16,
    /// From the start of the process to its line on stdout.
    listening_ms: f64,
}

impl Server {
    fn on(data: &Path) -> Server {
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
        command.args(["--port", "0", "--bind", "127.0.0.1", "--rate", "0", "--log-level", "error", "--data"]).arg(data);
        let mut child = command.env_clear().stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says where it is");
        let listening_ms = started.elapsed().as_secs_f64() * 1e3;
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        Server { child, port, listening_ms }
    }

    /// A WebSocket on which nothing was said yet.
    fn connect(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let head = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("it reads");
        read_until(&mut stream, b"\"connected\"");
        stream
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a living process");
        let line = status.lines().find(|line| line.starts_with(name)).expect("it has memory");
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("KiB")
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("a living process").count()
    }

    /// Time on a processor of its loop, in seconds.
    fn cpu(&self) -> f64 {
        on_cpu(&format!("/proc/{0}/task/{0}/schedstat", self.child.id()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("the child is ours");
    }
}

fn on_cpu(path: &str) -> f64 {
    let text = fs::read_to_string(path).expect("a living thread");
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).expect("nanoseconds") / 1e9
}

/// A masked text frame, with a mask of zeros.
fn frame(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81];
    match text.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len => bytes.extend([0xfe, (len >> 8) as u8, len as u8]),
    }
    bytes.extend([0; 4]);
    bytes.extend(text.as_bytes());
    bytes
}

/// Reads until some bytes have come; how many came in all.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> usize {
    let (mut buffer, mut carried, mut seen) = (vec![0; 256 * 1024 + 64], 0, 0);
    loop {
        let read = stream.read(&mut buffer[carried..]).expect("the server goes on");
        assert!(read > 0, "the server hung up");
        seen += read;
        let filled = carried + read;
        if memchr::memmem::find(&buffer[..filled], end).is_some() {
            return seen;
        }
        carried = filled.min(end.len());
        buffer.copy_within(filled - carried..filled, 0);
    }
}

fn replay(dir: &Path) {
    const MESSAGES: u64 = 1_000_000;
    fill(dir, ["bench".to_owned()].into_iter(), MESSAGES);
    let segments: Vec<_> = fs::read_dir(dir.join("rooms/bench")).expect("the room's folder").flatten().collect();
    let segments: Vec<_> =
        segments.iter().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "log")).collect();
    let (mut speed, mut cpu, mut grown) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ours_nanos, mut plain_nanos) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let server = Server::on(dir);
        let mut reader = server.connect();
        let (idle_kib, cpu_before, started) = (server.status_kib("VmRSS:"), server.cpu(), Instant::now());
        reader.write_all(&frame(r#"{"type":"join","room":"bench","since":0}"#)).expect("it reads");
        let bytes = read_until(&mut reader, b"\"more\":false") as f64;
        let (ours, ours_cpu) = (started.elapsed().as_secs_f64() / bytes, (server.cpu() - cpu_before) / bytes);
        grown.push(server.status_kib("VmHWM:") as f64 - idle_kib as f64);
        let (plain, plain_cpu) = sendfile(&segments);
        speed.push(plain / ours);
        cpu.push(plain_cpu / ours_cpu);
        ours_nanos.push(ours * bytes * 1e9 / MESSAGES as f64);
        plain_nanos.push(plain * bytes * 1e9 / MESSAGES as f64);
    }
    println!(
        "replay of {MESSAGES} messages: {:.0} ns per message, sendfile of as many bytes {:.0} ns: {:.0} % of its speed \
         ({:.0} % by processor time); memory over idle at most {:.0} KiB",
        median(ours_nanos),
        median(plain_nanos),
        100.0 * median(speed),
        100.0 * median(cpu),
        median(grown),
    );
}

/// Seconds per byte, and seconds on a processor per byte, of sending the files.
fn sendfile(paths: &[std::path::PathBuf]) -> (f64, f64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let mut stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (mut reader, _) = listener.accept().expect("it was connected to");
    let thread = thread::spawn(move || {
        let (mut buffer, mut seen) = (vec![0; 256 * 1024], 0);
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            seen += n;
        }
        seen
    });
    let (cpu, started) = (on_cpu("/proc/thread-self/schedstat"), Instant::now());
    for path in paths {
        // On Linux this is sendfile(2).
        std::io::copy(&mut File::open(path).expect("the segment is there"), &mut stream).expect("the sink reads");
    }
    let cpu = on_cpu("/proc/thread-self/schedstat") - cpu;
    drop(stream);
    let bytes = thread.join().expect("the sink ends") as f64;
    (started.elapsed().as_secs_f64() / bytes, cpu / bytes)
}

fn start(dir: &Path) {
    // 1,000 rooms of 1 MiB.
    fill(dir, (0..1000).map(|n| format!("room {n}")), 4_750);
    let bytes: u64 = fs::read_dir(dir.join("rooms"))
        .expect("rooms")
        .flatten()
        .map(|room| {
            fs::read_dir(room.path())
                .expect("a room")
                .flatten()
                .map(|f| f.metadata().expect("a file").len())
                .sum::<u64>()
        })
        .sum();
    report_start(dir, &format!("1,000 rooms, {} MiB", bytes >> 20));
}

fn idle(dir: &Path) {
    fill(dir, (0..100_000).map(|n| format!("room {n}")), 1);
    report_start(dir, "100,000 rooms");
    fs::remove_dir_all(dir).and_then(|()| fs::create_dir_all(dir)).expect("the folder is ours");
    report_start(dir, "no room");
}

fn report_start(dir: &Path, what: &str) {
    let (mut times, mut memory, mut descriptors) = (Vec::new(), Vec::new(), 0);
    for _ in 0..2 * ROUNDS {
        let server = Server::on(dir);
        times.push(server.listening_ms);
        memory.push(server.status_kib("VmRSS:") as f64);
        descriptors = server.descriptors();
    }
    println!(
        "start on {what}: listening after {:.1} ms, {:.0} KiB resident, {descriptors} descriptors",
        median(times),
        median(memory)
    );
}

/// Acks under a steady load, beside bare syncs of as many bytes at the same pace, in alternating rounds.
fn ack(dir: &Path) {
    let (mut ratios, mut acks, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    let server = Server::on(dir);
    for round in 0..ROUNDS {
        let mut bare = bare_syncs(&dir.join(format!("bare-{round}")));
        let mut ours = acked(&server);
        let (ours, bare) = (quantile(&mut ours, 0.99), quantile(&mut bare, 0.99));
        ratios.push(ours / bare);
        acks.push(ours);
        syncs.push(bare);
    }
    println!(
        "ack of 1,000 messages a second: p99 {:.2} ms; fdatasync at the same pace: p99 {:.2} ms; ratio {:.1}",
        median(acks),
        median(syncs),
        median(ratios)
    );
}

const PACE: Duration = Duration::from_millis(1);
const PACED: u32 = 2_000;

fn bare_syncs(path: &Path) -> Vec<f64> {
    let mut file = File::create(path).expect("the folder is writable");
    let started = Instant::now();
    let mut sync = |n| {
        thread::sleep((started + PACE * n).saturating_duration_since(Instant::now()));
        let at = Instant::now();
        file.write_all(&[b'x'; 250]).and_then(|()| file.sync_data()).expect("the disk syncs");
        at.elapsed().as_secs_f64() * 1e3
    };
    (0..PACED).map(&mut sync).collect()
}

fn acked(server: &Server) -> Vec<f64> {
    let mut writer = server.connect();
    writer.write_all(&frame(r#"{"type":"join","room":"paced","id":"j"}"#)).expect("it reads");
    read_until(&mut writer, b"\"id\":\"j\"");
    let reader = writer.try_clone().expect("a descriptor");
    let thread = thread::spawn(move || {
        let (mut reader, mut buffer, mut text, mut at) = (reader, vec![0; 64 * 1024], Vec::new(), Vec::new());
        while at.len() < PACED as usize {
            let read = reader.read(&mut buffer).expect("the server goes on");
            text.extend_from_slice(&buffer[..read]);
            let now = Instant::now();
            let found: Vec<usize> = memchr::memmem::find_iter(&text, b"\"type\":\"ack\"").collect();
            at.extend(found.iter().map(|_| now));
            let keep = found.last().map_or(text.len().saturating_sub(11), |last| last + 12);
            text.drain(..keep);
        }
        at
    });
    let (started, content) = (Instant::now(), "x".repeat(60));
    let send = |n| {
        thread::sleep((started + PACE * n).saturating_duration_since(Instant::now()));
        let at = Instant::now();
        let text = format!(r#"{{"type":"message","room":"paced","content":"{content}","id":{n}}}"#);
        (&writer).write_all(&frame(&text)).expect("the server reads");
        at
    };
    let sent: Vec<Instant> = (0..PACED).map(send).collect();
    let acked = thread.join().expect("every message is acknowledged");
    sent.iter().zip(acked).map(|(sent, acked)| (acked - *sent).as_secs_f64() * 1e3).collect()
}
