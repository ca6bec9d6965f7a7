//! An issuer that answers, and what its tokens come to.
#![allow(clippy::unwrap_used)]

use parking_lot::Mutex;
use roadstead_testkit::{IdentityProvider, TokenKey};
use serde_json::{Value, json};

use super::*;

/// Stands until it is put forward.
#[derive(Debug)]
struct Standing(Mutex<Duration>);

/// Seconds since the Unix epoch.
const NOW: u64 = 1_800_000_000;

impl Clock for Standing {
    fn now(&self) -> i64 {
        self.0.lock().as_millis() as i64
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock()
    }
}

struct World {
    provider: IdentityProvider,
    clock: Arc<Standing>,
    oidc: Arc<Oidc>,
}

impl World {
    async fn new() -> Self {
        let (provider, clock) = (IdentityProvider::start(), Arc::new(Standing(Mutex::new(Duration::from_secs(NOW)))));
        let oidc = Oidc::open(&options(&provider.issuer()), clock.clone()).await.unwrap();
        Self { provider, clock, oidc }
    }

    fn advance(&self, seconds: u64) {
        *self.clock.0.lock() += Duration::from_secs(seconds);
    }

    fn claims(&self) -> Value {
        let now = self.clock.now() / 1000;
        json!({
            "iss": self.provider.issuer(), "aud": "registry", "sub": "1", "preferred_username": "alice",
            "iat": now, "exp": now + 300,
        })
    }

    async fn judge(&self, token: &str) -> Outcome<Verdict> {
        self.oidc.judge(Some("alice"), token, &Passwords::default()).await
    }

    /// What a token is found to be that the newest key signed, with these claims in place of the right ones.
    async fn with(&self, other: Value) -> Verdict {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.judge(&self.provider.key().token(&claims)).await.unwrap()
    }
}

fn options(issuer: &str) -> OidcOptions {
    OidcOptions {
        issuer: issuer.to_owned(),
        audience: "registry".into(),
        username_claim: "preferred_username".into(),
        username_prefix: String::new(),
        subject_claim: "sub".into(),
        required_claims: Vec::new(),
        create_accounts: true,
        ca: None,
    }
}

fn is_away(outcome: &Outcome<Verdict>) -> bool {
    matches!(outcome, Err(IdentityError::Registry(Error::SourceUnavailable { .. })))
}

#[tokio::test]
async fn a_right_token_names_its_user_until_it_ends() {
    let world = World::new().await;
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let key = world.provider.rotate(algorithm);
        let until = (NOW as i64 + 300) * 1000;
        let token = key.token(&world.claims());
        assert!(world.oidc.recognizes(&token), "{algorithm}");
        let right = world.judge(&token).await.unwrap();
        assert!(matches!(right, Verdict::Stated { until: end, .. } if end == until), "{algorithm}: {right:?}");
        // The only one of its kind needs no id.
        let nameless = key.token_with(&json!({"alg": algorithm, "typ": "jwt"}), &world.claims());
        assert_eq!(world.judge(&nameless).await.unwrap(), right, "{algorithm}");
    }
    for right in [
        json!({"aud": ["other", "registry"], "azp": "registry"}),
        json!({"typ": "ID"}),
        json!({"exp": NOW + 24 * 3_600}),
        json!({"nbf": NOW + 59}),
        json!({"iat": NOW + 60}),
        json!({"exp": NOW as f64 + 0.5 + 1.0}),
    ] {
        assert!(matches!(world.with(right.clone()).await, Verdict::Stated { .. }), "{right}");
    }
    assert_eq!(world.oidc.judge(None, "x", &Passwords::default()).await.unwrap(), Verdict::Nobody);
    let prefixed = OidcOptions { username_prefix: "ci-".into(), ..options(&world.provider.issuer()) };
    let prefixed = Oidc::open(&prefixed, world.clock.clone()).await.unwrap();
    let token = world.provider.key().token(&world.claims());
    for (name, verdict) in [("ci-alice", true), ("alice", false)] {
        let found = prefixed.judge(Some(name), &token, &Passwords::default()).await.unwrap();
        assert_eq!(matches!(found, Verdict::Stated { .. }), verdict, "{name}");
    }
}

