"""The reader that stands in docs/LOG_FORMAT.md, on a log that the real server wrote: what it finds is what
`roomlog log export` finds, damage included. So the document cannot say anything else than the program does.
"""

import json
import re
import signal
import subprocess
import tempfile
import unittest
import zlib
from pathlib import Path

from websockets.asyncio.client import connect

from test_websockets import BINARY, ROOT, Server, heard, say

MESSAGES = 40
ROOM = "r\u00f6om"


def documented_reader():
    """`good` and `read` of the document, as they stand there."""
    text = (ROOT / "docs" / "LOG_FORMAT.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(block, names)
    return names["good"], names["read"], names["texts"]


def segments(data):
    return sorted(path for folder in Path(data, "rooms").iterdir() for path in folder.glob("*.log"))


def documented(data):
    """All messages of the room as the document's reader finds them."""
    _, read, texts = documented_reader()
    found = [message for path in segments(data) for message in read(path, ROOM)]
    return list(texts(found).items())


def exported(data):
    command = [BINARY, "log", "export", ROOM, "--data", data]
    lines = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.splitlines()
    return [(message["sequence"], message["content"]) for message in map(json.loads, lines)]


def spoil(data, content, at):
    """Changes one byte, in place, of the line that holds a text."""
    needle = json.dumps(content, ensure_ascii=False).encode()
    for path in segments(data):
        text = bytearray(path.read_bytes())
        if (found := text.find(needle)) >= 0:
            text[text.rfind(b"\n", 0, found) + 1 + at] ^= 0x40
            path.write_bytes(text)
            return
    raise AssertionError(f"{content} is nowhere")


class LogFormat(unittest.IsolatedAsyncioTestCase):
    async def test_the_documents_reader_finds_what_export_finds(self):
        # Segments are rolled after an eighth of what is kept.
        async with Server("--rate", "0", "--retain-messages", "80") as server:
            data = server.folder.name
            async with connect(f"{server.url}/?user=alice") as alice:
                await alice.send(json.dumps({"type": "join", "data": {"room": ROOM}}))
                for n in range(1, MESSAGES + 1):
                    await alice.send(say(ROOM, f"message {n}, \U0001f980"))
                    await heard(alice, n)
            self.assertEqual(await server.end(signal.SIGTERM), 0)
            whole = [(n, f"message {n}, \U0001f980") for n in range(1, MESSAGES + 1)]
            self.assertGreater(len(segments(data)), 2)
            self.assertEqual(documented(data), whole)
            self.assertEqual(exported(data), whole)

            # In the payload, the checksum (no hex digit any more), the length, the sequence.
            for n, at in [(5, 60), (17, 0), (23, 12), (MESSAGES, 20)]:
                spoil(data, f"message {n}, \U0001f980", at)
            left = [message for message in whole if message[0] not in (5, 17, 23, MESSAGES)]
            self.assertEqual(exported(data), left)
            self.assertEqual(documented(data), left)

            repair = [BINARY, "log", "repair", ROOM, "--yes", "--data", data]
            self.assertEqual(subprocess.run(repair, stdout=subprocess.DEVNULL).returncode, 0)
            self.assertEqual((exported(data), documented(data)), (left, left))

    def test_changed_records_lead_to_their_texts(self):
        _, read, texts = documented_reader()
        records = []

        def stored(sequence, data, flag=b" ", behind=b""):
            payload = json.dumps({"type": "message", "data": data}).encode() + behind
            records.append(b"%07d %016d%s%s" % (len(payload), sequence, flag, payload))

        stored(1, {"content": "kept"})
        changed = b'{"changed":%d%s}' + b" " * 40
        for sequence, rest in [(2, changed % (4, b"")), (3, changed % (5, b',"deleted":true'))]:
            records.append(b"%07d %016d|%s" % (len(rest), sequence, rest))
        stored(4, {"content": "new", "kind": "edit", "target": 2}, b"+", b'\t2 {"changed":4}')
        stored(5, {"content": "", "kind": "delete", "target": 3}, b"*", b'\t3 {"changed":5,"deleted":true}')
        seed = zlib.crc32(ROOM.encode() + b"\n")
        with tempfile.NamedTemporaryFile() as segment:
            segment.write(b"".join(b"%08x %s\n" % (zlib.crc32(line, seed), line) for line in records))
            segment.flush()
            found = texts(read(segment.name, ROOM))
        self.assertEqual(found, {1: "kept", 2: "new", 3: None, 4: "new", 5: None})

    def test_a_record_is_good_in_its_room_only(self):
        good, *_ = documented_reader()
        line = b"00000000 0000002 0000000000000001 {}"
        self.assertFalse(good(line, ROOM))
        self.assertFalse(good(b"nonsense" + line[8:], ROOM))


if __name__ == "__main__":
    unittest.main()
