//! Durations and sizes as an operator writes them: a number with its unit.
//!
//! Deliberately absent: bare durations. `24` is nanoseconds to one program and seconds to the next, so a
//! duration without a unit is refused with the text that would have been meant.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time: `500ms`, `30s`, `1h30m`, `7d`. Units: `ms`, `s`, `m`, `h`, `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

const SPAN_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The span as the standard library has it.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not a duration: write a number and its unit, as in 30s, 5m, 1h30m, 7d");
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!(
                "`{text}` has no unit: write {text}s for seconds, {text}m for minutes, {text}h for hours"
            ));
        }
        let mut rest = text;
        let mut total: u64 = 0;
        let mut previous = u64::MAX;
        while !rest.is_empty() {
            let (digits, after) = split_while(rest, |b| b.is_ascii_digit());
            let (unit, after) = split_while(after, |b| b.is_ascii_alphabetic());
            let number: u64 = digits.parse().map_err(|_| form())?;
            let scale = SPAN_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale).ok_or_else(form)?;
            if scale >= previous {
                return Err(form());
            }
            previous = scale;
            total = number.checked_mul(scale).and_then(|ms| total.checked_add(ms)).ok_or_else(form)?;
            rest = after;
        }
        if text.is_empty() { Err(form()) } else { Ok(Self(Duration::from_millis(total))) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, scale) in SPAN_UNITS {
            if rest >= scale {
                write!(f, "{}{unit}", rest / scale)?;
                rest %= scale;
            }
        }
        Ok(())
    }
}

/// A number of bytes: `4MiB`, `16MB`, `65536`. Units: `KB`, `MB`, `GB`, `TB` (powers of 1,000), `KiB`, `MiB`,
/// `GiB`, `TiB` (powers of 1,024); no unit is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl Size {
    /// A size of whole mebibytes.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not a size: write a number and its unit, as in 512KiB, 4MiB, 16MB");
        let (digits, unit) = split_while(text, |b| b.is_ascii_digit());
        let number: u64 = digits.parse().map_err(|_| form())?;
        let unit = if unit.is_empty() { "B" } else { unit.trim_start_matches(' ') };
        let (_, scale) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(form)?;
        number.checked_mul(*scale).map(Self).ok_or_else(form)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = SIZE_UNITS
            .into_iter()
            .find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

fn split_while(text: &str, keep: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|b| !keep(b)).unwrap_or(text.len());
    text.split_at(end)
}

macro_rules! as_text {
    ($type:ident, $name:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $name })
            }
        }
    };
}

as_text!(Span, "duration");
as_text!(Size, "size");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!("30s".parse::<Span>().unwrap().get(), Duration::from_secs(30));
        assert_eq!("1h30m".parse::<Span>().unwrap().get(), Duration::from_secs(5400));
        assert_eq!("168h".parse::<Span>().unwrap().get(), Duration::from_secs(604_800));
        assert!("24".parse::<Span>().unwrap_err().contains("24h"));
        for wrong in
            ["", "s", "h1", "1x", "1m1h", "1m1m", "-1s", "1.5s", "99999999999999999999s", "9999999999999999d", "1 s"]
        {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_counts_binary_and_decimal_units() {
        assert_eq!("4MiB".parse::<Size>().unwrap().bytes(), 4 << 20);
        assert_eq!("16mb".parse::<Size>().unwrap().bytes(), 16_000_000);
        assert_eq!("4 MiB".parse::<Size>().unwrap().bytes(), 4 << 20);
        assert_eq!("17".parse::<Size>().unwrap().bytes(), 17);
        for wrong in ["", "MiB", "4M", "-4", "4.5MiB", "99999999999TiB"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ms in 0u64..=1 << 50, bytes: u64) {
            let span = Span(Duration::from_millis(ms));
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
            prop_assert_eq!(Size(bytes).to_string().parse::<Size>().unwrap(), Size(bytes));
        }

        #[test]
        fn no_text_breaks_the_parsers(text: String) {
            let _ = text.parse::<Span>();
            let _ = text.parse::<Size>();
        }
    }
}
