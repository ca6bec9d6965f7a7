//! The configuration as an operator meets it.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;

use super::report::Report;
use super::*;

/// What a file with this text and these variables come to.
pub(super) fn load_with(text: &str, variables: &[(&str, &str)]) -> (Option<Settings>, Report) {
    let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(&Sources {
        file: Some(("test.yml", text)),
        variables: &variables,
        data_dir: None,
        listen: None,
        read_file: &|path| match path.to_str() {
            Some("/run/secrets/http") => Ok("from a file with 16 and more\n".into()),
            Some("/run/secrets/s3") => Ok("from-a-file\n".into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        },
    })
}

pub(super) fn settings(text: &str, variables: &[(&str, &str)]) -> Settings {
    let (settings, report) = load_with(text, variables);
    settings.unwrap_or_else(|| panic!("{report}"))
}

pub(super) fn errors(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let (settings, report) = load_with(text, variables);
    assert_eq!(settings.is_some(), report.errors.is_empty());
    report.errors.iter().map(|finding| report.line(finding)).collect()
}

pub(super) fn warnings(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let (settings, report) = load_with(text, variables);
    assert!(settings.is_some(), "{report}");
    report.warnings.iter().map(|finding| report.line(finding)).collect()
}

#[track_caller]
pub(super) fn contains(lines: &[String], parts: &[&str]) {
    assert!(
        lines.iter().any(|line| parts.iter().all(|part| line.contains(part))),
        "no line with {parts:?} in {lines:#?}"
    );
}

#[test]
fn nothing_given_is_a_complete_configuration() {
    let settings = settings("", &[]);
    assert_eq!(settings.http.listen, "127.0.0.1:5000".parse().unwrap());
    assert_eq!(settings.blobs, settings::Blobs::Filesystem("./roadstead-data/blobs".into()));
    assert_eq!(settings.metadata, settings::Metadata::Raft("./roadstead-data/metadata".into()));
    assert_eq!(warnings("", &[]), Vec::<String>::new());
}

#[test]
fn flags_win_over_variables_over_the_file() {
    let file = "http: {addr: '127.0.0.1:1'}";
    let ours = ("ROADSTEAD_HTTP__ADDR", "127.0.0.1:3");
    let theirs = ("REGISTRY_HTTP_ADDR", "127.0.0.1:2");
    assert_eq!(settings(file, &[]).http.listen.port(), 1);
    assert_eq!(settings(file, &[theirs]).http.listen.port(), 2);
    assert_eq!(settings(file, &[theirs, ours]).http.listen.port(), 3);
    let variables = [(ours.0.to_owned(), ours.1.to_owned())];
    let (with_flag, _) = load(&Sources {
        file: Some(("test.yml", file)),
        variables: &variables,
        data_dir: Some("/data"),
        listen: Some("127.0.0.1:4"),
        read_file: &|_| Err(io::ErrorKind::NotFound.into()),
    });
    let with_flag = with_flag.unwrap();
    assert_eq!(with_flag.http.listen.port(), 4);
    assert_eq!(with_flag.metadata, settings::Metadata::Raft("/data/metadata".into()));
}

#[test]
fn every_key_can_be_set_by_its_variable() {
    for key in keys::all() {
        let value = match key.path.as_str() {
            "http.addr" => "127.0.0.1:0",
            "http.host" => "https://registry.example.com",
            "http.secret" => "0123456789abcdef",
            "http.plain.addr" => "127.0.0.1:80",
            "http.tls.disabled" => "false",
            "http.names" | "http.tls.names" | "http.proxy_protocol.trusted" => "192.0.2.1",
            // Each needs the other.
            "http.tls.certificate" | "http.tls.key" => continue,
            "http.tls.clientcas" => "/etc/clients.pem",
            "log.filter" => "info",
            "auth.enabled" => "true",
            "auth.admin_password" => "correct horse",
            "auth.htpasswd.path" => "/etc/users",
            // Needs the file.
            "auth.htpasswd.realm" => continue,
            // Each needs another.
            path if path.starts_with("auth.oidc.") => continue,
            "gc.untagged" => "30d",
            "instance.address" => "registry-1.example.com:5000",
            "instance.region" => "eu-west",
            "storage.filesystem.rootdirectory" | "metadata.raft.directory" => "/elsewhere",
            "storage.s3.regionendpoint" => "http://localhost:9000",
            "storage.s3.memory" => "1GiB",
            path if path.starts_with("storage.s3.") && key.default.is_none() => "word",
            "metadata.postgres.url" => "postgres://me@host/db",
            // The others belong to that one.
            path if path.starts_with("metadata.postgres.") => continue,
            _ => key.default.as_deref().unwrap(),
        };
        // What a bucket needs beside the key.
        let file = match key.path.starts_with("storage.s3.") {
            true => "storage: {s3: {bucket: b, region: r, accesskey: a, secretkey: s, encrypt: true}}",
            false if key.path == "http.plain.addr" => "http: {tls: {generate: true}}",
            false => "",
        };
        let (loaded, report) = load_with(file, &[(&key.variable(), value)]);
        assert!(loaded.is_some(), "{}: {report}", key.variable());
        let of_file = key.path.strip_suffix("_file").is_some_and(|path| keys::all().iter().any(|key| key.path == path));
        assert!(!of_file, "{}: the variable would look like that of a file", key.path);
        assert!(key.description.len() > 20, "{} has no description", key.path);
    }
}

#[test]
fn what_names_an_instance_is_a_line_of_text() {
    for (text, key) in
        [("instance: {region: ''}", "instance.region"), ("instance: {address: \"a\\nb\"}", "instance.address")]
    {
        contains(&errors(text, &[]), &[key, "1 to 255 characters"]);
    }
}

#[test]
fn everything_wrong_is_told_at_once_with_its_place() {
    let text = "\
http:
  adr: 127.0.0.1:5000
  draintimeout: 24
  max_connections: many
  secret: short
storage:
  s3: {bucket: b}
log:
  level: loud
uploads: 7d
addr: x
";
    let errors = errors(text, &[("ROADSTEAD_HTP__ADDR", "x")]);
    contains(&errors, &["test.yml:2:3: http.adr: unknown key; did you mean http.addr?"]);
    contains(&errors, &["test.yml:3:3: http.draintimeout", "24s for seconds"]);
    contains(&errors, &["test.yml:4:3: http.max_connections", "`many` is not a whole number"]);
    contains(&errors, &["test.yml:5:3: http.secret", "at least 16"]);
    contains(&errors, &["test.yml:7:3: storage.s3.region: is missing"]);
    contains(&errors, &["test.yml:9:3: log.level", "`loud` is not one of error, warn, info, debug, trace"]);
    contains(&errors, &["test.yml:10:1: uploads", "mapping"]);
    contains(&errors, &["test.yml:11:1: addr: unknown key; did you mean http.addr?"]);
    contains(&errors, &["ROADSTEAD_HTP__ADDR: unknown variable; did you mean ROADSTEAD_HTTP__ADDR?"]);
    assert_eq!(errors.len(), 9, "{errors:#?}");
}

#[test]
fn variables_are_told_apart_by_case() {
    let lower = [("ROADSTEAD_http__addr", "127.0.0.1:1"), ("ROADSTEAD_HTTP__ADDR", "127.0.0.1:2")];
    let told = "ROADSTEAD_http__addr: unknown variable; did you mean ROADSTEAD_HTTP__ADDR?";
    contains(&errors("", &lower), &[told]);
}

#[test]
fn a_filter_is_never_an_automaton() {
    // As a regular expression it takes 20 s and 800 MB.
    let value = format!(".*a{}", ".".repeat(60));
    settings(&format!("log: {{filter: '[{{a={value}}}]=info'}}"), &[]);
}

#[test]
fn who_can_be_reached_asks_who_comes_unless_told_not_to() {
    for addr in ["0.0.0.0:5000", ":5000", "[::]:5000", "192.0.2.1:5000", "[::ffff:192.0.2.1]:5000"] {
        let text = format!("http: {{addr: '{addr}'}}");
        assert!(settings(&text, &[]).auth.is_some(), "{addr}");
        assert_eq!(settings(&text, &[("ROADSTEAD_AUTH__ENABLED", "false")]).auth, None);
        contains(&errors(&text, &[("ROADSTEAD_HTTP__ALLOW_ANONYMOUS_NETWORK", "true")]), &["auth.enabled: false"]);
    }
    for addr in ["127.0.0.1:0", "127.1.2.3:80", "[::1]:5000", "localhost:5000"] {
        let text = format!("http: {{addr: '{addr}'}}");
        assert_eq!(settings(&text, &[]).auth, None);
        assert!(settings(&text, &[("ROADSTEAD_AUTH__ENABLED", "true")]).auth.is_some());
        // Somebody who is not on this machine.
        let proxied = format!("http: {{addr: '{addr}', proxy_protocol: {{trusted: [127.0.0.1]}}}}");
        assert!(settings(&proxied, &[]).auth.is_some());
    }
    assert_eq!(settings("http: {names: [a.example, 10.0.0.9, '2001:db8::9']}", &[]).http.names.len(), 3);
    for name in ["a b", "*.example.com", "a.example:5000", "https://a.example", "[2001:db8::9]"] {
        contains(&errors(&format!("http: {{names: ['{name}']}}"), &[]), &["http.names", "is neither a host name"]);
    }
    for addr in ["5000", "127.0.0.1", "registry.example.com:5000", "127.0.0.1:99999", ""] {
        contains(&errors(&format!("http: {{addr: '{addr}'}}"), &[]), &["is not an IP address with a port"]);
    }
}

#[test]
fn access_control_is_checked() {
    let guarded = settings("auth: {enabled: true, anonymous_pull: false, outage: 5m}", &[]).auth.unwrap();
    assert!(guarded.create_on_push && !guarded.anonymous_pull && guarded.admin_password.is_none());
    assert_eq!((guarded.service.as_str(), guarded.outage), ("roadstead", Duration::from_secs(300)));
    let variable = ("ROADSTEAD_ADMIN_PASSWORD", "correct horse");
    let guarded = settings("auth: {enabled: true}", &[variable]).auth.unwrap();
    assert_eq!(guarded.admin_password.as_deref(), Some("correct horse"));
    assert!(!format!("{guarded:?}").contains("horse"));
    for (text, part) in [
        ("auth: {service: 'a b'}", "auth.service"),
        ("auth: {outage: 30d}", "auth.outage"),
        ("auth: {admin_password: short}", "8 to 128"),
        ("auth: {htpasswd: {path: ''}}", "auth.htpasswd.path: is empty"),
        ("auth: {htpasswd: {paht: /x}}", "did you mean auth.htpasswd.path?"),
        ("auth: {htpasswd: {path: /x}, enabled: false}", "remove one of the two"),
        ("auth: {token: {realm: x}}", "/auth/token"),
        ("auth: {none: {}}", "auth.enabled: false"),
        ("auth: {enable: true}", "auth.enabled"),
    ] {
        contains(&errors(text, &[]), &[part]);
    }
}

#[test]
fn a_value_can_come_from_a_file() {
    let loaded = settings("", &[("ROADSTEAD_HTTP__SECRET_FILE", "/run/secrets/http")]);
    assert_eq!(loaded.http.secret.as_deref(), Some("from a file with 16 and more"));
    contains(&errors("", &[("ROADSTEAD_HTTP__SECRET_FILE", "/absent")]), &["ROADSTEAD_HTTP__SECRET_FILE", "/absent"]);
    let both = [("ROADSTEAD_HTTP__SECRET_FILE", "/run/secrets/http"), ("ROADSTEAD_HTTP__SECRET", "0123456789abcdef")];
    contains(&errors("", &both), &["ROADSTEAD_HTTP__SECRET is set too"]);
}

#[test]
fn secrets_keep_their_text_and_stay_out_of_debug_output() {
    let loaded = settings("http: {secret: 00123456789012345678}", &[]);
    assert_eq!(loaded.http.secret.as_deref(), Some("00123456789012345678"));
    assert!(!format!("{loaded:?}").contains("0012345678"));
}

#[test]
fn a_file_of_distribution_is_understood() {
    let text = "\
version: 0.1
log: {level: warn, formatter: json, fields: {service: registry}, accesslog: {disabled: true}}
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: /var/lib/registry, maxthreads: 100}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: true, age: 24h, interval: 2h}, readonly: {enabled: false}}
http:
  addr: 127.0.0.1:5000
  headers: {X-Content-Type-Options: [nosniff]}
  relativeurls: true
  debug: {addr: 'localhost:5001', prometheus: {enabled: true}}
