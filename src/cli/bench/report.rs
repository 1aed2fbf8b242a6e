//! The result for programs and for people.
//!
//! Owns: the JSON of `docs/BENCH.md`, and a table that is made from it, so that the two cannot disagree. Must never know: how
//! anything was measured.

use serde_json::{Value, json};

use super::measure::Times;
use super::result::{Outcome, Snapshot};
use crate::config::{Bench, LATENCIES, QUANTILES};

/// Of the JSON; it changes when a field goes or changes its meaning.
const SCHEMA: u32 = 1;
/// From here on the generator is the one that is measured: its processor time in percent of one core, the 99th percentile
/// of its own delay in microseconds, and the part of the plan that it sent.
const SATURATED_CPU_PERCENT: f64 = 95.0;
const SATURATED_LAG_US: f64 = 10_000.0;
const SATURATED_SENT: f64 = 0.99;

/// The result, without its verdict.
pub(super) fn json(options: &Bench, outcome: &Outcome) -> Value {
    let figures = &outcome.figures;
    let [from, to] = &outcome.snapshots;
    let seconds = to.at_ns.saturating_sub(from.at_ns) as f64 / 1e9;
    let per_second = |count: u64| if seconds > 0.0 { round(count as f64 / seconds) } else { 0.0 };
    let (sent, delivered) = (to.sent - from.sent.min(to.sent), to.deliveries - from.deliveries.min(to.deliveries));
    let planned = (is_open(options) && options.senders() > 0).then(|| options.rate());
    let first_error = &figures.first_error;
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "target": options.target.to_string(),
        "mode": mode(options),
        "settings": settings(options),
        "interrupted": figures.interrupted,
        "acks": outcome.acks,
        "measuredMs": round(seconds * 1_000.0),
        "connections": {"opened": figures.opened, "failed": figures.failed, "closed": figures.closed,
            "slowClosed": figures.slow_closed, "firstError": first_error},
        "messages": {"sent": figures.sent, "confirmed": figures.confirmed, "refused": figures.refused,
            "perSecond": per_second(sent), "plannedPerSecond": planned},
        "deliveries": {"received": figures.deliveries, "expected": outcome.expected, "perSecond": per_second(delivered),
            "bytesPerSecond": per_second(to.delivery_bytes - from.delivery_bytes.min(to.delivery_bytes))},
        "checks": {"lost": outcome.lost, "repeated": outcome.repeated, "reordered": outcome.reordered,
            "damaged": figures.damaged, "unconfirmed": outcome.unconfirmed},
        "latencyUs": {"delivery": times(&figures.delivery), "ack": times(&figures.ack),
            "connect": times(&figures.connect), "churn": times(&figures.churn), "replay": times(&figures.replay)},
        "generator": generator(options, outcome, seconds, sent),
        "server": server(options, outcome, seconds, sent, delivered),
        "replay": outcome.replay.map(|replay| json!({"messages": replay.messages, "found": replay.found})),
    })
}

fn is_open(options: &Bench) -> bool {
    !options.closed && !options.idle && options.replay.is_none()
}

fn mode(options: &Bench) -> &'static str {
    match options {
        Bench { replay: Some(_), .. } => "replay",
        Bench { idle: true, .. } => "idle",
        Bench { closed: true, .. } => "closed",
        _ => "open",
    }
}

fn settings(options: &Bench) -> Value {
    json!({"conns": options.conns, "rooms": options.rooms(), "senders": options.senders(),
        "sizeBytes": options.size_bytes, "window": options.closed.then(|| options.window()), "rampMs": options.ramp_ms,
        "warmupMs": options.warmup_ms, "durationMs": options.duration_ms, "slow": options.slow, "churn": options.churn})
}

fn times(times: &Times) -> Value {
    if times.count() == 0 {
        return Value::Null;
    }
    json!({"count": times.count(), "mean": round(times.mean_us()), "p50": round(times.quantile_us(0.5)),
        "p90": round(times.quantile_us(0.9)), "p99": round(times.quantile_us(0.99)),
        "p999": round(times.quantile_us(0.999)), "max": round(times.max_us())})
}

fn generator(options: &Bench, outcome: &Outcome, seconds: f64, sent: u64) -> Value {
    let [from, to] = &outcome.snapshots;
    let cpu_percent = percent(to.own_cpu_ms - from.own_cpu_ms, seconds);
    let lag = &outcome.figures.lag;
    let planned = seconds * f64::from(options.rate());
    let behind =
        is_open(options) && options.senders() > 0 && options.churn == 0 && (sent as f64) < planned * SATURATED_SENT;
    let late = lag.count() > 0 && lag.quantile_us(0.99) > SATURATED_LAG_US;
    json!({"saturated": behind && !outcome.figures.interrupted || late || cpu_percent > SATURATED_CPU_PERCENT,
        "cpuPercent": cpu_percent, "lagUs": times(lag)})
}