#[tokio::test]
async fn claims_that_do_not_fit_are_wrong() {
    let world = World::new().await;
    for wrong in [
        json!({"aud": "other"}),
        json!({"aud": ["other"]}),
        json!({"aud": null}),
        json!({"aud": {"registry": 1}}),
        json!({"aud": ["other", "registry"], "azp": "other"}),
        json!({"azp": ["registry"]}),
        json!({"typ": "Bearer"}),
        json!({"typ": 1}),
        json!({"exp": NOW + 24 * 3_600 + 1}),
        json!({"exp": 1_u64 << 62}),
        json!({"exp": NOW}),
        json!({"exp": NOW - 1}),
        json!({"exp": null}),
        json!({"exp": "tomorrow"}),
        json!({"iat": null}),
        json!({"iat": NOW + 61}),
        json!({"nbf": NOW + 61}),
        json!({"nbf": "x"}),
        json!({"preferred_username": "bob"}),
        json!({"preferred_username": "Alice"}),
        json!({"preferred_username": ["alice"]}),
        json!({"preferred_username": null}),
        json!({"preferred_username": "library"}),
        // Whose name that is, is not said.
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": ["1"]}),
        json!({"sub": "1\u{0}"}),
        json!({"sub": "1\nalice"}),
        json!({"sub": "x".repeat(256)}),
    ] {
        assert_eq!(world.with(wrong.clone()).await, Verdict::Wrong, "{wrong}");
    }
    // Of another issuer it is not judged at all.
    assert_eq!(world.with(json!({"iss": "https://other"})).await, Verdict::Nobody);
    assert_eq!(world.with(json!({"iss": format!("{}/", world.provider.issuer())})).await, Verdict::Nobody);
}

#[tokio::test]
async fn what_the_issuer_did_not_sign_is_wrong() {
    let world = World::new().await;
    let (key, claims) = (world.provider.key(), world.claims());
    let right = key.token(&claims);
    assert!(matches!(world.judge(&right).await, Ok(Verdict::Stated { .. })));
    let stranger = TokenKey::new("key-1", "ES256");
    let rsa = TokenKey::new("key-1", "RS256");
    let (head, rest) = right.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let bob = stranger.token(&json!({"iss": world.provider.issuer(), "preferred_username": "alice", "exp": NOW * 2}));
    let other_payload = bob.split('.').nth(1).unwrap();
    for wrong in [
        key.nobodys(&claims),
        key.symmetric(key.published().to_string().as_bytes(), &claims),
        key.symmetric(key.published()["x"].as_str().unwrap().as_bytes(), &claims),
        // The set has one for this, which is a password and no public key.
        TokenKey::new("secret", "ES256").symmetric(b"secret", &claims),
        stranger.token(&claims),
        rsa.token(&claims),
        rsa.token_with(&json!({"alg": "ES256", "kid": "key-1"}), &claims),
        key.token_with(&json!({"alg": "ES384", "kid": "key-1"}), &claims),
        key.token_with(&json!({"alg": "ES256", "kid": "key-1", "crit": ["b64"], "b64": false}), &claims),
        key.token_with(&json!({"alg": "none", "kid": "key-1"}), &claims),
        key.token_with(&json!({"alg": "ES256", "kid": "key-1", "typ": "at+jwt"}), &claims),
        key.token_with(&json!({"alg": "ES256", "kid": "key-1", "typ": "logout+jwt"}), &claims),
        format!("{head}.{other_payload}.{signature}"),
        format!("{head}.{payload}."),
        format!("{head}.{payload}.{}", &signature[..signature.len() - 4]),
    ] {
        assert_eq!(world.judge(&wrong).await.unwrap(), Verdict::Wrong, "{wrong}");
    }
    for none in ["", "a.b.c", "secret", &right[..right.len() / 2], &format!("{right}.x")] {
        assert!(!world.oidc.recognizes(none), "{none}");
    }
}

