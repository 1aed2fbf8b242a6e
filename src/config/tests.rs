//! What the tables accept and refuse, and in which words.

use std::ffi::OsString;

use super::*;

/// Parses `line` split at spaces over the environment `env`.
fn parse(line: &str, env: &[(&str, &str)]) -> Result<Invocation, UsageError> {
    let get = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    Config::parse(line.split_whitespace().map(OsString::from), get)
}

/// Flags that go together, and only in a build with TLS.
const TLS: [&str; 2] = ["tls-cert", "tls-key"];

fn config(line: &str, env: &[(&str, &str)]) -> Config {
    match parse(line, env) {
        Ok(Invocation::Serve(config)) => *config,
        other => panic!("{line:?} {env:?}: {other:?}"),
    }
}

fn refusal(line: &str, env: &[(&str, &str)]) -> String {
    match parse(line, env) {
        Err(error) => error.to_string(),
        Ok(invocation) => panic!("{line:?} {env:?} was accepted: {invocation:?}"),
    }
}

#[test]
fn nothing_given_means_the_defaults() {
    assert_eq!(config("", &[]), Config::default());
    assert_eq!(config("serve", &[]), Config::default());
    assert_eq!(config("", &[]).address().to_string(), "0.0.0.0:8080");
}

#[test]
fn every_flag_sets_its_field_and_every_variable_the_same() {
    type Change = fn(&mut Config);
    let changed: &[(&str, &str, Change)] = &[
        ("port", "0", |c| c.port = 0),
        ("bind", "::1", |c| c.bind = IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ("data", "/srv/chat", |c| c.data = PathBuf::from("/srv/chat")),
        ("fsync", "1s", |c| c.fsync = Fsync::Interval { ms: 1_000 }),
        ("fsync", "never", |c| c.fsync = Fsync::Never),
        ("fsync", "always", |c| c.fsync = Fsync::Always),
        ("heartbeat", "500ms", |c| c.heartbeat_ms = 500),
        ("offline-timeout", "5m", |c| c.offline_timeout_ms = 300_000),
        ("grace", "0", |c| c.grace_ms = 0),
        ("grace", "2h", |c| c.grace_ms = 7_200_000),
        ("write-timeout", "10ms", |c| c.write_timeout_ms = 10),
        ("rate", "0", |c| c.rate_per_second = 0),
        ("account-rate", "0", |c| c.account_rate = Some(0)),
        ("address-rate", "7", |c| c.address_rate = Some(7)),
        ("connections-per-address", "0", |c| c.connections_per_address = Some(0)),
        ("trust-proxy", "127.0.0.1", |c| c.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]),
        ("registration", "closed", |c| c.is_registration_open = false),
        ("registration", "open", |c| c.is_registration_open = true),
        ("guests", "no", |c| c.allows_guests = false),
        ("guests", "yes", |c| c.allows_guests = true),
        ("token-age", "12h", |c| c.token_age_ms = 12 * 3_600_000),
        ("linger", "0", |c| c.linger_ms = 0),
        ("max-content", "1048576", |c| c.content_bytes_max = 1_048_576),
        ("retain-age", "90d", |c| c.retain_age_ms = Some(90 * 86_400_000)),
        ("retain-age", "12h", |c| c.retain_age_ms = Some(12 * 3_600_000)),
        ("retain-age", "0", |c| c.retain_age_ms = None),
        ("retain-messages", "5000", |c| c.retain_messages = Some(5_000)),
        ("retain-messages", "0", |c| c.retain_messages = None),
        ("retain-bytes", "500M", |c| c.retain_bytes = Some(500 * 1024 * 1024)),
        ("retain-bytes", "1000", |c| c.retain_bytes = Some(1_000)),
        ("allow-origin", "*", |c| c.allow_origin = Origins::Any),
        ("public", "public", |c| c.public = Some(PathBuf::from("public"))),
        ("log-level", "DEBUG", |c| c.log_level = LevelFilter::Debug),
    ];
    for (flag, value, change) in changed {
        let mut expected = Config::default();
        change(&mut expected);
        let spec = SERVE.iter().find(|spec| spec.flag == *flag).expect("the flag is in the table");
        assert_eq!(config(&format!("--{flag} {value}"), &[]), expected, "--{flag} {value}");
        assert_eq!(config(&format!("serve --{flag}={value}"), &[]), expected, "--{flag}={value}");
        assert_eq!(config("", &[(spec.env[0], value)]), expected, "{}={value}", spec.env[0]);
    }
    for spec in SERVE.iter().filter(|spec| !TLS.contains(&spec.flag)) {
        assert!(changed.iter().any(|(flag, ..)| *flag == spec.flag), "--{} is not tried", spec.flag);
    }
}

