"""`roomlog bench` as a function: arguments in, a handful of figures out.

Owns: which fields of its JSON (docs/BENCH.md) are used. Must never know: which server is measured, or why.
"""
import json
import subprocess

from measure import LOAD_CORE, Trouble, pinned

PATIENCE_S = 120
SCHEMA = 1
"""Of the JSON."""


def times(warmup_s, duration_s):
    return ["--warmup", f"{int(warmup_s * 1000)}ms", "--duration", f"{int(duration_s * 1000)}ms"] if duration_s else []


def run(binary, server, arguments):
    """One run on the load's core; the server's processor time and memory are read by the generator itself.

    No acks are asked for: the servers compared with have none, and what comes back to its sender says as much."""
    command = [binary, "bench", server.url, "--server-pid", str(server.pid), "--json", "--no-ack", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
                              preexec_fn=pinned(LOAD_CORE))
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"{' '.join(command)} took longer than {PATIENCE_S} s") from error
    try:
        result = json.loads(done.stdout)
    except ValueError as error:
        raise Trouble(f"{' '.join(command)}: exit {done.returncode}, {done.stderr.strip()[-300:]}") from error
    if result["schema"] != SCHEMA:
        raise Trouble(f"roomlog bench writes schema {result['schema']}, benches/load.py reads {SCHEMA}")
    return figures(result)


def figures(result):
    """What the tables need, `None` where a run has no such thing; all times in microseconds."""
    server, latency = result["server"], result["latencyUs"]
    cycles = latency["churn"]
    shown = latency["churn"] or latency["delivery"] or {}
    return {
        "cpu_us_per_delivery": server["cpuUsPerDelivery"],
        "cpu_us_per_cycle": server["cpuMs"] * 1e3 / cycles["count"] if cycles else None,
        "cpu_percent": server["cpuPercent"],
        "deliveries_per_s": result["deliveries"]["perSecond"],
        "p50_us": shown.get("p50"),
        "p99_us": shown.get("p99"),
        "rss_bytes_per_conn": server["rssBytesPerConnection"],
        "wrong": wrong(result),
    }


def wrong(result):
    """In words what was not as it should be; empty if all was."""
    counts = {**result["checks"], "refused": result["messages"]["refused"],
              "connections failed": result["connections"]["failed"], "connections closed": result["connections"]["closed"]}
    words = [f"{count} {what}" for what, count in counts.items() if count]
    if result["generator"]["saturated"]:
        words.append("generator saturated")
    return ", ".join(words)


def selftest():
    """On a result as the generator writes it."""
    checks = {"lost": 2, "repeated": 0, "reordered": 0, "damaged": 0, "unconfirmed": 0}
    result = {
        "schema": SCHEMA, "checks": checks, "messages": {"refused": 0}, "connections": {"failed": 0, "closed": 1},
        "generator": {"saturated": True}, "deliveries": {"perSecond": 5.0},
        "server": {"cpuUsPerDelivery": 1.5, "cpuMs": 10.0, "cpuPercent": 50.0, "rssBytesPerConnection": 600.0},
        "latencyUs": {"churn": {"count": 100, "p50": 7.0, "p99": 9.0}, "delivery": {"p50": 1.0, "p99": 2.0}},
    }
    found = figures(result)
    assert found["wrong"] == "2 lost, 1 connections closed, generator saturated", found
    assert (found["cpu_us_per_cycle"], found["p99_us"]) == (100.0, 9.0), found
    result["latencyUs"]["churn"] = None
    assert (figures(result)["cpu_us_per_cycle"], figures(result)["p99_us"]) == (None, 2.0)
