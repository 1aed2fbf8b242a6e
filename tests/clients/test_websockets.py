"""The server as programs with the `websockets` package see it, on its defaults: compression offered, keepalive pings.

Run with `python -m unittest discover tests/clients`; ROOMLOG_BIN names the binary.
"""

import asyncio
import json
import os
import signal
import tempfile
import unittest
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

ROOT = Path(__file__).resolve().parents[2]
BUILDS = [ROOT / "target" / profile / "roomlog" for profile in ("release", "debug")]
BINARY = os.environ.get("ROOMLOG_BIN") or next((str(path) for path in BUILDS if path.exists()), str(BUILDS[0]))
PATIENCE_S = 20


class Server:
    """The real binary over a data folder of its own, which outlives its restarts."""

    def __init__(self, *flags):
        self.flags = flags
        self.folder = tempfile.TemporaryDirectory(prefix="roomlog-clients-")

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            await self.end(signal.SIGKILL)
        self.folder.cleanup()

    async def start(self):
        self.process = await asyncio.create_subprocess_exec(
            BINARY, "--port", "0", "--bind", "127.0.0.1", "--data", self.folder.name, "--log-level", "error", *self.flags,
            stdout=asyncio.subprocess.PIPE,
        )
        line = (await asyncio.wait_for(self.process.stdout.readline(), PATIENCE_S)).decode()
        self.url = line.strip().removeprefix("listening on ").replace("http", "ws")

    async def end(self, how):
        self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


async def receive(socket, kind):
    """The data of the next event of a type; the others are passed over."""
    while True:
        event = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        if event["type"] == kind:
            return event["data"]


async def heard(socket, last):
    """Stored messages, of history and live, until the one with this number."""
    messages = []
    while not messages or messages[-1]["sequence"] < last:
        event = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        if event["type"] == "history":
            messages += event["data"]["messages"]
        elif event["type"] == "message" and not event["data"].get("ephemeral"):
            messages.append(event["data"])
    return messages


def say(room, content, **more):
    return json.dumps({"type": "message", "data": {"room": room, "content": content, **more}})


class WebsocketsClient(unittest.IsolatedAsyncioTestCase):
    async def test_two_clients_chat(self):
        async with Server() as server:
            async with connect(f"{server.url}/?user=alice&room=general") as alice, connect(f"{server.url}/ws") as bob:
                self.assertEqual((await receive(alice, "connected"))["user"], "alice")
                await bob.send(json.dumps({"type": "join", "username": "bob", "id": 1}))
                self.assertEqual((await receive(bob, "ack"))["room"], "general")
                await bob.send(say("general", "hello, \U0001f980"))
                message = (await heard(alice, 1))[0]
                self.assertEqual((message["user"], message["content"]), ("bob", "hello, \U0001f980"))

    async def test_defaults_are_negotiated(self):
        async with Server() as server, connect(server.url, subprotocols=["other", "roomlog.v1"]) as socket:
            self.assertEqual(socket.subprotocol, "roomlog.v1")
            self.assertEqual(socket.response.headers.get("Sec-WebSocket-Extensions"), None, "offered, and not taken up")
            latency = await asyncio.wait_for(await socket.ping(), PATIENCE_S)
            self.assertGreaterEqual(latency, 0)

    async def test_fragmented_messages_are_put_together(self):
        async with Server() as server, connect(f"{server.url}/?room=general") as socket:
            whole = say("general", "in three pieces")
            await socket.send([whole[:10], whole[10:20], whole[20:]])
            self.assertEqual((await heard(socket, 1))[0]["content"], "in three pieces")

    async def test_many_clients_see_one_order(self):
        async with Server("--rate", "0") as server:
            sockets = [await connect(f"{server.url}/?user=c{n}&room=general") for n in range(8)]

            async def chatter(n, socket):
                for number in range(100):
                    await socket.send(say("general", f"c{n} {number}"))
                return await heard(socket, 800)

            logs = await asyncio.gather(*(chatter(n, socket) for n, socket in enumerate(sockets)))
            for socket in sockets:
                await socket.close()
            contents = [[message["content"] for message in log] for log in logs]
            # A member that joined before the first word was said hears all of them, the same for everybody.
            self.assertEqual([message["sequence"] for message in logs[0]], list(range(1, 801)))
            self.assertTrue(all(each == contents[0] for each in contents))
            self.assertEqual(len(set(contents[0])), 800)

    async def test_close_codes_reach_the_client(self):
        async with Server() as server:
            for frame, code in [(b"binary", 1003), ("x" * 16_385, 1009)]:
                async with connect(server.url) as socket:
                    await receive(socket, "connected")
                    await socket.send(frame)
                    with self.assertRaises(ConnectionClosedError) as closed:
                        await receive(socket, "nothing")
                    self.assertEqual(closed.exception.rcvd.code, code)
            with self.assertRaises(InvalidStatus) as refused:
                await connect(server.url, origin="https://evil.example")
            self.assertEqual(refused.exception.response.status_code, 403)

    async def test_a_client_resumes_over_a_crash(self):
        async with Server("--rate", "0") as server:
            async with connect(f"{server.url}/?user=alice&room=general") as alice:
                for n in range(1, 11):
                    await alice.send(say("general", f"message {n}", nonce=f"n{n}"))
                await heard(alice, 10)
                await server.end(signal.SIGKILL)
                with self.assertRaises(ConnectionClosed):
                    await receive(alice, "nothing")
            await server.start()
            async with connect(f"{server.url}/?user=alice&room=general&since=7") as alice:
                self.assertEqual([m["sequence"] for m in await heard(alice, 10)], [8, 9, 10])
                await alice.send(say("general", "message 10", nonce="n10"))
                await alice.send(say("general", "message 11", nonce="n11"))
                self.assertEqual((await heard(alice, 11))[0]["content"], "message 11", "the repeat is not there twice")

    async def test_the_end_is_told_with_1001(self):
        async with Server() as server, connect(server.url) as socket:
            await receive(socket, "connected")
            ended = asyncio.create_task(server.end(signal.SIGTERM))
            with self.assertRaises(ConnectionClosed) as closed:
                await receive(socket, "nothing")
            self.assertEqual(closed.exception.rcvd.code, 1001)
            self.assertEqual(await ended, 0)


if __name__ == "__main__":
    unittest.main()
