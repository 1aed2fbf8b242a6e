"""The parts of `benches/growth`: each starts servers of its own and returns figures by the number of connections or of
messages.

Owns: what is done to a server, and in which order. Must never know: how figures are shown.
"""
import shutil
import subprocess
import sys
import tempfile
import time

import load
import measure
from crowd import Crowd, count_messages, open_socket, text_frame
from measure import Folder, Server, Trouble, median, number

ROOM_SIZE = 10
BYTES_PER_MESSAGE = 250
QUIET_S = 1.2
"""Longer than the pause between two presence events of a room."""
HEARTBEAT_S = 3
KERNEL_FROM = 5_000
"""Connections from which the kernel's memory for them can be told from what else it does."""
SEQUENCE = b'"sequence":'


def server(binary, data, heartbeat="1h"):
    """No bound on the rate, and no heartbeat within a run unless it is what is measured."""
    return Server([binary, "--port", "0", "--bind", "127.0.0.1", "--data", data, "--rate", "0", "--log-level", "warn",
                   "--heartbeat", heartbeat, "--offline-timeout", "2h"])


def progress(text):
    print(text, file=sys.stderr, flush=True)


def measure_delivery(binary, counts, seconds):
    """One sender in a room of all, and rooms of ten in which many talk: µs of the server's core per delivery."""
    shapes = {
        "one room": lambda count: ["--rooms", "1", "--senders", "1"],
        "rooms of ten": lambda count: ["--rooms", str(count // ROOM_SIZE), "--senders", str(min(64, count))],
    }
    found = {}
    for count in counts:
        for name, shape in shapes.items():
            arguments = ["--conns", str(count), *shape(count), "--closed", "--window", "1", "--size", "64"]
            with Folder() as data, server(binary, data) as running:
                figures = load.run(binary, running, arguments + load.times(0.5, seconds))
            found.setdefault(count, {})[name] = figures["cpu_us_per_delivery"]
            progress(f"delivery, {count} connections, {name}: {number(found[count][name])} µs")
    return found


def in_small_rooms(number):
    return f"/?user=u{number}&room=r{number // ROOM_SIZE}"


def measure_idle(binary, counts):
    """Joined in rooms of ten, silent but for heartbeats: bytes per connection in the server, and in the kernel for both
    ends; µs of the server's core per heartbeat, which is a ping and an event out and a pong in."""
    found = {}
    for count in counts:
        with Folder() as data, server(binary, data, f"{HEARTBEAT_S}s") as running:
            with Crowd(running.port, 1, lambda number: "/?user=first&room=first") as first:
                first.drain(QUIET_S)
                before, kernel_before = running.resident_bytes(), measure.kernel_bytes()
                with Crowd(running.port, count, in_small_rooms) as crowd:
                    crowd.answer_pings(HEARTBEAT_S)
                    cpu = running.cpu_s()
                    pings = crowd.answer_pings(2 * HEARTBEAT_S)
                    heartbeat_us = (running.cpu_s() - cpu) * 1e6 / pings
                    kernel = measure.kernel_bytes()
                    found[count] = {
                        "process": (running.resident_bytes() - before) / count,
                        **{key: (kernel[key] - kernel_before[key]) / count if count >= KERNEL_FROM else None
                           for key in kernel},
                        "heartbeat_us": heartbeat_us,
                    }
        figures = ", ".join(f"{key} {number(value)}" for key, value in found[count].items())
        progress(f"idle, {count} connections: {figures}")
    return found


def measure_join(binary, counts):
    """All connect; then all join one room at the same time. µs of the server's core for each, seconds to the last ack."""
    found = {}
    for count in counts:
        with Folder() as data, server(binary, data) as running:
            idle = running.cpu_s()
            with Crowd(running.port, count) as crowd:
                crowd.drain(0.1)
                cpu, started, received = running.cpu_s(), time.perf_counter(), crowd.received_bytes
                crowd.send(range(count), lambda number: '{"type":"join","room":"everybody","id":1}')
                crowd.wait_for(b'"type":"ack"', range(count))
                joined_s = time.perf_counter() - started
                crowd.drain(QUIET_S)
                found[count] = {
                    "connect_us": (cpu - idle) * 1e6 / count,
                    "join_us": (running.cpu_s() - cpu) * 1e6 / count,
                    "joined_s": joined_s,
                    "received": (crowd.received_bytes - received) / count,
                }
        progress(f"join, {count} members: {found[count]['join_us']:.1f} µs each, the last after {joined_s:.2f} s")
    return found


def fill(binary, data, count):
    """Stores so many messages with `roomlog log import`; returns the seconds it took."""
    started = time.perf_counter()
    command = [binary, "log", "import", "long", "--data", data]
    importing = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    line = b'{"user":"user-%d","content":"The quick brown fox jumps over the lazy dog, and rests.","timestamp":%d}\n'
    for first in range(0, count, 1000):
        block = range(first, min(first + 1000, count))
        importing.stdin.write(b"".join(line % (at % 50, 1_790_000_000_000 + at) for at in block))
    importing.stdin.close()
    if importing.wait() != 0:
        raise Trouble("roomlog log import failed")
    return time.perf_counter() - started


def join_and_read(running, command, messages):
    """Seconds from the command until so many messages have been read, and their bytes."""
    with open_socket(running.port, 0, "/?user=reader") as reader:
        count_messages(reader, b'"connected"', 1)
        started = time.perf_counter()
        reader.sendall(text_frame(command))
        received = count_messages(reader, SEQUENCE, messages)
        return time.perf_counter() - started, received


def replay(binary, data, count):
    with server(binary, data) as running:
        before, cpu = running.resident_bytes(), running.cpu_s()
        seconds, received = join_and_read(running, '{"type":"join","room":"long","since":0}', count)
        return {"replay_ms": seconds * 1e3, "cpu_ns": (running.cpu_s() - cpu) * 1e9 / count,
                "bytes": received / count, "grown": running.peak_bytes() - before}


def start(binary, data):
    """Milliseconds from exec to the listener, and to the first 50 messages in a client's hands."""
    with server(binary, data) as running:
        join_and_read(running, '{"type":"join","room":"long"}', 50)
        return {"listening_ms": running.listening_ms, "first_ms": (time.perf_counter() - running.started) * 1e3}


def crash(binary, data):
    """Says something that is acknowledged, and ends the process without notice."""
    with server(binary, data) as running:
        with open_socket(running.port, 0, "/?user=writer&room=long") as writer:
            count_messages(writer, SEQUENCE, 50)
            writer.sendall(text_frame('{"type":"message","room":"long","content":"the last words","id":1}'))
            count_messages(writer, b'"type":"ack"', 1)
        running.kill()


def measure_log(binary, counts, repeats):
    """Replay of a whole log, start on it after a clean end, and after a crash. The files are in the page cache."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < 1.2 * BYTES_PER_MESSAGE * max(counts):
        raise Trouble(f"{tempfile.gettempdir()} has {free >> 20} MiB free; {max(counts):,} messages need more")
    found = {}
    for count in counts:
        with Folder() as data:
            filled_s = fill(binary, data, count)
            replays = [replay(binary, data, count) for _ in range(repeats)]
            starts = [start(binary, data) for _ in range(repeats)]
            crashed = []
            for _ in range(repeats):
                crash(binary, data)
                crashed.append(start(binary, data))
        found[count] = {key: median([one[key] for one in replays]) for key in replays[0]}
        found[count].update({key: median([one[key] for one in starts]) for key in starts[0]})
        found[count]["crashed_ms"] = median([one["first_ms"] for one in crashed])
        found[count]["filled_s"] = filled_s
        progress(f"log, {count} messages: " + ", ".join(f"{key} {number(value)}" for key, value in found[count].items()))
    return found