fn server(options: &Bench, outcome: &Outcome, seconds: f64, sent: u64, delivered: u64) -> Value {
    let Some(pid) = options.server_pid else { return Value::Null };
    let [from, to] = &outcome.snapshots;
    let cpu_ms = |snapshot: &Snapshot| snapshot.server_cpu_ms;
    let used_ms = cpu_ms(to).zip(cpu_ms(from)).map(|(to, from)| to - from);
    let per = |count: u64| used_ms.filter(|_| count > 0).map(|ms| precise(ms * 1_000.0 / count as f64));
    let [before, ready, end] = outcome.memory;
    let rss = |memory: Option<super::procfs::Memory>| memory.map(|memory| memory.rss_bytes);
    let pss = |memory: Option<super::procfs::Memory>| memory.and_then(|memory| memory.pss_bytes);
    let grown = |before: Option<u64>, after: Option<u64>| {
        let (before, after) = before.zip(after)?;
        Some(round((after as f64 - before as f64) / outcome.connections as f64))
    };
    json!({"pid": pid, "cpuMs": used_ms.map(round), "cpuPercent": used_ms.map(|ms| percent(ms, seconds)),
        "cpuUsPerMessage": per(sent), "cpuUsPerDelivery": per(delivered), "rssBytesBefore": rss(before),
        "rssBytes": rss(ready), "rssBytesEnd": rss(end), "rssBytesPerConnection": grown(rss(before), rss(ready)),
        "pssBytes": pss(ready), "pssBytesPerConnection": grown(pss(before), pss(ready))})
}

fn percent(ms: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { round(ms / seconds / 10.0) } else { 0.0 }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn precise(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// The result as text.
pub(super) fn table(report: &Value) -> String {
    let mut text = String::new();
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0);
    let word = |pointer: &str| report.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut row = |name: &str, value: String| text += &format!("{name:<12}{value}\n");
    row(
        "target",
        format!("{}  {} loop", word("/target"), word("/mode"))
            .replace("idle loop", "idle")
            .replace("replay loop", "replay"),
    );
    row(
        "conns",
        format!(
            "{:.0} opened, {:.0} failed, {:.0} closed by the server",
            number("/connections/opened"),
            number("/connections/failed"),
            number("/connections/closed")
        ),
    );
    row("measured", format!("{:.1} s", number("/measuredMs") / 1_000.0));
    row("messages", format!("{:.0} sent, {:.1}/s", number("/messages/sent"), number("/messages/perSecond")));
    row(
        "deliveries",
        format!(
            "{:.0} received, {:.1}/s, {:.1} MB/s",
            number("/deliveries/received"),
            number("/deliveries/perSecond"),
            number("/deliveries/bytesPerSecond") / 1e6
        ),
    );
    let checks = ["lost", "repeated", "reordered", "damaged", "unconfirmed"];
    let checks: Vec<String> =
        checks.iter().map(|name| format!("{name} {}", number(&format!("/checks/{name}")))).collect();
    row("checks", checks.join(", "));
    text += &latencies(report);
    text += &costs(report);
    text += &warnings(report);
    text
}

fn latencies(report: &Value) -> String {
    let mut text = format!("\n{:<12}{:>10}", "", "count");
    for quantile in QUANTILES {
        text += &format!("{quantile:>10}");
    }
    text += "  (milliseconds)\n";
    for (name, pointer) in LATENCIES {
        let Some(times) = report.pointer(pointer).filter(|times| times.is_object()) else { continue };
        text += &format!("{name:<12}{:>10}", times["count"]);
        for quantile in QUANTILES {
            text += &format!("{:>10.3}", times[*quantile].as_f64().unwrap_or(0.0) / 1_000.0);
        }
        text.push('\n');
    }
    text
}

fn costs(report: &Value) -> String {
    let mut text =
        format!("\ngenerator   {:.1} % of a core\n", report["generator"]["cpuPercent"].as_f64().unwrap_or(0.0));
    let server = &report["server"];
    if server.is_null() {
        return text;
    }
    let part = |key: &str, unit: &str| server[key].as_f64().map(|value| format!("{value} {unit}"));
    let cpu = [
        part("cpuPercent", "% of a core"),
        part("cpuUsPerMessage", "µs a message"),
        part("cpuUsPerDelivery", "µs a delivery"),
    ];
    text += &format!("server CPU  {}\n", cpu.into_iter().flatten().collect::<Vec<_>>().join(", "));
    let mib = |key: &str| {
        server[key].as_f64().map_or_else(|| "?".to_owned(), |bytes| format!("{:.1} MiB", bytes / 1_048_576.0))
    };
    text += &format!(
        "server RSS  {} before, {} ready, {} at the end",
        mib("rssBytesBefore"),
        mib("rssBytes"),
        mib("rssBytesEnd")
    );
    for (key, kind) in [("rssBytesPerConnection", "RSS"), ("pssBytesPerConnection", "PSS")] {
        if let Some(bytes) = server[key].as_f64() {
            text += &format!(", {bytes:.0} bytes of {kind} a connection");
        }
    }
    text.push('\n');
    text
}

fn warnings(report: &Value) -> String {
    let mut text = String::new();
    if report["generator"]["saturated"] == true {
        text += "\ngenerator saturated: these figures are its own, not the server's; ask for less, or give it a core\n";
    }
    if report["interrupted"] == true {
        text += "\ninterrupted: this is what was measured until then\n";
    }
    if let Some(error) = report["connections"]["firstError"].as_str() {
        text += &format!("\nfirst error: {error}\n");
    }
    if report["messages"]["refused"].as_u64().is_some_and(|count| count > 0) {
        text += &format!("\nthe server refused {} messages; is its rate limit on?\n", report["messages"]["refused"]);
    }
    for condition in report["failIf"].as_array().into_iter().flatten() {
        let state = if condition["failed"] == true { "FAILED" } else { "good  " };
        let value = match (condition["value"].as_f64(), condition["unit"] == "us") {
            (None, _) => "not measured".to_owned(),
            (Some(us), true) => format!("{:.3} ms", us / 1_000.0),
            (Some(number), false) => number.to_string(),
        };
        text += &format!("{state}  {}  ({value})\n", condition["condition"].as_str().unwrap_or_default());
    }
    text
}
