"""The server at a terminal, which is a pseudo-terminal here: what it says to a person, and how it ends by Ctrl+C.

Run with `python -m unittest discover tests/clients`; ROOMLOG_BIN names the binary.
"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from urllib.request import urlopen

from test_websockets import BINARY, PATIENCE_S

CTRL_C = b"\x03"


class Terminal:
    """The binary as the foreground process of a terminal of its own."""

    def __init__(self, *args, cwd, **env):
        env = {"TERM": "xterm", **env}
        self.text = b""
        self.status = None
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(cwd)
                os.execve(BINARY, [BINARY, *args], env)
            finally:
                os._exit(127)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)

    def read(self):
        """More of what it shows; false at the end."""
        if not select.select([self.master], [], [], max(0, self.deadline - time.monotonic()))[0]:
            raise AssertionError(f"nothing more came after {self.text!r}")
        try:
            more = os.read(self.master, 4096)
        except OSError:  # how Linux tells that the other end is closed
            more = b""
        self.text += more
        return bool(more)

    def until(self, pattern):
        """The match of a pattern in what it shows."""
        self.deadline = time.monotonic() + PATIENCE_S
        while not (match := re.search(pattern, self.text.decode())):
            assert self.read(), f"it ended, and showed {self.text!r}"
        return match

    def press(self, keys):
        os.write(self.master, keys)

    def end(self):
        """The exit status; everything that is shown is in `text` then."""
        self.deadline = time.monotonic() + PATIENCE_S
        while self.read():
            pass
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status


def lines(text):
    """What stands on the screen: a carriage return begins the line again, and what comes then covers what was there."""
    shown = []
    for line in text.decode().split("\r\n"):
        covered = ""
        for piece in line.split("\r"):
            covered = piece + covered[len(piece):]
        shown.append(covered)
    return shown


def addresses(family):
    """This machine's addresses of a family by `ip`, without those that mean something else elsewhere."""
    found = json.loads(subprocess.run(["ip", "-json", "address"], stdout=subprocess.PIPE, check=True).stdout)
    up = [interface for interface in found if {"UP", "LOWER_UP"} <= set(interface["flags"])]
    infos = [info for interface in up for info in interface["addr_info"] if info["family"] == family]
    return {info["local"] for info in infos if info["scope"] == "global"}


class TerminalTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="roomlog-terminal-")
        self.addCleanup(self.folder.cleanup)
        self.cwd = os.path.realpath(self.folder.name)

    def start(self, *args, **env):
        terminal = Terminal("--port", "0", *args, cwd=self.cwd, **env)
        self.addCleanup(terminal.__exit__)
        return terminal

    def test_the_banner_says_where_it_is_and_how_to_end_it(self):
        terminal = self.start("--bind", "127.0.0.1", "--data", "here", NO_COLOR="1")
        port = terminal.until(r"  Open +http://localhost:(\d+)\r\n")[1]
        terminal.until(r"  Help +roomlog --help\r\n")
        self.assertNotEqual(port, "0", "the real one")
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE_S) as answer:
            self.assertEqual(answer.status, 200)
        shown = lines(terminal.text)
        self.assertIn(f"  Data     {self.cwd}/here", shown)
        self.assertIn("  Quit     Ctrl+C", shown)
        self.assertNotIn("listening", terminal.text.decode(), "that is for programs")
        self.assertNotIn(b"\x1b", terminal.text, "no colours with NO_COLOR")
        self.assertFalse([line for line in shown if "INFO" in line], "no log lines among it")

    def test_ctrl_c_ends_it_with_clean_lines(self):
        terminal = self.start("--bind", "127.0.0.1", NO_COLOR="1")
        terminal.until(r"--help\r\n\r\n")
        before = len(terminal.text)
        terminal.press(CTRL_C)
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(lines(terminal.text[before:]), ["Stopping ...", "Stopped.", ""])

    def test_urls_stand_out_where_a_terminal_can_show_it(self):
        terminal = self.start("--bind", "127.0.0.1")
        terminal.until(r"\x1b\[1mhttp://localhost:\d+\x1b\[0m\r\n")
        dumb = self.start("--bind", "127.0.0.1", "--data", "other", TERM="dumb")
        dumb.until(r"  Open +http://localhost:\d+\r\n")

    @unittest.skipUnless(Path("/proc/net/if_inet6").exists(), "no IPv6 here")
    def test_ipv6_addresses_are_in_brackets_where_they_are_named(self):
        terminal = self.start("--bind", "::1", NO_COLOR="1")
        port = terminal.until(r"  Open +http://localhost:(\d+)\r\n")[1]
        with urlopen(f"http://[::1]:{port}/healthz", timeout=PATIENCE_S) as answer:
            self.assertEqual(answer.status, 200)

    def test_all_interfaces_means_the_addresses_that_other_devices_can_use(self):
        try:
            known = {4: addresses("inet"), 6: addresses("inet6")}
        except FileNotFoundError:
            self.skipTest("no ip(8) here to compare with")
        binds = {"0.0.0.0": known[4]}
        if known[6]:
            binds["::"] = known[4] | {f"[{address}]" for address in known[6]}
        for bind, expected in binds.items():
            terminal = self.start("--bind", bind, "--data", bind, NO_COLOR="1")
            terminal.until(r"--help\r\n")
            shown = set(re.findall(r"http://(\S+):\d+\r\n", terminal.text.decode())) - {"localhost"}
            self.assertLessEqual(shown, expected, bind)
            self.assertEqual(len(shown), min(4, len(expected)), bind)
            port = terminal.until(r"localhost:(\d+)")[1]
            for address in shown:
                with urlopen(f"http://{address}:{port}/healthz", timeout=PATIENCE_S) as answer:
                    self.assertEqual(answer.status, 200, address)

    def test_a_program_gets_one_line(self):
        command = [BINARY, "--port", "0", "--bind", "127.0.0.1", "--data", os.path.join(self.cwd, "data")]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(server.kill)
        self.assertRegex(server.stdout.readline(), r"^listening on http://127\.0\.0\.1:[1-9]\d*\n$")
        server.send_signal(signal.SIGINT)
        rest, log = server.communicate(timeout=PATIENCE_S)
        self.assertEqual((server.returncode, rest), (0, ""), "and no other")
        self.assertRegex(log, r"data in .*data\n(.*\n)*.*shutting down\n$")


if __name__ == "__main__":
    unittest.main()
