//! Times as people write them: `2026-03-14T00:00:00Z`, or `24h` for so long ago.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// A point in time, told by itself or from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    At(Timestamp),
    Ago(SignedDuration),
}

impl Moment {
    /// When that is; the earliest time there is if it is longer ago.
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now.checked_sub(span).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        let seconds = |unit| match unit {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(3_600),
            'd' => Some(86_400),
            _ => None,
        };
        let unit = text.chars().next_back();
        let count = unit.and_then(|unit| text[..text.len() - unit.len_utf8()].parse::<u32>().ok());
        match count.zip(unit.and_then(seconds)) {
            Some((count, unit)) => Ok(Self::Ago(SignedDuration::from_secs(i64::from(count) * unit))),
            None => {
                Err("write a time with its offset, such as 2026-03-14T00:00:00Z, or how long ago: 90m, 24h, 7d".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let now: Timestamp = "2026-03-14T12:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Moment>().map(|moment| moment.at(now).to_string());
        assert_eq!(at("2026-03-14T01:00:00+01:00").unwrap(), "2026-03-14T00:00:00Z");
        assert_eq!(at("90s").unwrap(), "2026-03-14T11:58:30Z");
        assert_eq!(at("15m").unwrap(), "2026-03-14T11:45:00Z");
        assert_eq!(at("24h").unwrap(), "2026-03-13T12:00:00Z");
        assert_eq!(at("7d").unwrap(), "2026-03-07T12:00:00Z");
        assert_eq!(at("4294967295d").unwrap(), Timestamp::MIN.to_string());
        for wrong in ["", "h", "1", "-1h", "1 h", "1w", "yesterday", "2026-03-14", "1é"] {
            assert!(at(wrong).unwrap_err().contains("24h"), "{wrong}");
        }
    }
}
