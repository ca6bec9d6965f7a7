//! Who names users, as an operator writes it.
#![allow(clippy::unwrap_used)]

use crate::config::tests::{contains, errors, settings, warnings};

/// A file written for distribution that names users protects the registry here, too, wherever that listens.
#[test]
fn who_names_users_wants_them_asked() {
    let file = Some(std::path::PathBuf::from("/etc/users"));
    let guarded = settings("auth: {htpasswd: {path: /etc/users}}", &[]).auth.unwrap();
    assert_eq!(guarded.sources.htpasswd, file);
    let variables = [
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry Realm"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", "/etc/users"),
    ];
    assert_eq!(settings("", &variables).auth.unwrap().sources.htpasswd, file);
    contains(&warnings("", &variables), &["auth.htpasswd.realm: ignored"]);
    assert!(settings("auth: {enabled: true}", &[]).auth.unwrap().sources.is_empty());
}

#[test]
fn an_issuer_is_named_whole() {
    let variables = [
        ("ROADSTEAD_AUTH__OIDC__ISSUER", "https://login.example.com/realms/a"),
        ("ROADSTEAD_AUTH__OIDC__AUDIENCE", "registry"),
        ("ROADSTEAD_AUTH__OIDC__USERNAME_PREFIX", "sso-"),
        ("ROADSTEAD_AUTH__OIDC__CA", "/etc/ca.pem"),
    ];
    let issuer = settings("", &variables).auth.unwrap().sources.oidc.unwrap();
    assert_eq!((issuer.issuer.as_str(), issuer.audience.as_str()), (variables[0].1, "registry"));
    assert_eq!((issuer.username_claim.as_str(), issuer.username_prefix.as_str()), ("preferred_username", "sso-"));
    assert_eq!(issuer.ca, Some("/etc/ca.pem".into()));
    assert_eq!((issuer.subject_claim.as_str(), issuer.create_accounts), ("sub", true));
    let text =
        "auth: {oidc: {issuer: 'https://a', audience: b, required_claims: ['a=b=c', d=e], create_accounts: false}}";
    let issuer = settings(text, &[]).auth.unwrap().sources.oidc.unwrap();
    let required = [("a".to_owned(), "b=c".to_owned()), ("d".to_owned(), "e".to_owned())];
    assert_eq!((&issuer.required_claims[..], issuer.create_accounts), (&required[..], false));
    for issuer in ["http://127.0.0.1:80/x", "http://[::1]:80", "http://localhost", "https://[2001:db8::1]/"] {
        let text = format!("auth: {{oidc: {{issuer: '{issuer}', audience: registry}}}}");
        assert!(settings(&text, &[]).auth.is_some(), "{issuer}");
    }
    let with = |more: &str| format!("auth: {{oidc: {{issuer: 'https://a', audience: b, {more}}}}}");
    for (text, part) in [
        ("auth: {oidc: }", "auth.oidc: names no issuer"),
        ("auth: {oidc: {audience: x}}", "auth.oidc: names no issuer"),
        ("auth: {oidc: {issuer: 'https://a'}}", "auth.oidc.audience: is missing"),
        ("auth: {oidc: {issuer: 'http://a', audience: b}}", "auth.oidc.issuer: `http://a` is no https URL"),
        ("auth: {oidc: {issuer: 'http://127.0.0.1.a', audience: b}}", "auth.oidc.issuer"),
        ("auth: {oidc: {issuer: 'http://localhost@a', audience: b}}", "auth.oidc.issuer"),
        ("auth: {oidc: {issuer: 'https://a?b', audience: b}}", "auth.oidc.issuer"),
        ("auth: {oidc: {issuer: 'https:///a', audience: b}}", "auth.oidc.issuer"),
        ("auth: {oidc: {issuer: a, audience: b}}", "auth.oidc.issuer"),
        (&with("username_claim: ''"), "auth.oidc.username_claim: is empty"),
        (&with("username_prefix: 'SSO '"), "auth.oidc.username_prefix: must have"),
        (&with("username_prefix: '-a'"), "auth.oidc.username_prefix: must have"),
        (&with("subject_claim: ''"), "auth.oidc.subject_claim: is empty"),
        (&with("required_claims: [acme]"), "auth.oidc.required_claims: `acme` is no NAME=VALUE"),
        (&with("required_claims: ['=acme']"), "auth.oidc.required_claims"),
        (&with("required_claims: ['a=']"), "auth.oidc.required_claims"),
        (&with("ca: ''"), "auth.oidc.ca: is empty"),
        (&with("client_secret: x"), "auth.oidc.client_secret: unknown key"),
        (
            "auth: {htpasswd: {path: /u}, oidc: {issuer: 'https://a', audience: b}}",
            "auth.oidc.username_prefix: is missing",
        ),
        ("auth: {enabled: false, oidc: {issuer: 'https://a', audience: b}}", "remove one of the two"),
    ] {
        contains(&errors(text, &[]), &[part]);
    }
    let both = "auth: {htpasswd: {path: /u}, oidc: {issuer: 'https://a', audience: b, username_prefix: sso-}}";
    assert!(settings(both, &[]).auth.is_some());
}
