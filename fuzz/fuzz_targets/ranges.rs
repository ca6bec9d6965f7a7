//! What says *which bytes* and *which page*: `Range`, `Content-Range`, `n` and `last`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_oci::{ByteRange, ContentRange, Page, RangeRequest};

fuzz_target!(|input: (&str, u64)| {
    let (text, size) = input;
    if let RangeRequest::Part(part) = ByteRange::parse(text, size) {
        assert!(part.start < part.end, "a part is never empty");
        assert!(part.end <= size, "a part is never beyond the size");
    }
    if let Ok(range) = ContentRange::parse(text) {
        assert!(range.start <= range.end);
        assert_eq!(range.len(), range.end - range.start + 1);
        assert_eq!(ContentRange::parse(&range.to_string()), Ok(range));
    }
    if let Ok(page) = Page::parse(text) {
        assert_ne!(page.last.as_deref(), Some(""));
    }
});