#[tokio::test]
async fn new_keys_are_asked_for_and_not_too_often() {
    let world = World::new().await;
    let old = world.provider.key();
    assert!(matches!(world.with(json!({})).await, Verdict::Stated { .. }));
    assert!(matches!(world.with(json!({})).await, Verdict::Stated { .. }));
    assert_eq!(world.provider.asked(), 1, "they are kept");
    world.provider.rotate("ES256");
    assert!(matches!(world.with(json!({})).await, Verdict::Stated { .. }));
    assert_eq!(world.provider.asked(), 2);
    // The old key is none any more.
    assert_eq!(world.judge(&old.token(&world.claims())).await.unwrap(), Verdict::Wrong);
    // Whoever names keys that there are not makes us ask five times, then once in ten seconds.
    for number in 0..50 {
        let stranger = TokenKey::new(&format!("none-{number}"), "EdDSA").token(&world.claims());
        let judged = world.judge(&stranger).await;
        match number {
            0..2 => assert_eq!(judged.unwrap(), Verdict::Wrong),
            // Who was not asked may have it by now.
            _ => assert!(is_away(&judged), "{number}: {judged:?}"),
        }
    }
    assert_eq!(world.provider.asked(), 5);
    world.advance(10);
    let stranger = TokenKey::new("none", "EdDSA").token(&world.claims());
    assert_eq!(world.judge(&stranger).await.unwrap(), Verdict::Wrong);
    assert!(is_away(&world.judge(&stranger).await));
    assert_eq!(world.provider.asked(), 6);
    // Old keys are asked for again.
    world.advance(3_601);
    assert!(matches!(world.with(json!({})).await, Verdict::Stated { .. }));
    assert_eq!(world.provider.asked(), 7);
}

#[tokio::test]
async fn claims_that_are_required_hold_all() {
    let mut world = World::new().await;
    let required_claims = [("repository_owner", "acme"), ("groups", "push"), ("id", "7")];
    let required_claims = required_claims.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let issuer = world.provider.issuer();
    let asked = OidcOptions { required_claims, subject_claim: "id".into(), create_accounts: false, ..options(&issuer) };
    world.oidc = Oidc::open(&asked, world.clock.clone()).await.unwrap();
    assert!(!world.oidc.creates_accounts());
    let right = json!({"repository_owner": "acme", "groups": ["pull", "push"], "id": 7});
    let judged = world.with(right.clone()).await;
    assert!(matches!(&judged, Verdict::Stated { subject, .. } if subject == "7"), "{judged:?}");
    for (name, wrong) in [
        ("repository_owner", json!("acme2")),
        ("repository_owner", json!(null)),
        ("repository_owner", json!({"acme": "acme"})),
        ("groups", json!(["pull"])),
        ("groups", json!("pull,push")),
        ("id", json!(8)),
    ] {
        let mut claims = right.clone();
        claims[name] = wrong;
        assert_eq!(world.with(claims.clone()).await, Verdict::Wrong, "{claims}");
    }
}

/// Whoever shows a token and hangs up uses up a time to ask, and nothing else.
#[tokio::test]
async fn who_hangs_up_keeps_no_keys_from_others() {
    let world = World::new().await;
    let right = world.provider.key().token(&world.claims());
    for number in 0..20 {
        let stranger = TokenKey::new(&format!("none-{number}"), "EdDSA").token(&world.claims());
        let mut judged = Box::pin(world.judge(&stranger));
        assert!(futures::poll!(&mut judged).is_pending());
    }
    assert!(matches!(world.judge(&right).await, Ok(Verdict::Stated { .. })));
    assert_eq!(world.provider.asked(), 1, "for all of them");
}

/// Keys that are withdrawn are none after an hour, even where others use up all the times that there are to ask.
#[tokio::test]
async fn old_keys_are_asked_for_by_the_clock() {
    let world = World::new().await;
    let old = world.provider.key();
    world.oidc.provider.refresh().await;
    let Verdict::Stated { mark, .. } = world.with(json!({})).await else { panic!() };
    world.provider.rotate("ES256");
    world.oidc.provider.refresh().await;
    assert_eq!(world.provider.asked(), 1, "they are not old");
    world.advance(3_601);
    let before = old.token(&world.claims());
    // All the times that there are.
    world.provider.down(true);
    for number in 0..10 {
        let stranger = TokenKey::new(&format!("none-{number}"), "EdDSA").token(&world.claims());
        assert!(is_away(&world.judge(&stranger).await));
    }
    assert!(matches!(world.judge(&before).await, Ok(Verdict::Stated { .. })));
    assert!(world.oidc.holds("alice", mark));
    world.provider.down(false);
    world.oidc.provider.refresh().await;
    assert_eq!(world.provider.asked(), 2);
    assert!(!matches!(world.judge(&before).await, Ok(Verdict::Stated { .. })));
    // Who was let in by it is not any more, and by a key that another instance knows is.
    assert!(!world.oidc.holds("alice", mark) && world.oidc.holds("alice", mark ^ 1));
    let Verdict::Stated { mark, .. } = world.with(json!({})).await else { panic!() };
    assert!(world.oidc.holds("alice", mark));
    // What nobody confirmed for a day is known no more.
    world.provider.down(true);
    world.advance(24 * 3_600 - 1);
    assert!(matches!(world.with(json!({})).await, Verdict::Stated { .. }));
    world.advance(1);
    assert!(is_away(&world.judge(&world.provider.key().token(&world.claims())).await));
    assert!(!world.oidc.holds("alice", mark));
}

