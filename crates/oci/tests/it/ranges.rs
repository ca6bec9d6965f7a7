//! `Range` of downloads, `Content-Range` of uploads.

use proptest::prelude::*;
use roadstead_oci::{ByteRange, ContentRange, RangeRequest};

fn range(header: &str, size: u64) -> RangeRequest {
    ByteRange::parse(header, size)
}

#[test]
fn the_three_forms_give_parts() {
    assert_eq!(range("bytes=500-1499", 2048), RangeRequest::Part(500..1500));
    assert_eq!(range("bytes=500-", 2048), RangeRequest::Part(500..2048));
    assert_eq!(range("bytes=-500", 2048), RangeRequest::Part(1548..2048));
    assert_eq!(range("bytes=0-0", 1), RangeRequest::Part(0..1));
    assert_eq!(range("Bytes= 0-9 ", 100), RangeRequest::Part(0..10));
    assert_eq!(range("bytes=,0-9,", 100), RangeRequest::Part(0..10));
}

#[test]
fn the_end_is_clamped() {
    assert_eq!(range("bytes=2000-5000", 2048), RangeRequest::Part(2000..2048));
    assert_eq!(range("bytes=-5000", 2048), RangeRequest::Part(0..2048));
    assert_eq!(range("bytes=1-99999999999999999999999", 10), RangeRequest::Part(1..10));
    assert_eq!(range("bytes=0-18446744073709551615", u64::MAX), RangeRequest::Part(0..u64::MAX));
}

#[test]
fn what_cannot_be_had_is_unsatisfiable() {
    for (header, size) in [
        ("bytes=5000-10000", 2048),
        ("bytes=2048-", 2048),
        ("bytes=500-0", 2048),
        ("bytes=99999999999999999999999-", 2048),
        ("bytes=-0", 2048),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-1", 0),
    ] {
        assert_eq!(range(header, size), RangeRequest::Unsatisfiable, "{header} of {size}");
    }
}

#[test]
fn what_is_not_understood_is_ignored() {
    for header in [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1- 2",
        "bytes=0-1,3-4",
        "items=0-1",
        "bytes 0-1",
        "bytes=0x1-2",
        "bytes=\u{661}-",
        "=0-1",
    ] {
        assert_eq!(range(header, 2048), RangeRequest::Whole, "{header:?}");
        assert_eq!(range(header, 0), RangeRequest::Whole, "{header:?}");
    }
}

#[test]
fn chunks_say_where_they_go_in_either_form() {
    for header in ["0-99", "bytes 0-99/*", "bytes 0-99/200", "bytes 0-99/100", "bytes 0-99", " 0-99 "] {
        assert_eq!(ContentRange::parse(header), Ok(ContentRange { start: 0, end: 99 }), "{header:?}");
    }
    assert_eq!(ContentRange::parse("5-5").unwrap().len(), 1);
    let largest = format!("0-{}", i64::MAX);
    assert_eq!(ContentRange::parse(&largest).unwrap().len(), 1 << 63);
}

#[test]
fn a_chunk_that_cannot_be_placed_is_an_error() {
    for header in [
        "",
        "-",
        "0",
        "0-",
        "-5",
        "a-b",
        "0 - 99",
        "9-8",
        "bytes=0-99",
        "bytes */200",
        "0-99/200",
        "bytes 0-99/99",
        "bytes 0-99/",
        "bytes 0-99/x",
        "0-9223372036854775808",
        "+0-9",
        "0-9-9",
        "items 0-9/10",
        "0--1",
    ] {
        assert!(ContentRange::parse(header).is_err(), "{header:?}");
    }
    assert_eq!(
        ContentRange::parse("9-8").unwrap_err().to_string(),
        "Content-Range \"9-8\" cannot be used: its end lies before its start; \
         expected FIRST-LAST in bytes, both inclusive, such as 0-1023"
    );
}

proptest! {
    #[test]
    fn a_part_is_never_empty_and_never_beyond_the_object(
        header in prop_oneof![any::<String>(), crate::scraps(), "bytes=[0-9]{0,21}-[0-9]{0,21}"],
        size in prop_oneof![any::<u64>(), 0..4u64],
    ) {
        if let RangeRequest::Part(part) = range(&header, size) {
            prop_assert!(part.start < part.end && part.end <= size);
        }
    }

    #[test]
    fn a_part_is_what_was_asked_for(first in 0..100u64, last in 0..100u64, size in 1..100u64) {
        let expected = if first > last || first >= size {
            RangeRequest::Unsatisfiable
        } else {
            RangeRequest::Part(first..size.min(last + 1))
        };
        prop_assert_eq!(range(&format!("bytes={first}-{last}"), size), expected);
        let suffix = if last == 0 { RangeRequest::Unsatisfiable } else { RangeRequest::Part(size.saturating_sub(last)..size) };
        prop_assert_eq!(range(&format!("bytes=-{last}"), size), suffix);
    }

    #[test]
    fn chunks_parse_back(start in 0..i64::MAX as u64, len in 1..u64::from(u32::MAX)) {
        let chunk = ContentRange { start, end: (start + len - 1).min(i64::MAX as u64) };
        prop_assert_eq!(chunk.to_string().parse(), Ok(chunk));
        prop_assert_eq!(format!("bytes {chunk}/*").parse(), Ok(chunk));
    }

    #[test]
    fn a_chunk_is_never_empty(header in prop_oneof![any::<String>(), crate::scraps(), "[0-9]{0,20}-[0-9]{0,20}"]) {
        if let Ok(chunk) = ContentRange::parse(&header) {
            prop_assert!(chunk.start <= chunk.end && chunk.len() >= 1 && chunk.end <= i64::MAX as u64);
        }
    }
}
