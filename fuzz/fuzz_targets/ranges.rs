//! What says *which bytes* and *which page*: `Range`, `Content-Range`, query strings, `n` and `last`; and `Content-Type`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use roadstead_oci::{ByteRange, ContentRange, Manifest, Page, Query, RangeRequest, media_type};

fuzz_target!(|input: (&str, u64)| {
    let (text, size) = input;
    match ByteRange::parse(text, size) {
        RangeRequest::Part(part) => {
            assert!(part.start < part.end, "a part is never empty");
            assert!(part.end <= size, "a part is never beyond the size");
        }
        RangeRequest::Unsatisfiable => assert_eq!(ByteRange::parse(text, 0), RangeRequest::Unsatisfiable),
        RangeRequest::Whole => assert_eq!(ByteRange::parse(text, 0), RangeRequest::Whole, "size decided on syntax"),
    }
    if let Ok(range) = ContentRange::parse(text) {
        assert!(range.start <= range.end);
        assert_eq!(range.len(), range.end - range.start + 1);
        assert_eq!(ContentRange::parse(&range.to_string()), Ok(range));
        assert_eq!(ContentRange::parse(&format!("bytes {range}/*")), Ok(range));
    }
    if let Ok(query) = Query::parse(text) {
        values_come_back(&query);
    }
    if let Ok(page) = Page::parse(text) {
        assert_ne!(page.last.as_deref(), Some(""));
        let n = page.n.map(|n| format!("n={n}")).unwrap_or_default();
        let last = page.last.as_deref().map(|last| format!("last={}", encoded(last))).unwrap_or_default();
        assert_eq!(Page::parse(&format!("{n}&{last}")), Ok(page));
    }
    if let Ok(manifest) = Manifest::parse(Some(text), br#"{"mediaType":null}"#) {
        assert!(media_type::is_media_type(&manifest.media_type));
        assert!(text.starts_with([' ', '\t']) || text.starts_with(&manifest.media_type));
    }
});

fn encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

fn values_come_back(query: &Query) {
    for name in ["digest", "mount", "from", "tag", "artifactType", "n", "last", ""] {
        let values: Vec<&str> = query.get_all(name).collect();
        assert_eq!(query.get(name), values.first().copied());
        let pairs: Vec<String> = values.iter().map(|value| format!("{name}={}", encoded(value))).collect();
        let again = Query::parse(&pairs.join("&")).expect("an encoded query is a query");
        assert_eq!(again.get_all(name).collect::<Vec<_>>(), values);
    }
}
