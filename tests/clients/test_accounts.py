"""Accounts, REST and event streams with Python's own `urllib`, conversations with `websockets`, and the clients of two
libraries in one room.

Run with `python -m unittest discover tests/clients`; ROOMLOG_BIN names the binary.
"""

import asyncio
import json
import unittest
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from test_websockets import PATIENCE_S, Server, heard, receive, say

PASSWORD = "correct horse battery"


class Rest:
    """The REST interface, for whoever has the token."""

    def __init__(self, server, token=None):
        self.url = server.url.replace("ws", "http", 1)
        self.token = token

    def open(self, method, path, body=None, headers=()):
        request = Request(self.url + path, method=method, headers=dict(headers))
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        return urlopen(request, timeout=PATIENCE_S)

    async def ask(self, method, path, body=None):
        """The status and the JSON of an answer, be it good or bad."""

        def wait():
            try:
                answer = self.open(method, path, body)
            except HTTPError as error:
                answer = error
            with answer:
                text = answer.read()
            return answer.status, json.loads(text) if text else None

        return await asyncio.to_thread(wait)


async def register(server, user):
    """Makes an account and logs in to it."""
    rest, credentials = Rest(server), {"user": user, "password": PASSWORD}
    assert (await rest.ask("POST", "/api/accounts", credentials))[0] == 201
    status, login = await rest.ask("POST", "/api/sessions", credentials)
    assert (status, login["user"]) == (200, user)
    return Rest(server, login["token"])


async def log_in(socket, rest):
    """Says hello with a token; the data of the `connected` that follows from it."""
    await receive(socket, "connected")
    await socket.send(json.dumps({"type": "hello", "token": rest.token}))
    return await receive(socket, "connected")


async def ask(socket, command):
    """Sends a command; the data of its ack."""
    await socket.send(json.dumps({**command, "id": "asked"}))
    while True:
        event = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        if event.get("id") == "asked":
            assert event["type"] == "ack", event
            return event["data"]