#[test]
fn every_option_has_the_variable_its_flag_promises() {
    let serve = SERVE.iter().map(|spec| (spec.flag, spec.env[0]));
    let healthcheck = HEALTHCHECK.iter().map(|spec| (spec.flag, spec.env[0]));
    for (flag, env) in serve.chain(healthcheck) {
        assert_eq!(env, format!("ROOMLOG_{}", flag.to_uppercase().replace('-', "_")));
    }
}

#[test]
fn flag_beats_environment_beats_default() {
    let env = [("ROOMLOG_PORT", "2"), ("PORT", "3")];
    assert_eq!(config("--port 1", &env).port, 1);
    assert_eq!(config("", &env).port, 2);
    assert_eq!(config("", &env[1..]).port, 3);
    assert_eq!(config("--port 1 --port 4", &[]).port, 4, "the last flag wins");
    assert_eq!(config("", &[("ROOMLOG_PORT", ""), ("PORT", "3")]).port, 3, "an empty variable is an unset one");
    assert_eq!(config("--port 1", &[("ROOMLOG_PORT", "x")]).port, 1, "a flag gets past a broken variable");
}

#[test]
fn rates_that_are_not_given_follow_the_one_of_a_connection() {
    let rates = |line: &str| {
        let config = config(line, &[]);
        (config.account_rate_per_second(), config.address_rate_per_second())
    };
    assert_eq!(rates(""), (40, 1_000));
    assert_eq!(rates("--rate 3"), (6, 150));
    assert_eq!(rates("--rate 0"), (0, 0), "no limit is no limit");
    assert_eq!(rates("--rate 0 --account-rate 5"), (5, 0));
    assert_eq!(rates("--address-rate 0"), (40, 0));
}

#[test]
fn origins_repeat_as_flags_and_are_a_list_in_the_environment() {
    let both = Origins::Listed(vec!["https://a.example".to_owned(), "http://[::1]:3000".to_owned()]);
    assert_eq!(config("--allow-origin https://A.example --allow-origin http://[::1]:3000", &[]).allow_origin, both);
    let env = [("ROOMLOG_ALLOW_ORIGIN", "https://a.example, http://[::1]:3000")];
    assert_eq!(config("", &env).allow_origin, both);
    assert_eq!(config("--allow-origin * --allow-origin https://a.example", &[]).allow_origin, Origins::Any);
    assert!(both.allows("https://a.example") && both.allows("HTTPS://A.EXAMPLE"));
    assert!(!both.allows("https://a.example.org") && !both.allows("http://a.example"));
    assert!(Origins::Any.allows("null") && !Config::default().allow_origin.allows("null"));
}

#[test]
fn proxies_repeat_and_are_a_list_wherever_they_are_given() {
    let three: Vec<Network> = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).into();
    for (line, env) in [
        ("--trust-proxy 127.0.0.1 --trust-proxy 10.0.0.0/8 --trust-proxy fd00::/8", ""),
        ("--trust-proxy 127.0.0.1,10.0.0.0/8 --trust-proxy=fd00::/8", ""),
        ("", "127.0.0.1, ::ffff:10.0.0.0/104, fd00::/8"),
    ] {
        assert_eq!(config(line, &[("ROOMLOG_TRUST_PROXY", env)]).trusted_proxies, three, "{line} {env}");
    }
}

