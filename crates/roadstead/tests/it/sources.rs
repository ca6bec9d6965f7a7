//! Users of others: of a htpasswd file.

use std::path::{Path, PathBuf};

use roadstead_testkit::{Body, Client, Image, Launch, Request, Seed, Server};
use serde_json::Value;

use crate::gc::roadstead;
use crate::scale;

pub(crate) const ADMIN: &str = "the admin's password";

/// The line of a user.
fn line(name: &str, password: &str) -> String {
    format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
}

/// A file of users beside the data, and how a server is started with it.
fn users(directory: &Path, text: &str) -> (PathBuf, Launch) {
    let path = directory.join("users");
    std::fs::write(&path, text).unwrap();
    let launch = scale::launch().set("ROADSTEAD_ADMIN_PASSWORD", ADMIN).set("ROADSTEAD_LOG__LEVEL", "info");
    (path.clone(), launch.set("ROADSTEAD_AUTH__HTPASSWD__PATH", path.to_str().unwrap()))
}

/// Writes the file anew and waits until the server has said this of it.
fn replace(server: &Server, path: &Path, text: &str, said: &str) {
    let printed = server.printed();
    std::fs::write(path, text).unwrap();
    until_said(server, printed, said);
}

/// Waits until the server, after so many lines, has said this.
pub(crate) fn until_said(server: &Server, printed: usize, said: &str) {
    while !server.printed_since(printed).iter().any(|line| line.contains(said)) {
        std::thread::yield_now();
    }
}

/// What somebody is answered who comes with a password.
pub(crate) fn comes(server: &Server, name: &str, password: &str) -> u16 {
    status(&server.client().user(name, password), "/v2/")
}

fn status(client: &Client, path: &str) -> u16 {
    client.call("GET", path).unwrap().status
}