class Stream:
    """An event stream of a room, as it comes out of `urllib`."""

    def __init__(self, rest, room, last_event_id=None):
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        self.answer = rest.open("GET", f"/api/rooms/{quote(room, safe='')}/events", headers=headers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answer.close()

    async def next(self):
        """The id and the data of the next event; comments are passed over."""

        def wait():
            fields = {}
            while True:
                line = self.answer.readline().decode().rstrip("\n")
                name, _, value = line.partition(": ")
                if name:
                    fields[name] = value
                elif "data" in fields:
                    return fields["id"], json.loads(fields["data"])

        return await asyncio.wait_for(asyncio.to_thread(wait), PATIENCE_S)


class Peer:
    """A client of the `ws` package for Node, led from here."""

    def __init__(self, url):
        self.url = url

    async def __aenter__(self):
        script = str(Path(__file__).with_name("peer.js"))
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec("node", script, self.url, stdin=pipe, stdout=pipe)
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def send(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        await self.process.stdin.drain()

    async def recv(self):
        return (await self.process.stdout.readline()).decode()

    async def close(self):
        """Says goodbye with 1000, and waits for the answer to it."""
        self.process.stdin.close()
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


class Accounts(unittest.IsolatedAsyncioTestCase):
    async def test_an_account_is_made_over_rest_and_used_on_a_socket(self):
        async with Server() as server:
            alice = await register(server, "alice")
            credentials = {"user": "alice", "password": PASSWORD}
            status, problem = await Rest(server).ask("POST", "/api/accounts", credentials)
            self.assertEqual((status, problem["code"]), (409, "name_taken"))
            status, _ = await Rest(server).ask("POST", "/api/sessions", {**credentials, "password": "something else"})
            self.assertEqual(status, 401)
            self.assertEqual((await alice.ask("PUT", "/api/me/rooms/work"))[0], 204)
            headers = {"Authorization": f"Bearer {alice.token}"}
            async with connect(server.url) as page, connect(server.url, additional_headers=headers) as script:
                for hello in [await log_in(page, alice), await receive(script, "connected")]:
                    self.assertEqual((hello["user"], hello["role"], hello["rooms"]), ("alice", "member", ["work"]))
                await ask(page, {"type": "join", "room": "work"})
                status, stored = await alice.ask("POST", "/api/rooms/work/messages", {"content": "by REST"})
                self.assertEqual((status, await heard(page, 1)), (201, [stored]))
                self.assertEqual((await alice.ask("DELETE", "/api/sessions"))[0], 204)
                for socket in [page, script]:
                    with self.assertRaises(ConnectionClosedError) as closed:
                        await receive(socket, "nothing")
                    self.assertEqual(closed.exception.rcvd.code, 4500)

    async def test_a_private_message_waits_for_its_recipient(self):
        async with Server() as server:
            alice, bob = await register(server, "alice"), await register(server, "bob")
            async with connect(server.url) as socket:
                self.assertEqual((await log_in(socket, alice))["direct"], [])
                ack = await ask(socket, {"type": "private", "to": "bob", "content": "lunch?", "nonce": "n"})
                echo = await receive(socket, "private")
                self.assertEqual((echo["to"], echo["room"], echo["sequence"]), ("bob", ack["room"], 1))
            async with connect(server.url) as socket:
                (direct,) = (await log_in(socket, bob))["direct"]
                self.assertEqual(direct, {"room": ack["room"], "user": "alice"})
                await socket.send(json.dumps({"type": "join", "room": direct["room"], "since": 0}))
                (message,) = await heard(socket, 1)
                self.assertEqual((message["user"], message["content"]), ("alice", "lunch?"))
                await ask(socket, {"type": "message", "room": direct["room"], "content": "gladly"})
            path = f"/api/rooms/{quote(ack['room'], safe='')}/messages"
            status, history = await alice.ask("GET", path)
            self.assertEqual((status, [m["content"] for m in history["messages"]]), (200, ["lunch?", "gladly"]))
            status, problem = await Rest(server).ask("GET", path)
            self.assertEqual((status, problem["code"]), (403, "forbidden"))

    async def test_an_event_stream_goes_on_after_the_last_event_id(self):
        async with Server() as server:
            alice, room = await register(server, "alice"), "f\u00fcr/alle"
            path = f"/api/rooms/{quote(room, safe='')}/messages"

            async def post(text):
                return (await alice.ask("POST", path, {"content": text}))[1]

            await post("before")
            with Stream(Rest(server), room) as stream:
                first = await post("one \U0001f980\nin two lines")
                position, message = await stream.next()
                self.assertEqual((message, position), (first, first["id"]), "from now on")
            missed = [await post("two"), await post("three")]
            with Stream(Rest(server), room, position) as stream:
                self.assertEqual([await stream.next() for _ in missed], [(each["id"], each) for each in missed])
                live = await post("four")
                self.assertEqual(await stream.next(), (live["id"], live))

    async def test_a_session_is_resumed_and_nobody_notices(self):
        async with Server("--grace", "1h") as server, connect(f"{server.url}/?user=bob&room=r") as bob:
            alice = await connect(f"{server.url}/?user=alice&room=r")
            hello = await receive(alice, "connected")
            await ask(alice, {"type": "message", "room": "r", "content": "one"})
            await heard(bob, 1)
            alice.transport.abort()
            await bob.send(say("r", "two"))
            url = f"{server.url}/?session={hello['session']}&room=r&since=1"
            async with connect(url) as alice:
                again = await receive(alice, "connected")
                self.assertEqual((again["user"], again["clientId"]), ("alice", hello["clientId"]))
                self.assertEqual([m["content"] for m in await heard(alice, 2)], ["two"])
                await ask(alice, {"type": "message", "room": "r", "content": "three"})
            while True:
                event = json.loads(await asyncio.wait_for(bob.recv(), PATIENCE_S))
                self.assertFalse(event["type"] == "status" or event["data"].get("ephemeral"), event)
                if event["data"].get("sequence") == 3:
                    break

    async def test_what_one_library_changes_the_other_sees(self):
        async with Server() as server:
            url = f"{server.url}/?room=r&user="
            async with connect(url + "python") as python, Peer(url + "node") as node:
                await receive(node, "connected")
                sequence = 0
                for author, reader, name in [(python, node, "python"), (node, python, "node")]:
                    for _ in range(2):
                        await author.send(say("r", "frist"))
                    # A number can be used once one has been told of it.
                    await heard(author, sequence + 2)
                    edit = {"type": "edit", "room": "r", "sequence": sequence + 1, "content": "first \U0001f980"}
                    await author.send(json.dumps(edit))
                    await author.send(json.dumps({"type": "delete", "room": "r", "sequence": sequence + 2}))
                    seen = await heard(reader, sequence + 4)
                    seen = [m for m in seen if m["sequence"] > sequence]
                    self.assertEqual({m["user"] for m in seen}, {name})
                    changes = [(m.get("kind"), m.get("target"), m["content"]) for m in seen]
                    expected = [
                        (None, None, "frist"),
                        (None, None, "frist"),
                        ("edit", sequence + 1, "first \U0001f980"),
                        ("delete", sequence + 2, ""),
                    ]
                    self.assertEqual(changes, expected)
                    await reader.send(json.dumps({"type": "join", "room": "r", "since": sequence}))
                    shown = (await receive(reader, "history"))["messages"]
                    self.assertEqual(shown[0]["content"], "first \U0001f980")
                    self.assertEqual(shown[0]["edited"]["sequence"], sequence + 3)
                    self.assertEqual((shown[1]["content"], shown[1]["deleted"]), ("", {"sequence": sequence + 4}))
                    sequence += 4
                self.assertEqual(await node.close(), 0)


if __name__ == "__main__":
    unittest.main()