#[test]
fn a_refusal_names_the_flag_the_value_and_the_way_out() {
    for (line, words) in [
        ("--heartbeat 30", "--heartbeat: '30' is not a duration: write 30s, 500ms or 5m"),
        ("--heartbeat 0", "--heartbeat: '0' is not a duration: write 30s, 500ms or 5m"),
        ("--heartbeat 1.5s", "--heartbeat: '1.5s' is not a duration: write 30s, 500ms or 5m"),
        ("--heartbeat -1s", "--heartbeat: '-1s' is not a duration: write 30s, 500ms or 5m"),
        ("--heartbeat s", "--heartbeat: 's' is not a duration: write 30s, 500ms or 5m"),
        ("--heartbeat 9ms", "--heartbeat: '9ms' is not between 10ms and 24h"),
        ("--grace 25h", "--grace: '25h' is not between 10ms and 24h"),
        ("--grace 99999999999999999999s", "--grace: '99999999999999999999s' is not between 10ms and 24h"),
        ("--grace 5124095576031h", "--grace: '5124095576031h' is not between 10ms and 24h"),
        ("--port 65536", "--port: '65536' is not a port: write a number from 0 to 65535"),
        ("--port +80", "--port: '+80' is not a port: write a number from 0 to 65535"),
        ("--bind localhost", "--bind: 'localhost' is not an IP address: write 0.0.0.0, 127.0.0.1 or ::1"),
        ("--data=", "--data: '' is not a folder"),
        ("--fsync 0", "--fsync: '0' is no interval: write always"),
        ("--fsync 1", "--fsync: '1' is not a duration: write 30s, 500ms or 5m"),
        ("--fsync yes", "--fsync: 'yes' is no sync policy: write always, never or an interval such as 1s"),
        ("--rate -1", "--rate: '-1' is not a whole number from 0 to 1000000"),
        ("--account-rate 1000001", "--account-rate: '1000001' is not a whole number from 0 to 1000000"),
        ("--registration yes", "--registration: 'yes' is neither open nor closed"),
        ("--guests open", "--guests: 'open' is neither yes nor no"),
        ("--token-age 0", "--token-age: '0' is no time: write 30d"),
        ("--token-age 5", "--token-age: '5' is not an age: write 90d, 12h or 0"),
        ("--max-content 0", "--max-content: '0' is not a whole number from 1 to 1048576"),
        ("--max-content 1048577", "--max-content: '1048577' is not a whole number from 1 to 1048576"),
        ("--retain-age 5", "--retain-age: '5' is not an age: write 90d, 12h or 0"),
        ("--retain-age 0d", "--retain-age: '0d' is not between 1d and 36500d"),
        ("--retain-bytes 1T", "--retain-bytes: '1T' is not a size: write 500M, 2G or a number of bytes"),
        (
            "--retain-bytes 99999999999999G",
            "--retain-bytes: '99999999999999G' is not a size: write 500M, 2G or a number of bytes",
        ),
        (
            "--allow-origin https://a.example/",
            "--allow-origin: 'https://a.example/' is not an origin: write https://chat.example.org (no path) or *",
        ),
        (
            "--allow-origin https://",
            "--allow-origin: 'https://' is not an origin: write https://chat.example.org (no path) or *",
        ),
        (
            "--trust-proxy nginx",
            "--trust-proxy: 'nginx' is no address or network: write 127.0.0.1, 10.0.0.0/8 or fd00::/8",
        ),
        (
            "--trust-proxy 127.0.0.1,",
            "--trust-proxy: '127.0.0.1,' is no address or network: write 127.0.0.1, 10.0.0.0/8 or fd00::/8",
        ),
        (
            "--trust-proxy 10.0.0.1/8",
            "--trust-proxy: '10.0.0.1/8' has bits set behind its prefix: write 10.0.0.0/8 or a longer prefix",
        ),
        ("--log-level loud", "--log-level: 'loud' is not a level: write error, warn, info, debug or trace"),
        ("--port", "--port needs a value: --port PORT"),
        ("--hartbeat 30s", "unknown flag '--hartbeat'; did you mean --heartbeat?"),
        ("--offline_timeout 30s", "unknown flag '--offline_timeout'; did you mean --offline-timeout?"),
        ("--xyzzy", "unknown flag '--xyzzy'; see roomlog --help"),
        ("-p 80", "unknown flag '-p'; see roomlog --help"),
        ("helthcheck", "unknown command 'helthcheck'; did you mean healthcheck?"),
        ("dance", "unknown command 'dance'; see roomlog --help"),
        ("--port 80 serve", "unexpected argument 'serve'; see roomlog --help"),
        ("healthcheck --data x", "unknown flag '--data'; see roomlog --help"),
    ] {
        assert_eq!(refusal(line, &[]), words);
    }
}

#[test]
fn a_bad_variable_is_named_as_the_one_to_blame() {
    for (name, value, words) in [
        ("PORT", "http", "PORT: 'http' is not a port: write a number from 0 to 65535"),
        ("ROOMLOG_HEARTBEAT", "30", "ROOMLOG_HEARTBEAT: '30' is not a duration: write 30s, 500ms or 5m"),
        ("ROOMLOG_HEARTBEAT", "1s\n2s", "ROOMLOG_HEARTBEAT: '1s\\n2s' is not a duration: write 30s, 500ms or 5m"),
    ] {
        assert_eq!(refusal("", &[(name, value)]), words);
    }
}

#[test]
fn a_connection_must_be_able_to_answer_a_ping_before_it_is_given_up() {
    assert_eq!(
        refusal("--offline-timeout 30s", &[]),
        "--offline-timeout (30s) must be longer than --heartbeat (30s): a ping must have time to be answered"
    );
    assert_eq!(
        refusal("", &[("ROOMLOG_HEARTBEAT", "2m")]),
        "--offline-timeout (60s) must be longer than ROOMLOG_HEARTBEAT (2m): a ping must have time to be answered"
    );
    assert_eq!(config("--heartbeat 29999ms --offline-timeout 30s", &[]).heartbeat_ms, 29_999);
}