#[tokio::test]
async fn what_an_issuer_says_of_itself_is_cut() {
    let world = World::new().await;
    world.provider.claim(&"x".repeat(900_000));
    let refused = world.judge(&world.provider.key().token(&world.claims())).await;
    let Err(IdentityError::Registry(Error::SourceUnavailable { cause, .. })) = refused else { panic!("{refused:?}") };
    assert!(cause.len() < 300, "{}", cause.len());
}

#[test]
fn keys_of_an_issuer_elsewhere_are_not_on_this_machine() {
    for (issuer, address, may) in [
        ("https://login.example.com", "https://keys.example.com/all", true),
        ("https://login.example.com", "http://127.0.0.1/keys", false),
        ("https://login.example.com", "http://localhost:8080/keys", false),
        ("http://127.0.0.1:80", "http://127.0.0.1:81/keys", true),
        ("http://127.0.0.1:80", "http://keys.example.com", false),
    ] {
        assert_eq!(provider::may_have_keys_at(issuer, address), may, "{issuer} {address}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_away_lets_in_whom_its_known_keys_vouch_for() {
    let world = World::new().await;
    world.provider.down(true);
    let token = world.provider.key().token(&world.claims());
    assert!(is_away(&world.judge(&token).await));
    assert!(!world.oidc.is_current());
    world.provider.down(false);
    assert!(matches!(world.judge(&token).await, Ok(Verdict::Stated { .. })));
    assert!(world.oidc.is_current());
    world.provider.down(true);
    assert!(matches!(world.judge(&token).await, Ok(Verdict::Stated { .. })));
    let stranger = TokenKey::new("none", "EdDSA").token(&world.claims());
    assert!(is_away(&world.judge(&stranger).await), "it may have a new key");
    // Also when they are old; but of a key that is not known nothing is.
    world.advance(7_200);
    assert!(matches!(world.with(json!({})).await, Verdict::Stated { .. }));
    let rotated = world.provider.rotate("ES256").token(&world.claims());
    assert!(is_away(&world.judge(&rotated).await));
    // Not asked for a while, and answered at once all the same.
    for _ in 0..20 {
        assert!(is_away(&world.judge(&rotated).await));
    }
    world.provider.down(false);
    world.advance(10);
    assert!(matches!(world.judge(&rotated).await, Ok(Verdict::Stated { .. })));
}

#[tokio::test]
async fn an_issuer_is_who_it_says() {
    let world = World::new().await;
    world.provider.claim("https://other.example.com");
    let refused = world.judge(&world.provider.key().token(&world.claims())).await;
    assert!(is_away(&refused));
    let Err(IdentityError::Registry(Error::SourceUnavailable { cause, .. })) = refused else { panic!() };
    assert!(cause.contains("is of issuer \"https://other.example.com\""), "{cause}");
    for (issuer, good) in [
        ("https://login.example.com/realms/a", true),
        ("http://[::1]:80", true),
        ("http://localhost:80/x", true),
        ("http://login.example.com", false),
        ("http://127.0.0.1.example.com", false),
        ("https://login.example.com?x", false),
        ("login.example.com", false),
        ("file:///etc/passwd", false),
        ("", false),
    ] {
        assert_eq!(Oidc::open(&options(issuer), world.clock.clone()).await.is_ok(), good, "{issuer}");
    }
    let nowhere = OidcOptions { ca: Some("/nowhere".into()), ..options("https://login.example.com") };
    let why = Oidc::open(&nowhere, world.clock.clone()).await.err().unwrap().to_string();
    assert!(why.starts_with("auth.oidc.ca: /nowhere: "), "{why}");
}
