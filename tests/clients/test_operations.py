"""Numbers as the client library of Prometheus reads them, and a listening socket as systemd hands it over.

Run with `python -m unittest discover tests/clients`; ROOMLOG_BIN names the binary.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import unittest
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from test_websockets import BINARY, PATIENCE_S, Server

# Becomes the binary, with the socket as descriptor 3 and the variables that go with it (sd_listen_fds(3)).
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Metrics(unittest.IsolatedAsyncioTestCase):
    async def test_every_number_is_read_and_has_a_type_a_help_and_a_name_by_the_rules(self):
        async with Server() as server:
            text = await asyncio.to_thread(self.scrape, server.url.replace("ws", "http", 1) + "/metrics")
        families = list(text_string_to_metric_families(text))
        self.assertGreater(len(families), 20)
        for family in families:
            self.assertIn(family.type, ("counter", "gauge", "histogram"), family.name)
            self.assertTrue(family.documentation, family.name)
            self.assertRegex(family.name, "^(roomlog|process)_[a-z_]+$")
            if family.type == "histogram":
                self.assert_histogram(family)
        names = [family.name for family in families]
        self.assertEqual(len(names), len(set(names)))

    def scrape(self, url):
        with urlopen(url, timeout=PATIENCE_S) as answer:
            return answer.read().decode()

    def assert_histogram(self, family):
        buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
        bounds = [float(sample.labels["le"]) for sample in buckets]
        self.assertEqual(bounds, sorted(bounds))
        counts = [sample.value for sample in buckets]
        self.assertEqual(counts, sorted(counts))
        total = next(sample.value for sample in family.samples if sample.name.endswith("_count"))
        self.assertEqual(counts[-1], total)


class WithoutTls(unittest.TestCase):
    def test_a_build_that_cannot_speak_tls_says_how_to_make_one_that_can(self):
        command = [BINARY, "--tls-cert", "c.pem", "--tls-key", "k.pem"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(ended.returncode, 2, ended.stderr)
        self.assertIn("cargo build --release --features rustls", ended.stderr)


class Activation(unittest.IsolatedAsyncioTestCase):
    async def test_a_listening_socket_is_taken_over_and_who_waits_at_it_is_served(self):
        with tempfile.TemporaryDirectory() as data, socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            waiting = asyncio.create_task(self.greet(f"ws://127.0.0.1:{port}/?user=early"))
            await asyncio.sleep(0)
            command = [sys.executable, "-c", HAND_OVER, str(listener.fileno()), BINARY, "--data", data, "--port", "1"]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[listener.fileno()], text=True)
            try:
                line = await asyncio.to_thread(child.stdout.readline)
                self.assertEqual(line, f"listening on http://127.0.0.1:{port}\n")
                self.assertEqual(await asyncio.wait_for(waiting, PATIENCE_S), "early")
                with open(os.path.join(data, "control")) as control:
                    self.assertEqual(json.load(control)["address"], f"127.0.0.1:{port}")
            finally:
                child.terminate()
                self.assertEqual(child.wait(PATIENCE_S), 0)
                child.stdout.close()

    async def greet(self, url):
        async with connect(url) as client:
            return json.loads(await client.recv())["data"]["user"]


if __name__ == "__main__":
    unittest.main()
