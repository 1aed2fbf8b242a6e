//! Whether a run was good.
//!
//! Owns: the exit code, and the outcome of each `--fail-if`. Must never know: how a figure came about.

use serde_json::{Value, json};

use crate::config::{Bench, Condition, Unit};

/// Nothing to complain about.
const GOOD: u8 = 0;
/// A `--fail-if` is true, or its figure was not measured.
const FAILED: u8 = 3;
/// Messages were lost, repeated, reordered or damaged, or connections were lost.
const FAULTY: u8 = 4;
/// What must be zero.
const FAULTS: [&str; 6] = [
    "/checks/lost",
    "/checks/repeated",
    "/checks/reordered",
    "/checks/damaged",
    "/checks/unconfirmed",
    "/connections/closed",
];

/// Adds the verdict to `report`, and returns the exit code.
pub(super) fn judge(options: &Bench, report: &mut Value) -> u8 {
    let judged: Vec<(Value, bool)> = options.fail_if.iter().map(|condition| judge_one(condition, report)).collect();
    let faulty = FAULTS.iter().any(|pointer| report.pointer(pointer).and_then(Value::as_u64) != Some(0));
    let code = match judged.iter().any(|(_, failed)| *failed) {
        _ if faulty => FAULTY,
        true => FAILED,
        false => GOOD,
    };
    report["failIf"] = judged.into_iter().map(|(value, _)| value).collect();
    report["exitCode"] = code.into();
    code
}

fn judge_one(condition: &Condition, report: &Value) -> (Value, bool) {
    let value = report.pointer(&condition.pointer).and_then(Value::as_f64);
    // What was not measured cannot be said to be good.
    let failed = value.is_none_or(|value| condition.relation.holds(value, condition.bound));
    let unit = match condition.unit {
        Unit::Time => "us",
        Unit::Number => "number",
    };
    (json!({"condition": condition.text, "value": value, "unit": unit, "failed": failed}), failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Invocation};

    fn judged(conditions: &str, mut report: Value) -> (u8, Value) {
        let line = format!("bench a:1 {conditions}");
        let Ok(Invocation::Bench(options)) = Config::parse(line.split_whitespace().map(Into::into), |_| None) else {
            panic!("{line}")
        };
        let code = judge(&options, &mut report);
        (code, report)
    }

    fn report(lost: u64) -> Value {
        json!({"checks": {"lost": lost, "repeated": 0, "reordered": 0, "damaged": 0, "unconfirmed": 0},
            "connections": {"closed": 0}, "latencyUs": {"delivery": {"p99": 5_000.0}, "ack": null}})
    }

    #[test]
    fn the_exit_code_says_what_is_wrong() {
        assert_eq!(judged("--fail-if p99>50ms --fail-if lost>0", report(0)).0, GOOD);
        let (code, report_with) = judged("--fail-if p99>=5ms --fail-if lost>0", report(0));
        assert_eq!(code, FAILED);
        assert_eq!(
            report_with["failIf"],
            json!([{"condition": "p99>=5ms", "value": 5_000.0, "unit": "us", "failed": true},
                   {"condition": "lost>0", "value": 0.0, "unit": "number", "failed": false}])
        );
        assert_eq!(judged("--fail-if ack.p99>50ms", report(0)).0, FAILED, "not measured");
        assert_eq!(judged("--fail-if p99>=5ms", report(1)).0, FAULTY);
        assert_eq!(judged("", report(1)).0, FAULTY);
    }
}
