//! Durations, as people write them in flags.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// A duration like `30s`, `2m`, `1h30m` or `30d`; a number alone is in seconds, as in kubectl.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return with_units(&format!("{text}s"));
    }
    with_units(text)
}

/// A duration of at least a second, in seconds. A number alone could be meant as days.
pub(super) fn window(text: &str) -> Result<i64, String> {
    let seconds = with_units(text)?.as_secs();
    let seconds = i64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    seconds.ok_or_else(advice)
}

fn with_units(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|_| advice())?;
    let days = SpanRelativeTo::days_are_24_hours();
    let duration = span.to_duration(days).map_err(|_| advice())?;
    duration.try_into().map_err(|_| advice())
}

fn advice() -> String {
    "use a duration like 90s, 2m, 12h or 30d".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_units() {
        for (text, seconds) in [
            ("30d", 2_592_000),
            ("12h", 43_200),
            ("90s", 90),
            ("1d12h", 129_600),
            ("1h30m", 5_400),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(window(text).ok(), i64::try_from(seconds).ok(), "{text}");
        }
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for text in [
            "",
            "d",
            "-1d",
            "1 month",
            "99999999999999999999d",
            "9223372036854775807d",
            "18446744073709551615",
            "18446744073709551615s",
        ] {
            assert!(duration(text).is_err() && window(text).is_err(), "{text}");
        }
        for text in ["30", "0d", "200ms"] {
            assert!(window(text).is_err(), "{text}");
        }
    }
}
