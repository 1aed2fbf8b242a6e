"""What the measuring scripts share: servers as child processes, what Linux knows of them, facts of the machine, and
marked sections of documents.

Owns: the processes it starts, and the text between two markers. Must never know: what is measured. Python's standard
library only, Linux only.
"""
import datetime
import math
import os
import platform
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCUMENT = os.path.join(ROOT, "docs", "PERFORMANCE.md")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
CORES = sorted(os.sched_getaffinity(0))
"""A server and whoever loads it get a core each, so that neither pays for the other."""
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]


class Trouble(Exception):
    """Something the person at the keyboard can put right; the text says what."""


def command(name, work, *arguments):
    """Does the work. Trouble is one line and exit status 1; SIGTERM ends the servers too, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        work(*arguments)
    except Trouble as trouble:
        sys.exit(f"{name}: {trouble}")
    except KeyboardInterrupt:
        sys.exit(130)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def pinned(core, clock=None):
    """For `preexec_fn`: one core, and as many descriptors as are allowed. Last, the time goes to the pipe `clock`."""
    def prepare():
        os.sched_setaffinity(0, {core})
        raise_descriptors()
        if clock is not None:
            os.write(clock, repr(time.perf_counter()).encode())
    return prepare


def take_load_core():
    """For scripts that are the load themselves."""
    os.sched_setaffinity(0, {LOAD_CORE})


def raise_descriptors():
    """Lets this process open as many as it may; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def build(binary=None):
    """The release binary: the one that was given, or one that is built now. Building is not timed, and not hidden."""
    if binary:
        if not os.access(binary, os.X_OK):
            raise Trouble(f"{binary} is not a program")
        return os.path.abspath(binary)
    command = ["cargo", "build", "--release", "--locked", "--bin", "roomlog"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise Trouble("the release build failed")
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
    return os.path.join(ROOT, target, "release", "roomlog")


class Folder:
    """A fresh folder in $TMPDIR, removed at the end of the `with`."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="roomlog-bench-")
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


class Server:
    """A server in a process group of its own, from its line `listening on http://HOST:PORT` to the end of the `with`."""

    def __init__(self, argv, patience_s=60.0):
        self.errors = tempfile.TemporaryFile("w+")  # a pipe that nobody reads could fill
        clock, clock_in = os.pipe()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, preexec_fn=pinned(SERVER_CORE, clock_in), start_new_session=True)
        self.started = float(os.read(clock, 64))  # just before the child became the program; the clock is the system's
        os.close(clock)
        os.close(clock_in)
        self.pid = self.process.pid
        alarm = threading.Timer(patience_s, self.process.kill)
        alarm.start()
        try:
            line = self.process.stdout.readline()
        except BaseException:  # Ctrl-C too: nobody else would end it
            self.stop()
            raise
        finally:
            alarm.cancel()
        self.listening_ms = (time.perf_counter() - self.started) * 1e3
        found = re.search(r"http://[^:/\s]+:(\d+)", line)
        if not found:
            self.stop()
            self.errors.seek(0)
            raise Trouble(f"{' '.join(argv)} did not start: {line}{self.errors.read()[-500:]}")
        self.port = int(found[1])
        self.url = f"ws://127.0.0.1:{self.port}/"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def signal_and_wait(self, number, patience_s):
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self):
        """SIGTERM, and SIGKILL for one that takes too long."""
        if not self.signal_and_wait(signal.SIGTERM, 10):
            self.signal_and_wait(signal.SIGKILL, 10)

    def kill(self):
        """As a crash ends it."""
        self.signal_and_wait(signal.SIGKILL, 10)

    def cpu_s(self):
        """Time on a core of all its threads, user and system, to the nanosecond."""
        total = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            total += int(read(f"/proc/{self.pid}/task/{task}/schedstat").split()[0])
        return total / 1e9

    def status_bytes(self, name):
        return int(re.search(rf"{name}:\s+(\d+) kB", read(f"/proc/{self.pid}/status"))[1]) * 1024

    def resident_bytes(self):
        """Memory in user space that it has now."""
        return self.status_bytes("VmRSS")

    def peak_bytes(self):
        """The most it has had."""
        return self.status_bytes("VmHWM")


def kernel_bytes():
    """Memory of the whole kernel that grows with connections: slab (sockets, files, epoll entries) and TCP's pages."""
    info = dict(re.findall(r"(\w+):\s+(\d+)", read("/proc/meminfo")))
    pages = int(re.search(r"^TCP:.* mem (\d+)", read("/proc/net/sockstat"), re.MULTILINE)[1])
    return {"slab": int(info["Slab"]) * 1024, "tcp": pages * PAGE_BYTES}


def median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def number(value, digits=3):
    """For people: three digits that count, thousands apart."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def table(head, rows):
    """Markdown; the first column to the left, the others to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)] + rows
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def version_of(argv):
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
        return done.stdout.strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return None


def facts(command, programs):
    """The machine, the programs (names with versions), the day and the command, as one paragraph."""
    cpu = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", read("/proc/cpuinfo"), re.MULTILINE)
    model = re.sub(r"\s+", " ", cpu[1]) if cpu else platform.machine()
    virtual = ", virtual" if " hypervisor" in read("/proc/cpuinfo") else ""
    memory = int(re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo"))[1]) / (1 << 20)
    commit = version_of(["git", "-C", ROOT, "describe", "--always", "--dirty"])
    revision = [f"revision {commit}"] if commit and "fatal" not in commit else []
    congestion = read("/proc/sys/net/ipv4/tcp_congestion_control").strip()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    today = datetime.date.today().isoformat()
    return (f"Measured on {today} by `{command}`: {model}, {len(CORES)} cores{virtual}, {memory:.0f} GiB, "
            f"Linux {platform.release()}, TCP {congestion}, {limit:,} descriptors a process; "
            f"{', '.join(programs + revision)}. "
            f"Load average before the start: {os.getloadavg()[0]:.2f}.")


def write_section(name, text, document=None):
    """Replaces what stands between `<!-- name -->` and `<!-- /name -->`."""
    document = document or DOCUMENT
    before = read(document)
    marked = re.compile(f"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if len(marked.findall(before)) != 1:
        raise Trouble(f"{document} has not exactly one section between <!-- {name} --> and <!-- /{name} -->")
    after = marked.sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[2]}", before)
    with open(document, "w", encoding="utf-8") as file:
        file.write(after)