pub(crate) fn told(server: &Server, words: &str) -> String {
    let output = roadstead(server.directory(), &words.split(' ').collect::<Vec<_>>());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(server: &Server, words: &str) -> String {
    let output = roadstead(server.directory(), &words.split(' ').collect::<Vec<_>>());
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Who shows a token of the token endpoint that a password was exchanged for.
fn bearer(server: &Server, name: &str, password: &str) -> Request {
    let answer = server.client().user(name, password).call("GET", "/auth/token?service=roadstead").unwrap();
    assert_eq!(answer.status, 200);
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    Request::new("GET", "/v2/").header("Authorization", format!("Bearer {token}"))
}

pub(crate) fn metrics(server: &Server) -> String {
    String::from_utf8(server.client().call("GET", "/metrics").unwrap().body).unwrap()
}

#[test]
fn users_of_a_file_come_in_with_the_passwords_they_have_there() {
    let directory = tempfile::tempdir().unwrap();
    let (path, launch) = users(directory.path(), &(line("alice", "one of alice") + &line("bob", "one of bob")));
    let server = launch.start();
    assert_eq!(comes(&server, "alice", "one of alice"), 200);
    for (name, wrong) in [("alice", "one of bob"), ("eve", "one of alice"), ("alice", "")] {
        assert_eq!(comes(&server, name, wrong), 401, "{name} {wrong}");
    }
    // With its own namespace, and nothing else.
    let (alice, image) = (server.client().user("alice", "one of alice"), Image::generate(Seed(1), &[1_000]));
    alice.push_image("alice/app", "v1", &image).unwrap();
    assert!(alice.push_image("bob/app", "v1", &image).is_err());
    let listed = told(&server, "user list");
    assert!(
        listed.contains("alice  no     yes     htpasswd\n") && listed.contains("admin  yes    yes     -\n"),
        "{listed}"
    );
    assert!(!listed.contains("bob"), "{listed}");
    assert_eq!(told(&server, "user show alice"), "alice, of htpasswd\n");
    let form = "grant_type=password&username=alice&password=one+of+alice&access_type=offline";
    let post = Request::new("POST", "/auth/token").header("Content-Type", "application/x-www-form-urlencoded");
    let answer = server.client().send(&post, Body::Bytes(form.as_bytes())).unwrap().json();
    assert!(answer["access_token"].is_string() && answer["refresh_token"].is_null(), "it would outlive the password");

    // Another password: neither the one that is remembered nor what was given for it holds any more.
    let token = bearer(&server, "alice", "one of alice");
    assert_eq!(server.client().send(&token, Body::None).unwrap().status, 200);
    let two = line("alice", "two of alice");
    replace(&server, &path, &two, "users come in as the file has them now");
    assert_eq!(comes(&server, "alice", "one of alice"), 401);
    assert_eq!(server.client().send(&token, Body::None).unwrap().status, 401);
    assert_eq!(comes(&server, "bob", "one of bob"), 401);
    let alice = server.client().user("alice", "two of alice");
    assert_eq!(alice.pull_image("alice/app", "v1").unwrap(), image.digest(), "it is the same user");

    // A file that cannot be used changes nothing, and says so.
    assert!(metrics(&server).contains("roadstead_identity_source_current{source=\"htpasswd\"} 1"));
    let broken = two.clone() + "eve:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\n";
    replace(&server, &path, &broken, "users:2: the password of eve is not hashed with bcrypt");
    assert!(metrics(&server).contains("roadstead_identity_source_current{source=\"htpasswd\"} 0"));
    assert_eq!(comes(&server, "alice", "two of alice"), 200);
    replace(&server, &path, &line("bob", "two of bob"), "users come in as the file has them now");
    assert!(metrics(&server).contains("roadstead_identity_source_current{source=\"htpasswd\"} 1"));
    assert_eq!((comes(&server, "alice", "two of alice"), comes(&server, "bob", "two of bob")), (401, 200));

    let events = told(&server, "audit --json --action login");
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bob = events.iter().find(|event| event["actor"] == "bob" && event["outcome"] == "ok").unwrap();
    assert_eq!(bob["detail"], "by htpasswd");
    let made = told(&server, "audit --json --action user.add");
    assert!(made.contains("user of htpasswd, at the first login"), "{made}");
    let output = server.ended();
    assert!(!output.contains("$2b$") && !output.contains("$apr1$") && !output.contains("of alice"), "{output}");
}

#[test]
fn a_user_of_ours_is_no_user_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["admin", "bob", "carol", "dave", "acme"];
    let (_, launch) = users(directory.path(), &names.map(|name| line(name, "of the file")).concat());
    let server = launch.start();
    assert_eq!(comes(&server, "admin", "of the file"), 401);
    assert_eq!(comes(&server, "admin", ADMIN), 200);
    // Also one without a password, and an organization.
    told(&server, "user add carol");
    told(&server, "org add acme");
    assert_eq!((comes(&server, "carol", "of the file"), comes(&server, "acme", "of the file")), (401, 401));

    assert_eq!(comes(&server, "dave", "of the file"), 200);
    let why = refused(&server, "user password dave --password-file /dev/null");
    assert!(why.contains("the password is empty"), "{why}");
    let password = directory.path().join("password");
    std::fs::write(&password, "a password of ours\n").unwrap();
    let why = refused(&server, &format!("user password dave --password-file {}", password.display()));
    assert!(why.contains("user dave is one of htpasswd; change its password there"), "{why}");

    // Who is not active stays out, who was removed comes without what it had.
    told(&server, "user set dave --admin true");
    told(&server, "user set dave --active false");
    assert_eq!(comes(&server, "dave", "of the file"), 401);
    told(&server, "user set dave --active true");
    assert_eq!(told(&server, "user show dave"), "dave, admin, of htpasswd\n");
    assert_eq!(comes(&server, "dave", "of the file"), 200);
    told(&server, "user remove dave");
    assert_eq!(comes(&server, "dave", "of the file"), 200);
    assert_eq!(told(&server, "user show dave"), "dave, of htpasswd\n");

    // Before the first login, by who names somebody that there is.
    told(&server, "user add bob --source htpasswd --admin");
    assert_eq!(comes(&server, "bob", "of the file"), 200);
    let why = refused(&server, "user add eve --source ldap");
    assert!(why.contains("no ldap vouches for users here; htpasswd does"), "{why}");
}

/// What was pushed while nobody was asked who it is does not become the first one's whose name fits.
#[test]
fn a_namespace_that_is_there_is_not_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let server = scale::launch().start();
    let image = Image::generate(Seed(1), &[1_000]);
    server.client().push_image("team/app", "v1", &image).unwrap();
    let (_, data) = server.terminate();
    let (_, launch) = users(directory.path(), &line("team", "of the file"));
    let server = launch.start_on(data);
    assert_eq!(comes(&server, "team", "of the file"), 401);
    until_said(&server, 0, "`roadstead user add team --source htpasswd`");
    told(&server, "user add team --source htpasswd");
    let team = server.client().user("team", "of the file");
    assert_eq!(team.pull_image("team/app", "v1").unwrap(), image.digest());
}

#[test]
fn a_file_that_cannot_be_used_ends_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let (path, launch) = users(directory.path(), "# ours\nalice:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\n");
    let why =
        format!("{}:2: the password of alice is not hashed with bcrypt; set it anew: `htpasswd -B", path.display());
    let data = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (status, output) = launch.try_start_on(data.clone()).unwrap_err();
    assert!(!status.success() && output.contains(&why), "{output}");
    let check = || {
        let mut command = scale::program();
        let command = command.args(["config", "check"]).env("ROADSTEAD_AUTH__HTPASSWD__PATH", &path);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, output) = check();
    assert!(code == Some(2) && output.contains(&why), "{output}");
    std::fs::remove_file(&path).unwrap();
    let (code, output) = check();
    assert!(code == Some(2) && output.contains("auth.htpasswd.path must name a file"), "{output}");
    std::fs::write(&path, line("alice", "one of alice")).unwrap();
    assert_eq!(check().0, Some(0));
    assert_eq!(comes(&launch.start_on(data), "alice", "one of alice"), 200);
}