health: {storagedriver: {enabled: true, interval: 10s, threshold: 3}}
notifications: {endpoints: [{name: a, url: 'http://x'}]}
redis: {addrs: ['localhost:6379']}
validation: {disabled: true}
catalog: {maxentries: 100}
compatibility: {schema1: {enabled: false}}
middleware: {storage: [{name: cloudfront}]}
";
    let loaded = settings(text, &[("REGISTRY_STORAGE_CACHE", "redis"), ("REGISTRY_LOG_FORMATTER", "text")]);
    assert_eq!(loaded.blobs, settings::Blobs::Filesystem("/var/lib/registry".into()));
    assert_eq!(loaded.uploads.expiry.as_secs(), 86_400);
    assert_eq!(loaded.uploads.purge_interval.as_secs(), 7_200);
    assert_eq!(loaded.log.format, parsed::Format::Text, "the variable wins over the file");
    let warnings = warnings(
        text,
        &[("REGISTRY_REDIS_ADDR", "x"), ("REGISTRY_SOMETHING", "x"), ("REGISTRY_AUTH_FILE", "/auth.json")],
    );
    for ignored in [
        "log.fields",
        "log.accesslog.disabled",
        "storage.cache",
        "storage.filesystem.maxthreads",
        "http.headers",
        "http.debug",
        "health",
        "notifications",
        "redis",
        "validation",
        "catalog.maxentries",
        "middleware",
    ] {
        contains(&warnings, &[&format!(" {ignored}: ignored")]);
    }
    contains(&warnings, &["REGISTRY_REDIS_ADDR: redis: ignored"]);
    contains(&warnings, &["REGISTRY_SOMETHING: ignored"]);
    assert!(!warnings.iter().any(|line| line.contains("AUTH_FILE") || line.contains("relativeurls")), "{warnings:#?}");
}

