//! Moments in time, as the format writes them; the owner of `jiff`.
//!
//! A [`Time`] is a count of seconds and nanoseconds since 1970 (section 1 of `docs/format.md`), so that any file time survives, sensible or not.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// A moment: seconds since 1970-01-01T00:00:00Z, and nanoseconds below one second, which count forward even before 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds on top: 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl Time {
    /// Makes a time from its parts; nanoseconds beyond a second are capped.
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds: nanoseconds.min(999_999_999) }
    }

    /// Parses RFC 3339 (`2025-01-05T14:30:00Z`, with an offset, or local time without one); `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let civil = |text: &str| {
            let civil: jiff::civil::DateTime = text.parse().ok()?;
            Some(civil.to_zoned(TimeZone::system()).ok()?.timestamp())
        };
        let timestamp = text.parse::<Timestamp>().ok().or_else(|| civil(text))?;
        Some(Self::from_jiff(timestamp))
    }

    /// Prints RFC 3339 with the given offset from UTC in seconds.
    pub fn to_rfc3339(self, zone_offset_seconds: i32) -> String {
        let offset = Offset::from_seconds(zone_offset_seconds).unwrap_or(Offset::UTC);
        match self.to_jiff() {
            Some(time) if offset != Offset::UTC => time.display_with_offset(offset).to_string(),
            Some(time) => time.to_string(),
            None => format!("{}s", self.seconds),
        }
    }

    /// The distance to a later or earlier moment in seconds, without sign.
    pub fn seconds_apart(self, other: Time) -> u64 {
        self.seconds.abs_diff(other.seconds)
    }

    fn from_jiff(time: Timestamp) -> Self {
        let nanoseconds = time.as_nanosecond();
        let seconds = nanoseconds.div_euclid(1_000_000_000);
        let rest = nanoseconds.rem_euclid(1_000_000_000);
        Self { seconds: i64::try_from(seconds).unwrap_or(0), nanoseconds: u32::try_from(rest).unwrap_or(0) }
    }

    fn to_jiff(self) -> Option<Timestamp> {
        Timestamp::from_nanosecond(i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)).ok()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339(0))
    }
}

/// Reads the system's clock. Only [`crate::environment`] may call it.
pub(crate) fn system_now() -> Time {
    Time::from_jiff(Timestamp::now())
}

/// Asks the system's zone for its offset at a moment. Only [`crate::environment`] may call it.
pub(crate) fn system_zone_offset_seconds(time: Time) -> i32 {
    time.to_jiff().map_or(0, |time| TimeZone::system().to_offset(time).seconds())
}