#[cfg(unix)]
#[test]
fn a_folder_may_have_any_name_and_a_number_must_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let raw = || OsString::from_vec(b"\xff\xfe".to_vec());
    let parse = |flag: &str| Config::parse([OsString::from(flag), raw()], |_| None);
    assert!(matches!(parse("--data"), Ok(Invocation::Serve(config)) if config.data.as_os_str() == raw()));
    let error = parse("--port").expect_err("not a number");
    assert!(error.to_string().starts_with("--port: '\u{fffd}\u{fffd}' is not a port"), "{error}");
    let error = Config::parse([raw()], |_| None).expect_err("not a command");
    assert_eq!(error.to_string(), "unknown command '\u{fffd}\u{fffd}'; see roomlog --help");
}

#[test]
fn help_fits_a_screen_and_has_every_option_with_its_default() {
    for (line, table) in [
        ("--help", SERVE.iter().map(|spec| (spec.flag, (spec.show)(&Config::default()))).collect::<Vec<_>>()),
        ("healthcheck -h", HEALTHCHECK.iter().map(|spec| (spec.flag, (spec.show)(&Healthcheck::default()))).collect()),
    ] {
        let Ok(Invocation::Help(help)) = parse(line, &[("PORT", "broken")]) else { panic!("{line} is not help") };
        assert!(help.lines().count() <= 40, "{} lines", help.lines().count());
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        for (flag, default) in table {
            let row = help.lines().find(|line| line.starts_with(&format!("  --{flag} "))).expect(flag);
            assert!(default.is_empty() || row.ends_with(&format!("[{default}]")), "{row}");
        }
    }
}

#[test]
fn what_an_option_shows_is_what_it_reads() {
    let line = "--port 1 --bind ::1 --data d --fsync 90s --heartbeat 1m --offline-timeout 2m --grace 1500ms \
                --write-timeout 2h --rate 7 --account-rate 8 --address-rate 0 --connections-per-address 9 \
                --trust-proxy 127.0.0.1,10.0.0.0/8 \
                --registration closed --guests no --token-age 20h --max-content 8 --allow-origin http://a --public p --log-level trace";
    let changed = config(line, &[]);
    let shown = SERVE
        .iter()
        .filter(|spec| !TLS.contains(&spec.flag))
        .map(|spec| format!("--{}={}", spec.flag, (spec.show)(&changed)));
    assert_eq!(config(&shown.collect::<Vec<_>>().join(" "), &[]), changed);
}

#[test]
fn the_files_of_tls_go_together() {
    let both = [("ROOMLOG_TLS_CERT", "c.pem"), ("ROOMLOG_TLS_KEY", "k.pem")];
    if cfg!(feature = "rustls") {
        let expected = Some((Path::new("c.pem"), Path::new("k.pem")));
        assert_eq!(config("--tls-cert c.pem --tls-key k.pem", &[]).tls_files(), expected);
        assert_eq!(config("", &both).tls_files(), expected);
        assert!(refusal("--tls-cert c.pem", &[]).contains("--tls-key FILE"));
        assert!(refusal("", &both[1..]).contains("--tls-cert FILE"));
    } else {
        assert!(refusal("--tls-cert c.pem --tls-key k.pem", &[]).contains("--features rustls"));
        assert!(refusal("", &both).contains("--features rustls"));
    }
}

/// The completions offer them.
#[test]
fn the_words_that_a_value_name_lists_are_those_that_are_read() {
    let mut listed = 0;
    for spec in SERVE {
        let words = commands::alternatives(spec.value_name).filter_map(|alternative| match alternative {
            commands::Alternative::Word(word) => Some(word),
            _ => None,
        });
        for word in words {
            listed += 1;
            assert_eq!((spec.set)(&mut Config::default(), word.as_ref()), Ok(()), "--{} {word}", spec.flag);
            let refused = (spec.set)(&mut Config::default(), "nonsense".as_ref()).expect_err("no such word");
            assert!(refused.contains(word), "--{} names {word}: {refused}", spec.flag);
        }
    }
    assert_eq!(listed, 2 + 2 + 2 + 5, "fsync, registration, guests, log-level");
}

#[test]
fn healthcheck_asks_loopback_where_the_server_listens() {
    for (line, address) in [
        ("healthcheck", "127.0.0.1:8080"),
        ("healthcheck --port 9", "127.0.0.1:9"),
        ("healthcheck --bind :: --port 9", "[::1]:9"),
        ("healthcheck --bind 10.0.0.7", "10.0.0.7:8080"),
    ] {
        match parse(line, &[("ROOMLOG_HEARTBEAT", "not its business")]) {
            Ok(Invocation::Healthcheck(target)) => assert_eq!(target.address().to_string(), address),
            other => panic!("{line}: {other:?}"),
        }
    }
    assert_eq!(parse("healthcheck -V", &[]), Ok(Invocation::Version));
}
