//! Days and ids of events: both follow from the time, so that what is kept is found by it.

use std::fmt;
use std::str::FromStr;

use roadstead_metadata::Millis;
use time::{Date, Month, OffsetDateTime};
use uuid::Uuid;

const DAY: Millis = 86_400_000;

/// A day of UTC, as in `2025-06-15`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

/// A text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time: write 2025-06-15, 2025-06-15T10:30:00Z, or milliseconds since the Unix epoch")]
pub struct TimeError(String);

impl Day {
    /// The day of a time.
    pub fn of(at: Millis) -> Self {
        Self(at.div_euclid(DAY))
    }

    /// Its first millisecond.
    pub fn begins(self) -> Millis {
        self.0.saturating_mul(DAY)
    }

    /// Its last millisecond.
    pub fn ends(self) -> Millis {
        self.begins().saturating_add(DAY - 1)
    }

    /// The day before.
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = moment(self.begins()).date();
        write!(f, "{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
    }
}

impl FromStr for Day {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let wrong = || TimeError(text.to_owned());
        let numbers = numbers(text, '-').filter(|_| text.len() == 10).ok_or_else(wrong)?;
        let [year, month, day] = numbers[..] else { return Err(wrong()) };
        let narrow = |number: u32| u8::try_from(number).map_err(|_| wrong());
        let month = Month::try_from(narrow(month)?).map_err(|_| wrong())?;
        let date = Date::from_calendar_date(year as i32, month, narrow(day)?).map_err(|_| wrong())?;
        Ok(Self::of(date.midnight().assume_utc().unix_timestamp() * 1000))
    }
}

/// A time as a text says it, in any of the forms that [`TimeError`] names; of a day its beginning.
pub fn to_time(text: &str) -> Result<Millis, TimeError> {
    let wrong = || TimeError(text.to_owned());
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.len() > 4 {
        return text.parse().map_err(|_| wrong());
    }
    let Some((day, clock)) = text.split_once('T') else { return Ok(text.parse::<Day>()?.begins()) };
    let day: Day = day.parse().map_err(|_| wrong())?;
    let clock = clock.strip_suffix('Z').ok_or_else(wrong)?;
    let (clock, part) = clock.split_once('.').unwrap_or((clock, "0"));
    let numbers = numbers(clock, ':').ok_or_else(wrong)?;
    let (hours, minutes, seconds) = match numbers[..] {
        [hours, minutes] => (hours, minutes, 0),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return Err(wrong()),
    };
    if hours > 23 || minutes > 59 || seconds > 59 || part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let part: String = part.chars().chain("00".chars()).take(3).collect();
    let part: Millis = part.parse().map_err(|_| wrong())?;
    Ok(day.begins() + ((Millis::from(hours) * 60 + Millis::from(minutes)) * 60 + Millis::from(seconds)) * 1000 + part)
}

/// A time as text: `2025-06-15T10:30:00.123Z`.
pub fn to_text(at: Millis) -> String {
    let of = at.rem_euclid(DAY);
    let (seconds, part) = (of / 1000, of % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{}T{hours:02}:{minutes:02}:{seconds:02}.{part:03}Z", Day::of(at))
}

/// The least id of an event at this time or later: a UUIDv7 begins with its time.
pub fn id_at(at: Millis) -> Uuid {
    Uuid::from_u128(u128::from(at.clamp(0, (1 << 48) - 1) as u64) << 80)
}

/// The time of an event with this id.
pub fn time_of(id: Uuid) -> Millis {
    (id.as_u128() >> 80) as Millis
}

/// A time, or the end of times.
fn moment(at: Millis) -> OffsetDateTime {
    let far = OffsetDateTime::UNIX_EPOCH;
    OffsetDateTime::from_unix_timestamp(at.div_euclid(1000)).unwrap_or(far)
}

fn numbers(text: &str, between: char) -> Option<Vec<u32>> {
    let number =
        |part: &str| part.parse().ok().filter(|_| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    text.split(between).map(number).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_are_read_in_each_form() {
        let noon = 1_750_000_000_000;
        assert_eq!(to_text(noon), "2025-06-15T15:06:40.000Z");
        for (text, at) in [
            ("1750000000000", noon),
            ("2025-06-15", noon - 54_400_000),
            ("2025-06-15T15:06:40Z", noon),
            ("2025-06-15T15:06:40.5Z", noon + 500),
            ("2025-06-15T15:06:40.1239Z", noon + 123),
            ("2025-06-15T15:06Z", noon - 40_000),
        ] {
            assert_eq!(to_time(text), Ok(at), "{text}");
        }
        let wrong = [
            "",
            "now",
            "2025",
            "2025-6-15",
            "2025-02-30",
            "2025-06-15T15:06:40",
            "2025-06-15T24:00Z",
            "2025-06-15T1:2:3.Z",
        ];
        for text in wrong {
            assert!(to_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_is_its_text() {
        for day in ["1970-01-01", "2024-02-29", "2025-12-31"] {
            assert_eq!(day.parse::<Day>().unwrap().to_string(), day);
        }
        let day = Day::of(1_750_000_000_000);
        assert_eq!((Day::of(day.begins()), Day::of(day.ends()), Day::of(day.ends() + 1).before()), (day, day, day));
    }
}
