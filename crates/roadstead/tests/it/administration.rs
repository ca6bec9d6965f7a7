//! The verbs of administration, as an operator types them: on the socket, and to servers elsewhere.

use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use roadstead_testkit::{Issuer, Server};
use serde_json::{Value, json};

use crate::scale;

const PASSWORD: &str = "correct horse";

/// Runs a command with this on its standard input.
fn fed(mut command: Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    // One that refuses its command line reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A command to the instance on this data.
fn on(server: &Server, words: &str) -> Output {
    let mut command = scale::program();
    command.args(words.split(' ')).arg("--data-dir").arg(server.directory());
    fed(command, &format!("{PASSWORD}\n"))
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn told(server: &Server, words: &str) -> String {
    text(&on(server, words))
}

/// Lines of JSON.
fn lines(server: &Server, words: &str) -> Vec<Value> {
    told(server, words).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Why a command was refused, and with which exit code.
fn refused(server: &Server, words: &str) -> (i32, String) {
    let output = on(server, words);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_registry_is_administered_on_its_socket() {
    let server = scale::launch().start();
    assert_eq!(told(&server, "user show"), "the operator on the socket\n");
    assert_eq!(told(&server, "user add alice --password-stdin --admin"), "added user alice\n");
    assert_eq!(told(&server, "user add bob"), "added user bob\n");
    let (code, why) = refused(&server, "user add bob");
    assert!(code == 1 && why.contains("bob already; choose another name"), "{why}");
    let (code, why) = refused(&server, "user add Bob --json");
    assert!(code == 1 && why.contains("is no name for a user"), "{why}");
    assert_eq!(
        told(&server, "user list"),
        "NAME   ADMIN  ACTIVE  SOURCE\nalice  yes    yes     -\nbob    no     yes     -\n"
    );
    let users = lines(&server, "user list --json");
    assert_eq!((users.len(), &users[0]["name"], &users[0]["admin"]), (2, &json!("alice"), &json!(true)));
    assert_eq!(told(&server, "user password bob --password-stdin"), "user bob has a new password\n");
    assert_eq!(refused(&server, "user password bob").0, 2);
    assert_eq!(told(&server, "user set bob --active false"), "bob, not active\n");
    assert_eq!(told(&server, "user set bob --active true"), "bob\n");

    assert_eq!(told(&server, "org add acme"), "added organization acme\n");
    assert_eq!(told(&server, "org member add acme alice --role owner"), "alice is owner of acme\n");
    assert_eq!(told(&server, "org member add acme bob"), "bob is member of acme\n");
    assert_eq!(told(&server, "org member list acme"), "USER   ROLE\nalice  owner\nbob    member\n");
    assert_eq!(lines(&server, "org list --json")[0]["name"], "acme");
    assert_eq!(told(&server, "team add acme/dev"), "added team acme/dev\n");
    assert_eq!(told(&server, "team member add acme/dev bob"), "bob is in team acme/dev\n");
    assert_eq!(told(&server, "team member list acme/dev"), "USER\nbob\n");
    assert_eq!(refused(&server, "team add dev").0, 2);

    assert_eq!(told(&server, "repo add acme/app --visibility public --immutable-tags"), "added repository acme/app\n");
    assert_eq!(told(&server, "repo show acme/app"), "acme/app, public, immutable tags\n");
    assert_eq!(told(&server, "repo set acme/app --visibility private"), "acme/app, private, immutable tags\n");
    let app = lines(&server, "repo list --json").remove(0);
    assert_eq!((&app["name"], &app["visibility"]), (&json!("acme/app"), &json!("private")));
    let granted = told(&server, "repo grant acme/app --team acme/dev --access read-write");
    assert_eq!(granted, "team acme/dev has read-write access to acme/app\n");
    assert_eq!(told(&server, "robot add acme+ci"), "added robot acme+ci\n");
    told(&server, "repo grant --namespace acme --robot acme+ci --access read-only");
    let grants = lines(&server, "repo grants acme/app --json");
    assert_eq!(grants, [json!({"team": "acme/dev", "access": "read-write"})]);
    assert_eq!(
        told(&server, "repo grants --namespace acme"),
        "TEAM  USER  ROBOT    ACCESS\n-     -     acme+ci  read-only\n"
    );
    assert_eq!(refused(&server, "repo grant acme/app --namespace acme --user bob --access admin").0, 2);
    assert_eq!(refused(&server, "repo grant acme/app --access admin").0, 2);
    told(&server, "repo revoke acme/app --team acme/dev");
    assert!(lines(&server, "repo grants acme/app --json").is_empty());

    let made = on(
        &server,
        "token add --name ci --for robot:acme+ci --expires 30d --scope pull,push:acme/app --scope pull:acme/*",
    );
    let secret = text(&made);
    assert!(secret.starts_with("rsd_") && secret.trim_end().len() == 101, "the secret and nothing else: {secret}");
    assert!(!String::from_utf8_lossy(&made.stderr).contains("rsd_"));
    let token = lines(&server, "token list --for robot:acme+ci --json").remove(0);
    assert_eq!((&token["name"], &token["scope"]), (&json!("ci"), &json!("pull,push:acme/app pull:acme/*")));
    let life = token["expires_at"].as_i64().unwrap() - token["created_at"].as_i64().unwrap();
    assert!((30 * 86_400_000 - 10_000..=30 * 86_400_000).contains(&life), "{token}");
    let id = token["id"].as_str().unwrap();
    assert_eq!(told(&server, &format!("token revoke {id}")), format!("revoked token {id}\n"));
    assert!(told(&server, "token list --for robot:acme+ci").lines().nth(1).unwrap().starts_with(id));
    assert!(refused(&server, "token add --name mine").1.contains("say for whom the token is"));

    assert!(refused(&server, "key rotate").1.contains("auth.enabled"));
    told(&server, "robot remove acme+ci");
    told(&server, "team member remove acme/dev bob");
    told(&server, "team remove acme/dev");
    told(&server, "org member remove acme bob");
    assert!(refused(&server, "org remove acme").1.contains("has repositories, acme/app among them"));
    assert_eq!(told(&server, "repo remove acme/app"), "removed repository acme/app\n");
    assert_eq!(told(&server, "org remove acme"), "removed organization acme\n");
    assert_eq!(told(&server, "user remove bob"), "removed user bob\n");
    assert!(refused(&server, "user remove alice").1.contains("the last"));
    let all = server.ended();
    assert!(!all.contains(PASSWORD) && !all.contains("rsd_"), "secrets in the log: {all}");
}

#[test]
fn more_than_a_page_is_listed_to_its_end() {
    let server = scale::launch().start();
    // Over the API, which is quicker than as many processes.
    let socket = server.directory().join("metadata/admin.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for number in 0..1_001 {
        let body = json!({"name": format!("u{number:04}")}).to_string();
        let length = body.len();
        write!(stream, "POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let (head, body) = message(&mut answers);
        assert!(head.starts_with("HTTP/1.1 201"), "{head}{body}");
    }
    let names: Vec<_> = lines(&server, "user list --json").into_iter().map(|user| user["name"].clone()).collect();
    assert_eq!((names.len(), &names[0], &names[1_000]), (1_001, &json!("u0000"), &json!("u1000")));
}

/// The head and the body of the next message.
fn message(stream: &mut impl std::io::BufRead) -> (String, String) {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim_end().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// A server that answers with these in turn, a connection each, and keeps what it was asked.
struct Scripted {
    url: String,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Scripted {
    fn start(answers: Vec<(&'static str, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        std::thread::spawn(move || {
            for (status, body) in answers {
                let mut stream = listener.accept().unwrap().0;
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                kept.lock().unwrap().push(message(&mut reader));
                let body = if body.is_null() { String::new() } else { body.to_string() };
                let length = body.len();
                let _ =
                    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            }
        });
        Self { url, asked }
    }

    /// What the request with this number was: its first line, its credentials, its body.
    fn asked(&self, number: usize) -> (String, String, String) {
        let (head, body) = self.asked.lock().unwrap()[number].clone();
        let first = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        let header = head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:"));
        (first, header.map_or("", |line| line.split_once(": ").unwrap().1.trim_end()).to_owned(), body)
    }
}

/// A command of somebody whose configuration is kept there.
fn at(home: &Path, words: &[&str]) -> Command {
    let mut command = scale::program();
    command.args(words).env("XDG_CONFIG_HOME", home);
    command
}

#[test]
fn a_login_keeps_a_token_and_a_logout_ends_it() {
    let home = tempfile::tempdir().unwrap();
    let secret = format!("rsd_{}_{}", "1".repeat(32), "2".repeat(64));
    let id = "019b0000-0000-7000-8000-000000000001";
    let wrong = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
    let server = Scripted::start(vec![
        ("401 Unauthorized", wrong.clone()),
        ("201 Created", json!({"id": id, "secret": secret})),
        ("200 OK", json!([{"name": "alice", "admin": true, "active": true}])),
        ("200 OK", json!([])),
        ("204 No Content", Value::Null),
        ("401 Unauthorized", wrong),
    ]);
    let login = ["login", &server.url, "-u", "alice", "--password-stdin"];
    let bad = fed(at(home.path(), &login), "wrong horse\n");
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("the name or the password is wrong"), "{bad:?}");
    let good = text(&fed(at(home.path(), &login), &format!("{PASSWORD}\n")));
    assert_eq!(good, format!("logged in to {} as alice\n", server.url));
    // `printf alice:correct horse | base64`
    let (line, credentials, body) = server.asked(1);
    assert_eq!((line.as_str(), credentials.as_str()), ("POST /api/v1/tokens", "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ=="));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(body["name"].as_str().unwrap().starts_with("roadstead login on "), "{body}");
    assert_eq!(body["expires_in"], 90 * 86_400);
    let file = home.path().join("roadstead/logins.json");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains(&secret) && !kept.contains(PASSWORD), "{kept}");

    let listed = text(&at(home.path(), &["user", "list", "--server", &server.url]).output().unwrap());
    assert_eq!(listed, "NAME   ADMIN  ACTIVE  SOURCE\nalice  yes    yes     -\n");
    assert_eq!(server.asked(2).0, "GET /api/v1/users?n=1000");
    assert_eq!(server.asked(2).1, format!("Bearer {secret}"));
    // What the environment says counts first.
    let mut other = at(home.path(), &["repo", "list"]);
    other.env("ROADSTEAD_SERVER", &server.url).env("ROADSTEAD_TOKEN", "rsd_other");
    text(&other.output().unwrap());
    assert_eq!(server.asked(3).1, "Bearer rsd_other");

    text(&at(home.path(), &["logout", &server.url]).output().unwrap());
    let (line, credentials, _) = server.asked(4);
    assert_eq!((line, credentials), (format!("DELETE /api/v1/tokens/{id}"), format!("Bearer {secret}")));
    assert!(!std::fs::read_to_string(&file).unwrap().contains("rsd_"));
    let again = at(home.path(), &["user", "list", "--server", &server.url]).output().unwrap();
    assert_eq!(server.asked(5).1, "", "nobody's credentials");
    let why = String::from_utf8(again.stderr).unwrap();
    assert!(why.contains(&format!("log in by `roadstead login {} -u NAME", server.url)), "{why}");
    assert_eq!(at(home.path(), &["logout", &server.url]).output().unwrap().status.code(), Some(1));
}

#[test]
fn credentials_are_not_sent_in_the_clear() {
    let home = tempfile::tempdir().unwrap();
    let mut command = at(home.path(), &["user", "list", "--server", "http://registry.invalid"]);
    let output = command.env("ROADSTEAD_TOKEN", "rsd_x").output().unwrap();
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && why.contains("speaks no TLS"), "{why}");
}

#[test]
fn a_server_with_tls_is_asked_by_who_trusts_its_authority() {
    let (directory, issuer) = (tempfile::tempdir().unwrap(), Issuer::new("operator"));
    let (certificate, key) = issuer.server(&["localhost", "127.0.0.1"]).write(directory.path());
    let server = scale::launch()
        .set("ROADSTEAD_HTTP__TLS__CERTIFICATE", certificate.to_str().unwrap())
        .set("ROADSTEAD_HTTP__TLS__KEY", key.to_str().unwrap())
        .start();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, issuer.certificate()).unwrap();
    let url = format!("https://{}", server.addr());
    let ask = |more: &[&str]| at(directory.path(), &[&["status", "--server", &url], more].concat()).output().unwrap();
    let page = text(&ask(&["--ca", ca.to_str().unwrap()]));
    assert!(page.lines().nth(1).unwrap().starts_with(&server.addr().to_string()), "{page}");
    let stranger = ask(&[]);
    let why = String::from_utf8(stranger.stderr).unwrap();
    assert!(stranger.status.code() == Some(1) && why.contains("--ca FILE"), "{why}");
    let nothing = ask(&["--ca", key.to_str().unwrap()]);
    assert!(String::from_utf8(nothing.stderr).unwrap().contains("there is no certificate in it"));
    let plain = at(directory.path(), &["status", "--server", &url.replace("https", "http")]).output().unwrap();
    assert_eq!(plain.status.code(), Some(1), "{plain:?}");
}

/// With access control and TLS: by a login, by a token in the environment, and by nobody.
#[test]
fn a_registry_is_administered_from_elsewhere() {
    let (home, issuer) = (tempfile::tempdir().unwrap(), Issuer::new("operator"));
    let (certificate, key) = issuer.server(&["127.0.0.1"]).write(home.path());
    let server = scale::launch()
        .set("ROADSTEAD_AUTH__ENABLED", "true")
        .set("ROADSTEAD_ADMIN_PASSWORD", PASSWORD)
        .set("ROADSTEAD_HTTP__TLS__CERTIFICATE", certificate.to_str().unwrap())
        .set("ROADSTEAD_HTTP__TLS__KEY", key.to_str().unwrap())
        .set("ROADSTEAD_LOG__LEVEL", "debug")
        .start();
    let ca = home.path().join("ca.pem");
    std::fs::write(&ca, issuer.certificate()).unwrap();
    let (ca, url) = (ca.to_str().unwrap(), format!("https://{}", server.addr()));
    let ask = |words: &str| {
        let mut command = at(home.path(), &words.split(' ').collect::<Vec<_>>());
        command.env("ROADSTEAD_SERVER", &url);
        fed(command, &format!("{PASSWORD}\n"))
    };
    let nobody = ask(&format!("user list --ca {ca}"));
    assert!(String::from_utf8(nobody.stderr).unwrap().contains("log in by"), "nobody logged in");
    assert!(!ask(&format!("login {url} -u admin --password-file /dev/null --ca {ca}")).status.success());
    text(&ask(&format!("login {url} -u admin --password-stdin --ca {ca}")));

    // The authority is remembered with the login.
    assert_eq!(text(&ask("user show")), "admin, user, admin\n");
    text(&ask("user add bob --password-stdin"));
    text(&ask("org add acme"));
    text(&ask("team add acme/dev"));
    text(&ask("team member add acme/dev bob"));
    text(&ask("repo add acme/app"));
    text(&ask("repo grant acme/app --team acme/dev --access read-only"));
    text(&ask("gc --dry-run"));
    assert!(text(&ask("key rotate")).starts_with("tokens are signed with key "));
    assert!(text(&ask("key rotate --now")).contains("; 2 other keys have ended"));
    assert!(text(&ask("status")).contains("answers"));
    let token = text(&ask("token add --name mine --for user:bob"));
    let as_bob = |words: &str| {
        let mut command = at(home.path(), &words.split(' ').collect::<Vec<_>>());
        command.env("ROADSTEAD_SERVER", &url).env("ROADSTEAD_TOKEN", token.trim()).env("ROADSTEAD_CA", ca);
        command.output().unwrap()
    };
    assert_eq!(text(&as_bob("user show")), "bob, user\n");
    assert_eq!(text(&as_bob("repo list")), "NAME      VISIBILITY  IMMUTABLE TAGS\nacme/app  private     no\n");
    for words in ["user list", "gc --dry-run", "scrub", "repo set acme/app --visibility public"] {
        let refused = as_bob(words);
        assert_eq!(refused.status.code(), Some(1), "{words}: {refused:?}");
    }
    let id = serde_json::from_str::<Value>(text(&as_bob("token list --json")).lines().next().unwrap()).unwrap();
    text(&as_bob(&format!("token revoke {}", id["id"].as_str().unwrap())));
    assert_eq!(as_bob("user show").status.code(), Some(1), "revoked");

    let kept: Value =
        serde_json::from_str(&std::fs::read_to_string(home.path().join("roadstead/logins.json")).unwrap()).unwrap();
    let login = kept["servers"][&url]["token"].as_str().unwrap().to_owned();
    text(&ask(&format!("logout {url}")));
    let mut again = at(home.path(), &["user", "show", "--server", &url, "--ca", ca]);
    assert_eq!(again.env("ROADSTEAD_TOKEN", &login).output().unwrap().status.code(), Some(1), "logged out");
    let output = server.ended();
    for secret in [PASSWORD, &login[37..], &token.trim()[37..]] {
        assert!(!output.contains(secret), "a secret is in the log: {output}");
    }
}
