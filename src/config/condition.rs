//! `--fail-if`: what a run must not be like, as `p99>50ms`.
//!
//! Owns: the grammar, and which figure of a result each name means. Must never know: how the figures come about.

use super::options::nearest;

/// What a figure counts, which decides how a bound for it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds; a bound has a unit, as `50ms`, `1.5s` or `200us`.
    Time,
    /// Anything else; a bound is a plain number.
    Number,
}

/// The figures that are not latencies: name, place in the result (a JSON pointer), unit.
pub const FIGURES: &[(&str, &str, Unit)] = &[
    ("lost", "/checks/lost", Unit::Number),
    ("repeated", "/checks/repeated", Unit::Number),
    ("reordered", "/checks/reordered", Unit::Number),
    ("damaged", "/checks/damaged", Unit::Number),
    ("unconfirmed", "/checks/unconfirmed", Unit::Number),
    ("refused", "/messages/refused", Unit::Number),
    ("closed", "/connections/closed", Unit::Number),
    ("failed", "/connections/failed", Unit::Number),
    ("rate", "/messages/perSecond", Unit::Number),
    ("deliveries", "/deliveries/perSecond", Unit::Number),
    ("cpu", "/server/cpuPercent", Unit::Number),
    ("cpu.message", "/server/cpuUsPerMessage", Unit::Time),
    ("cpu.delivery", "/server/cpuUsPerDelivery", Unit::Time),
    ("rss", "/server/rssBytes", Unit::Number),
    ("rss.connection", "/server/rssBytesPerConnection", Unit::Number),
    ("pss.connection", "/server/pssBytesPerConnection", Unit::Number),
    ("generator.cpu", "/generator/cpuPercent", Unit::Number),
];
/// The latencies: name, place in the result. The first may be left out: `p99` is `delivery.p99`.
pub const LATENCIES: &[(&str, &str)] = &[
    ("delivery", "/latencyUs/delivery"),
    ("ack", "/latencyUs/ack"),
    ("connect", "/latencyUs/connect"),
    ("churn", "/latencyUs/churn"),
    ("replay", "/latencyUs/replay"),
    ("lag", "/generator/lagUs"),
];
/// What is told of each latency.
pub const QUANTILES: &[&str] = &["mean", "p50", "p90", "p99", "p999", "max"];

/// How a figure is compared with its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

impl Relation {
    /// Whether `value` stands in this relation to `bound`.
    #[must_use]
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Relation::Above => value > bound,
            Relation::AtLeast => value >= bound,
            Relation::Below => value < bound,
            Relation::AtMost => value <= bound,
        }
    }
}

/// One condition under which a run fails.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// As it was written, without spaces.
    pub text: String,
    /// Where the figure is in the result, as a JSON pointer.
    pub pointer: String,
    /// What the figure counts.
    pub unit: Unit,
    /// How it is compared.
    pub relation: Relation,
    /// With what: microseconds for [`Unit::Time`].
    pub bound: f64,
}

/// Reads `METRIC RELATION BOUND`. An error is a clause that goes after "'value' ".
pub(super) fn condition(text: &str) -> Result<Condition, String> {
    let text: String = text.split_whitespace().collect();
    let at = text.find(['<', '>']).ok_or("is no condition: write p99>50ms or lost>0")?;
    let (name, rest) = text.split_at(at);
    let relations =
        [(">=", Relation::AtLeast), ("<=", Relation::AtMost), (">", Relation::Above), ("<", Relation::Below)];
    let found = relations.into_iter().find_map(|(sign, relation)| Some((relation, rest.strip_prefix(sign)?)));
    let (relation, bound) = found.ok_or("is no condition: write p99>50ms or lost>0")?;
    let (pointer, unit) = figure(name).ok_or_else(|| unknown(name))?;
    let bound = match unit {
        Unit::Time => {
            time_us(bound).ok_or_else(|| format!("compares {name} with no time: write 50ms, 1.5s or 200us"))?
        }
        Unit::Number => plain(bound).ok_or_else(|| format!("compares {name} with no number: write {name}>0"))?,
    };
    Ok(Condition { pointer, unit, relation, bound, text })
}

fn figure(name: &str) -> Option<(String, Unit)> {
    if let Some((_, pointer, unit)) = FIGURES.iter().find(|(known, ..)| *known == name) {
        return Some(((*pointer).to_owned(), *unit));
    }
    let (latency, quantile) = name.split_once('.').unwrap_or((LATENCIES[0].0, name));
    let (_, pointer) = LATENCIES.iter().find(|(known, _)| *known == latency)?;
    QUANTILES.contains(&quantile).then(|| (format!("{pointer}/{quantile}"), Unit::Time))
}

fn unknown(name: &str) -> String {
    let latencies = LATENCIES.iter().flat_map(|(latency, _)| QUANTILES.iter().map(move |q| format!("{latency}.{q}")));
    let short = QUANTILES.iter().map(|quantile| (*quantile).to_owned());
    let known: Vec<String> =
        short.chain(FIGURES.iter().map(|(name, ..)| (*name).to_owned())).chain(latencies).collect();
    match nearest(name, known.iter().map(String::as_str)) {
        Some(nearest) => format!("names no figure; did you mean {nearest}?"),
        None => "names no figure: p99, ack.p99, lag.max, lost, rate and others are in docs/BENCH.md".to_owned(),
    }
}

fn time_us(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("µs", 1.0), ("ms", 1_000.0), ("s", 1_000_000.0)];
    units.into_iter().find_map(|(unit, us)| Some(plain(text.strip_suffix(unit)?)? * us))
}

fn plain(text: &str) -> Option<f64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_name_a_figure_a_relation_and_a_bound() {
        for (text, pointer, relation, bound) in [
            ("p99>50ms", "/latencyUs/delivery/p99", Relation::Above, 50_000.0),
            ("delivery.p999 >= 1.5s", "/latencyUs/delivery/p999", Relation::AtLeast, 1_500_000.0),
            ("ack.mean<=200us", "/latencyUs/ack/mean", Relation::AtMost, 200.0),
            ("lag.max>20ms", "/generator/lagUs/max", Relation::Above, 20_000.0),
            ("lost>0", "/checks/lost", Relation::Above, 0.0),
            ("rate<990.5", "/messages/perSecond", Relation::Below, 990.5),
            ("cpu.delivery>2us", "/server/cpuUsPerDelivery", Relation::Above, 2.0),
        ] {
            let parsed = condition(text).unwrap();
            assert_eq!((parsed.pointer.as_str(), parsed.relation, parsed.bound), (pointer, relation, bound), "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_says_why() {
        for (text, words) in [
            ("p99", "is no condition: write p99>50ms or lost>0"),
            ("p9999>1ms", "names no figure; did you mean p999?"),
            ("acks.p99>1ms", "names no figure; did you mean ack.p99?"),
            ("weather>1", "names no figure: p99, ack.p99, lag.max, lost, rate and others are in docs/BENCH.md"),
            ("p99>50", "compares p99 with no time: write 50ms, 1.5s or 200us"),
            ("p99>-5ms", "compares p99 with no time: write 50ms, 1.5s or 200us"),
            ("lost>5ms", "compares lost with no number: write lost>0"),
            ("lost>", "compares lost with no number: write lost>0"),
        ] {
            assert_eq!(condition(text).unwrap_err(), words, "{text}");
        }
    }
}
