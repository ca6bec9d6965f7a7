//! Query strings and pages.

use proptest::prelude::*;
use roadstead_oci::{Page, PageError, Query};

#[test]
fn values_come_decoded_and_in_order() {
    let query = Query::parse("digest=sha256%3Aab&tag=a&x&tag=b%2Fc&tag=&&from=a/b").unwrap();
    assert_eq!(query.get("digest"), Some("sha256:ab"));
    assert_eq!(query.get("from"), Some("a/b"));
    assert_eq!(query.get("x"), Some(""));
    assert_eq!(query.get("absent"), None);
    assert_eq!(query.get_all("tag").collect::<Vec<_>>(), ["a", "b/c", ""]);
    assert_eq!(query.get("tag"), Some("a"));
    assert_eq!(Query::parse("").unwrap(), Query::default());
}

#[test]
fn a_plus_is_a_plus() {
    for text in ["artifactType=application/vnd.a%2Bjson", "artifactType=application/vnd.a+json"] {
        assert_eq!(Query::parse(text).unwrap().get("artifactType"), Some("application/vnd.a+json"));
    }
}

#[test]
fn escapes_are_decoded_once() {
    assert_eq!(Query::parse("a=%252e").unwrap().get("a"), Some("%2e"));
    assert_eq!(Query::parse("a=b=c%26d").unwrap().get("a"), Some("b=c&d"));
}

#[test]
fn broken_escapes_are_an_error_that_names_the_parameter() {
    for text in ["a=%", "a=%2", "a=%zz", "%g0=1", "a=%ff", "a=%+1", "ok=1&a=%c3", "a=b%00c", "%00=1"] {
        assert!(Query::parse(text).is_err(), "{text}");
    }
    // Without its value: forms have passwords.
    let error = Query::parse("ok=1&last=100%").unwrap_err().to_string();
    assert_eq!(error, "query parameter \"last\" is not percent-encoded UTF-8; write a percent sign as %25");
}

#[test]
fn pages_are_n_and_last() {
    let page = |text: &str| Page::parse(text).unwrap();
    assert_eq!(page(""), Page { n: None, last: None });
    assert_eq!(page("n=0"), Page { n: Some(0), last: None });
    assert_eq!(page("n=2&last=v2&other=x"), Page { n: Some(2), last: Some("v2".to_owned()) });
    assert_eq!(page("last="), Page::default());
    assert_eq!(page("n=99999999999999999999999").n, Some(usize::MAX));
}

#[test]
fn n_is_a_number_or_an_error() {
    for text in ["n=", "n=-1", "n=a", "n=+1", "n=1.5", "n=%201", "n=0x1"] {
        assert!(matches!(Page::parse(text), Err(PageError::Number(_))), "{text}");
    }
    assert!(matches!(Page::parse("last=%"), Err(PageError::Query(_))));
    let error = Page::parse("n=-1").unwrap_err().to_string();
    assert_eq!(error, "query parameter n is \"-1\"; expected a number of entries, 0 or more");
}

proptest! {
    #[test]
    fn encoded_values_come_back(value in any::<String>(), n in any::<usize>()) {
        let encoded: String = value.bytes().map(|b| format!("%{b:02X}")).collect();
        let text = format!("n={n}&last={encoded}");
        let query = Query::parse(&text).unwrap();
        prop_assert_eq!(query.get("last"), Some(value.as_str()));
        prop_assert_eq!(Page::parse(&text).unwrap(), Page { n: Some(n), last: Some(value).filter(|v| !v.is_empty()) });
    }

    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), crate::scraps()]) {
        if let Ok(query) = Query::parse(&text) {
            prop_assert_eq!(query.get("n"), query.get_all("n").next());
        }
        let _ = Page::parse(&text);
    }
}