#[test]
fn what_protects_is_refused_and_never_ignored() {
    for text in [
        "auth: {htpasswd: {realm: r}}",
        "auth: {htpasswd: }",
        "storage: {inmemory: }",
        "http: {tls: {certificate: c, key: k, letsencrypt: {email: me}}}",
        "storage: {maintenance: {readonly: {enabled: true}}}",
        "proxy: {remoteurl: 'https://registry-1.docker.io'}",
        "metadata: {postgres: {url: x}}",
        "storage: {preferred: eu, locations: {eu: {s3: {}}}, replicate_to: [eu]}",
        "storage: {inmemory: {}, azblob: {container: c}}",
        "version: 0.2",
        "storage: {delete: {enabled: false}}",
    ] {
        assert!(!errors(text, &[]).is_empty(), "{text}");
    }
    contains(&errors("", &[("REGISTRY_AUTH", "htpasswd")]), &["REGISTRY_AUTH: auth: "]);
    contains(&errors("", &[("REGISTRY_AUTH_HTPASSWD_REALM", "x")]), &["auth.htpasswd", "names no file"]);
    contains(&errors("storage: {s3aws: {bucket: b}}", &[]), &["storage.s3aws", "storage.s3 in place"]);
}

#[test]
fn directories_must_not_contain_each_other() {
    let nested = "storage: {filesystem: {rootdirectory: /data}}\nmetadata: {raft: {directory: /data/./metadata}}";
    contains(&errors(nested, &[]), &["two directories"]);
    let roundabout = "data_dir: ./x\nmetadata: {raft: {directory: ./y/../x/blobs}}";
    contains(&errors(roundabout, &[]), &["two directories"]);
    let both = "data_dir: /x\nstorage: {filesystem: {rootdirectory: /a}}\nmetadata: {raft: {directory: /b}}";
    contains(&warnings(both, &[]), &["data_dir: has no effect"]);
}

