"""Many WebSockets in one process, for what has to be timed from the client's side: joining in a burst, lying idle, reading
a whole log.

Owns: the sockets and what each has seen. Must never know: what is measured with them. It is Python, so its own speed is
no figure of a server: servers are measured by the processor time they take.
"""
import select
import socket
import time

from measure import Trouble

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
PER_ADDRESS = 1_000
"""Connections from one source address: far below the number of ephemeral ports."""
CHUNK_BYTES = 1 << 20
PING = b"\x89\x00"
"""A server's ping without payload; no JSON text has such bytes."""
PONG = b"\x8a\x80" + bytes(4)


def text_frame(text):
    """A client's text frame; masked with zeros, so that the payload stands there as it is (RFC 6455, section 5.3)."""
    payload = text.encode()
    length = len(payload)
    head = bytes([0x81, 0x80 | length]) if length < 126 else b"\x81\xfe" + length.to_bytes(2, "big")
    return head + bytes(4) + payload


def open_socket(port, number, path):
    """Connects and asks for the upgrade; the answer is read later."""
    connection = socket.socket()
    connection.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.bind((f"127.0.0.{2 + number // PER_ADDRESS}", 0))
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n".encode())
    return connection


class Crowd:
    """So many connections, all upgraded; closed at the end of the `with`."""

    def __init__(self, port, count, path=lambda number: f"/?user=u{number}", patience_s=60.0):
        self.poll = select.epoll()
        self.sockets = []
        self.by_descriptor = {}
        self.patience_s = patience_s
        self.buffer = bytearray(CHUNK_BYTES)
        self.received_bytes = 0
        try:
            for first in range(0, count, 500):  # fewer than any backlog
                batch = range(first, min(first + 500, count))
                for number in batch:
                    connection = open_socket(port, number, path(number))
                    self.sockets.append(connection)
                    self.by_descriptor[connection.fileno()] = connection
                    self.poll.register(connection.fileno(), select.EPOLLIN)
                self.wait_for(b'"connected"', batch)
        except OSError as error:
            self.close()
            raise Trouble(f"connection {len(self.sockets) + 1} of {count}: {error}") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for connection in self.sockets:
            connection.close()
        self.poll.close()

    def send(self, numbers, text):
        """Sends each of these connections its own text."""
        for number in numbers:
            self.sockets[number].sendall(text_frame(text(number)))

    def wait_for(self, needle, numbers):
        """Reads all sockets until each of these has seen the needle."""
        missing = {self.sockets[number].fileno() for number in numbers}
        ends = dict.fromkeys(missing, b"")
        deadline = time.monotonic() + self.patience_s
        while missing:
            ready = self.poll.poll(max(0, deadline - time.monotonic()))
            if not ready:
                raise Trouble(f"{len(missing)} connections wait for {needle.decode()}")
            for descriptor, _ in ready:
                seen = self.read(descriptor)
                if descriptor in missing:
                    seen = ends[descriptor] + seen
                    if needle in seen:
                        missing.discard(descriptor)
                    ends[descriptor] = seen[-len(needle):]

    def read(self, descriptor):
        try:
            count = self.by_descriptor[descriptor].recv_into(self.buffer)
        except ConnectionError:
            count = 0
        if count == 0:
            raise Trouble("the server closed a connection")
        self.received_bytes += count
        return bytes(memoryview(self.buffer)[:count])

    def answer_pings(self, seconds):
        """Reads for so long, and answers each ping; returns how many came."""
        pings, end = 0, time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for descriptor, _ in self.poll.poll(left):
                if PING in self.read(descriptor):
                    self.by_descriptor[descriptor].sendall(PONG)
                    pings += 1
        return pings

    def drain(self, quiet_s):
        """Reads until nothing has come for so long."""
        while ready := self.poll.poll(quiet_s):
            for descriptor, _ in ready:
                self.read(descriptor)


def count_messages(connection, needle, count, patience_s=120.0):
    """Reads one socket until it has seen the needle so often; returns the bytes."""
    connection.settimeout(patience_s)
    buffer = bytearray(CHUNK_BYTES)
    kept, seen, received = 0, 0, 0
    while seen < count:
        try:
            got = connection.recv_into(memoryview(buffer)[kept:])
        except TimeoutError as error:
            raise Trouble(f"{count - seen} of {count} messages did not come within {patience_s:.0f} s") from error
        if got == 0:
            raise Trouble(f"the server closed the connection after {seen} of {count} messages")
        received += got
        end = kept + got
        seen += buffer.count(needle, 0, end)
        # What may be the beginning of another one.
        kept = min(len(needle) - 1, end)
        buffer[:kept] = buffer[end - kept:end]
    return received
