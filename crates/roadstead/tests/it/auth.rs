//! The server with access control on: who comes in, and by what.

use roadstead_testkit::{Body, Client, Image, Refused, Request, Server};

use crate::scale;

const PASSWORD: &str = "correct horse";

/// The status of a request.
fn status(client: &Client, method: &str, path: &str) -> u16 {
    client.call(method, path).unwrap().status
}

/// What the first start says of the admin that it made.
fn shown(server: &Server) -> Option<String> {
    let output = server.output();
    let line = output.lines().find_map(|line| line.strip_prefix("user admin was made with password "));
    line.map(|rest| rest.split(',').next().unwrap_or_default().to_owned())
}

#[test]
fn the_first_start_makes_an_admin_and_says_so_once() {
    let launch = scale::launch().set("ROADSTEAD_AUTH__ENABLED", "true");
    let server = launch.start();
    let password = shown(&server).expect("a password");
    assert_eq!(password.len(), 40);
    let nobody = server.client();
    assert_eq!(status(&nobody, "GET", "/v2/"), 401);
    // It is `starting` until its components were probed once.
    let healthy = (0..200).any(|_| {
        let answered = status(&nobody, "GET", "/load_balancer_status") == 200;
        if !answered {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        answered
    });
    assert!(healthy);
    let (admin, wrong) = (server.client().user("admin", &password), server.client().user("admin", PASSWORD));
    assert_eq!((status(&admin, "GET", "/v2/"), status(&wrong, "GET", "/v2/")), (200, 401));
    let image = Image::generate(scale::seed(), &[1_000, 20_000]);
    admin.push_image("admin/app", "v1", &image).unwrap();
    match nobody.pull_image("admin/app", "v1").unwrap_err() {
        Refused::Answer { response, .. } => assert_eq!(response.status, 401),
        other => panic!("{other}"),
    }
    let server = server.restart();
    assert_eq!(shown(&server), None, "once");
    assert_eq!(server.client().user("admin", &password).pull_image("admin/app", "v1").unwrap(), image.digest());
    assert!(!server.ended().contains(&password));
}

#[test]
fn a_password_that_is_given_is_taken_once() {
    let launch = scale::launch().set("ROADSTEAD_AUTH__ENABLED", "true").set("ROADSTEAD_ADMIN_PASSWORD", PASSWORD);
    let server = launch.start();
    assert_eq!(shown(&server), None);
    let admin = server.client().user("admin", PASSWORD);
    assert_eq!(status(&admin, "GET", "/v2/"), 200);
    let settings = String::from_utf8(admin.call("GET", "/api/v1/settings").unwrap().body).unwrap();
    assert!(
        settings.contains(r#"{"key":"auth.enabled","value":"true","from":"ROADSTEAD_AUTH__ENABLED"}"#),
        "{settings}"
    );
    assert!(!settings.contains(PASSWORD));
    let (_, directory) = server.terminate();
    // Another one later changes nothing.
    let server = launch.set("ROADSTEAD_ADMIN_PASSWORD", "another horse").start_on(directory);
    assert_eq!(status(&server.client().user("admin", PASSWORD), "GET", "/v2/"), 200);
    assert_eq!(status(&server.client().user("admin", "another horse"), "GET", "/v2/"), 401);
}

/// A secret is nowhere in what the server writes, whatever goes wrong with it.
#[test]
fn secrets_are_not_written_down() {
    let launch = scale::launch().set("ROADSTEAD_AUTH__ENABLED", "true").set("ROADSTEAD_ADMIN_PASSWORD", PASSWORD);
    let server = launch.set("ROADSTEAD_LOG__LEVEL", "trace").start();
    let client = server.client();
    let admin = server.client().user("admin", PASSWORD);
    let form = format!("grant_type=password&username=admin&password={PASSWORD}&access_type=offline");
    let post = Request::new("POST", "/auth/token").header("Content-Type", "application/x-www-form-urlencoded");
    let answer = client.send(&post, Body::Bytes(form.as_bytes())).unwrap();
    assert_eq!(answer.status, 200);
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let token = |name: &str| answer[name].as_str().unwrap().to_owned();
    let (bearer, refresh) = (token("access_token"), token("refresh_token"));
    let shown = Request::new("GET", "/v2/").header("Authorization", format!("Bearer {bearer}"));
    assert_eq!(client.send(&shown, Body::None).unwrap().status, 200);
    let refreshed = format!("grant_type=refresh_token&refresh_token={refresh}");
    assert_eq!(client.send(&post, Body::Bytes(refreshed.as_bytes())).unwrap().status, 200);
    assert_eq!(client.send(&post, Body::Bytes(refreshed.as_bytes())).unwrap().status, 401);
    assert_eq!(status(&server.client().user("admin", "guess guess"), "GET", "/auth/token"), 401);
    assert_eq!(status(&admin, "GET", "/auth/token?scope=repository:a/b:pull"), 200);
    let output = server.ended();
    for secret in [PASSWORD, "guess guess", &bearer, &refresh, &refresh[37..]] {
        assert!(!output.contains(secret), "{secret} is in the log");
    }
}