#[test]
fn hostile_yaml_is_refused_in_bounded_time() {
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in ('b'..'j').zip('a'..) {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(", ")));
    }
    for text in
        [deep.as_str(), &bomb, "a: &a [*a]", "- list", "text", "a: 1\na: 2", "? [x]\n: y", "a: 1\n---\nb: 2", "\"", "{"]
    {
        assert!(!errors(text, &[]).is_empty(), "{text:.40}");
    }
}

#[test]
fn the_reference_page_is_the_one_that_is_committed() {
    let committed = include_str!("../../../../docs/configuration.md");
    assert_eq!(committed, reference::page(), "run: cargo run -- config reference > docs/configuration.md");
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in "(?s).{0,200}") {
        let _ = load_with(&text, &[]);
    }

    #[test]
    fn no_shape_breaks_the_parser(
        keys in prop::collection::vec(prop::sample::select(vec!["http", "addr", "storage", "filesystem", "log", "level", "auth", "x"]), 1..5),
        value in "[a-z0-9:\\[\\]{}\"'&*-]{0,12}",
    ) {
        let mut text = String::new();
        for (depth, key) in keys.iter().enumerate() {
            text.push_str(&format!("{}{key}:\n", " ".repeat(depth)));
        }
        text.pop();
        text.push_str(&format!(" {value}\n"));
        let (settings, report) = load_with(&text, &[]);
        prop_assert_eq!(settings.is_some(), report.errors.is_empty());
    }

    #[test]
    fn a_variable_is_taken_as_text(value in "[ -~]{16,40}") {
        let loaded = settings("", &[("ROADSTEAD_HTTP__SECRET", value.as_str())]);
        prop_assert_eq!(loaded.http.secret, Some(value));
    }
}
