"""`roomlog chat` at a terminal, which is a pseudo-terminal here.

Run with `python -m unittest discover tests/clients`; ROOMLOG_BIN names the binary.
"""

import os
import re
import signal
import subprocess
import tempfile
import termios
import unittest
from urllib.request import urlopen

from test_terminal import Terminal
from test_websockets import BINARY, PATIENCE_S

CTRL_C, CTRL_D = b"\x03", b"\x04"
ERASE = "\r\x1b[K"


class Chat(Terminal):
    """The client at a terminal of its own."""

    def says(self, text):
        """Types a line and waits until it is shown as what the log holds."""
        self.press(text.encode() + b"\r")
        self.until(rf"\d\d:\d\d .*{re.escape(text)}\n" if "\n" in text else rf"\d\d:\d\d [^\r\n]*{re.escape(text)}\r\n")

    def shown(self):
        """The lines that were printed above the one that is edited: what is erased is gone."""
        lines = self.text.decode().replace("\r\r\n", "\n").replace("\r\n", "\n").split("\n")
        return [re.sub(r"\x1b\[\?2004.", "", line.rsplit("\x1b[K", 1)[-1]) for line in lines]

    def row(self):
        """The line that is edited, as it stands now."""
        return re.sub(r"\r(\x1b\[\d+C)?$", "", self.text.decode().rsplit(ERASE, 1)[-1])


class ChatTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="roomlog-chat-")
        self.addCleanup(self.folder.cleanup)
        self.server = None
        self.port = 0
        self.start_server()
        self.addCleanup(self.stop_server)

    def start_server(self):
        command = [BINARY, "--bind", "127.0.0.1", "--port", str(self.port), "--data", self.folder.name]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.server.stdout.readline().rsplit(":", 1)[1])

    def stop_server(self, with_signal=signal.SIGKILL):
        if self.server:
            self.server.send_signal(with_signal)
            self.server.wait()
            self.server.stdout.close()
            self.server = None

    def chat(self, user, *args, **env):
        chat = Chat("chat", f"http://127.0.0.1:{self.port}", "--user", user, *args, cwd=self.folder.name, NO_COLOR="1", TZ="UTC0", **env)
        self.addCleanup(chat.__exit__)
        chat.until(rf"-- You are {user}\r\n")
        return chat

    def pipe(self, user, text):
        done = subprocess.run(
            [BINARY, "chat", f"http://127.0.0.1:{self.port}", "--user", user],
            input=text, text=True, timeout=PATIENCE_S, check=False,
        )
        self.assertEqual(done.returncode, 0)

    def test_what_is_being_typed_survives_what_comes_in(self):
        ada = self.chat("ada")
        ada.until("#general> ")
        ada.press(b"half a thou")
        ada.until("#general> half a thou")
        self.pipe("bob", "first\nsecond\n")
        ada.until(r"bob  second\r\n")
        self.assertIn("bob left the room", ada.until(r"bob left the room").group())
        ada.until(r"left the room\r\n\r\x1b\[K#general> half a thou")
        self.assertEqual(ada.row(), "#general> half a thou")
        ada.says("ght")
        self.assertEqual([line for line in ada.shown() if "ada  " in line][-1][6:], "ada  half a thought")

    def test_pasted_text_is_taken_at_once_and_sent_as_one_message(self):
        ada = self.chat("ada")
        ada.press(b"\x1b[200~one\rtwo\x1b[201~")
        ada.until("#general> one↵two")
        ada.press(b"\r")
        ada.until(r"ada  one\r\n      two\r\n")
        ada.press(b"a\rb\rc\r")
        for letter in "abc":
            ada.until(rf"ada  {letter}\r\n")

    def test_tab_completes_commands_rooms_and_names(self):
        bob = self.chat("bob-the-builder")
        ada = self.chat("ada")
        ada.until(r"#general> ")
        ada.press(b"/wh\t\r")
        ada.until(r"-- 2 in #general: ada, bob-the-builder\r\n")
        ada.press(b"bo\t")
        ada.until("#general> bob-the-builder: ")
        ada.says("hi")
        bob.until(r"ada  bob-the-builder: hi\r\n")
        ada.press(b"/join other\r")
        ada.until("#other> ")
        ada.press(b"/join gen\t\r")
        ada.until("#general> $|#general> \r")

    def test_commands_do_what_help_says(self):
        bob = self.chat("bob")
        ada = self.chat("ada")
        ada.press(b"/help\r")
        ada.until(r"-- /quit +leave; Ctrl-D does, too\r\n")
        ada.press(b"/msg bob psst\r")
        bob.until(r"\[private @ada\] ada  psst\r\n")
        ada.until(r"\[private @bob\] ada  psst\r\n")
        ada.press(b"/me waves\r")
        bob.until(r"\* ada waves\r\n")
        ada.press(b"/nick ada2\r")
        ada.until(r"-- You are ada2\r\n")
        bob.until(r"#general ada2 joined the room\r\n")
        ada.press(b"/away\r")
        ada.until(r"-- You are away")
        bob.press(b"/who\r")
        bob.until(r"ada2 \(away\)")
        ada.says("back")
        ada.press(b"/history 1\r")
        ada.until(r"back\r\n(.|\n|\r)*ada2  back\r\n")
        ada.press(b"/rooms\r")
        ada.until(r"-- The server has #general \(2\)")
        ada.press(b"/xyzzy\r")
        ada.until(r"!! No command /xyzzy; /help tells what there is\r\n")
        ada.press(b"//not a command\r")
        bob.until(r"ada2  /not a command\r\n")
        ada.press(b"/leave\r")
        bob.until(r"#general ada2 left the room\r\n")
        ada.press(b"/quit\r")
        self.assertEqual(ada.end(), 0)

    def test_restart_of_the_server_is_survived_without_a_hole_or_a_duplicate(self):
        ada = self.chat("ada")
        ada.says("before")
        self.stop_server(signal.SIGTERM)
        ada.until(r"!! The server is shutting down. Trying again, and keeping what you write\r\n")
        ada.press(b"while away\r")
        self.start_server()
        ada.until(r"-- Connected again\r\n")
        ada.until(r"ada  while away\r\n")
        self.pipe("bob", "after\n")
        ada.until(r"bob  after\r\n")
        said = [line[6:] for line in ada.shown() if re.match(r"\d\d:\d\d ", line)]
        self.assertEqual(said, ["ada  before", "ada  while away", "bob  after"])
        with urlopen(f"http://127.0.0.1:{self.port}/api/rooms/general/messages", timeout=PATIENCE_S) as answer:
            self.assertEqual(answer.read().count(b'"sequence"'), 3)

    def test_the_terminal_is_given_back_as_it_was(self):
        for key in (CTRL_D, CTRL_C, b"/quit\r"):
            ada = self.chat("ada")
            ada.until("#general> ")
            raw = termios.tcgetattr(ada.master)
            self.assertFalse(raw[3] & termios.ICANON, "keys come as they are pressed")
            ada.press(key)
            self.assertEqual(ada.end(), 0)
            self.assertIn(b"\x1b[?2004l", ada.text)
        ada = self.chat("ada")
        ada.until("#general> ")
        os.kill(ada.pid, signal.SIGTERM)
        # The line discipline can still be asked, as this end is open.
        ada.until(r"\x1b\[\?2004l")
        self.assertEqual(ada.end(), 0)

    def test_ctrl_c_takes_back_what_was_typed_first(self):
        ada = self.chat("ada")
        ada.press(b"not this" + CTRL_C + b"this\r")
        ada.until(r"ada  this\r\n")
        ada.press(CTRL_C)
        self.assertEqual(ada.end(), 0)

    def test_name_that_is_taken_is_said_and_the_status_is_3(self):
        self.chat("ada")
        other = Chat("chat", f"http://127.0.0.1:{self.port}", "--user", "ADA", cwd=self.folder.name, NO_COLOR="1")
        self.addCleanup(other.__exit__)
        self.assertEqual(other.end(), 3)
        self.assertIn(b"!! This name is taken\r\n", other.text)

    def test_password_is_asked_for_and_not_shown(self):
        account = [BINARY, "account", "add", "ada", "--data", self.folder.name]
        subprocess.run(account, env={"ROOMLOG_PASSWORD": "correct horse"}, check=True, stdout=subprocess.DEVNULL)
        ada = Chat("chat", f"http://127.0.0.1:{self.port}", "--user", "ada", "--login", cwd=self.folder.name, NO_COLOR="1")
        self.addCleanup(ada.__exit__)
        ada.until("Password: ")
        ada.press(b"correct horse\r")
        ada.until(r"-- You are ada\r\n")
        self.assertNotIn(b"correct", ada.text)
        ada.says("logged in")

    def test_names_have_colours_unless_they_are_not_wanted(self):
        plain = self.chat("ada")
        plain.says("hello")
        self.assertNotRegex(plain.text.decode(), r"\x1b\[[\d;]*m")
        coloured = Chat("chat", f"http://127.0.0.1:{self.port}", "--user", "bob", cwd=self.folder.name)
        self.addCleanup(coloured.__exit__)
        coloured.until(r"\x1b\[38;5;\d+mada\x1b\[0m  hello\r\n")


if __name__ == "__main__":
    unittest.main()
