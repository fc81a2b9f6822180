//! Times in events: RFC 3339, with any number of digits and any offset.

use crate::usage::Micros;

/// Microseconds since 1970; `None` if it is not a time.
pub(super) fn micros(text: &str) -> Option<Micros> {
    utc(text.as_bytes()).or_else(|| {
        let time: jiff::Timestamp = text.parse().ok()?;
        let micros = time.as_microsecond();
        // The last second that the library reads is more than it can tell in microseconds.
        jiff::Timestamp::from_microsecond(micros).ok()?;
        Some(micros)
    })
}

/// A time that a user gives: RFC 3339, or a day in UTC.
///
/// # Errors
/// When it is neither.
pub fn instant(text: &str) -> Result<Micros, String> {
    micros(text)
        .or_else(|| micros(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| "use a time like 2026-11-01T12:00:00Z or a day like 2026-11-01".to_owned())
}

/// `2026-11-26T22:01:49.796502Z`, as the API server writes it.
fn utc(text: &[u8]) -> Option<Micros> {
    let text: &[u8; 27] = text.try_into().ok()?;
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (26, b'Z'),
    ];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0_i64, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Later days are left to the library, which knows how many a month has.
    let is_day =
        (1970..9999).contains(&year) && (1..=12).contains(&month) && (1..=28).contains(&day);
    if !is_day || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000 + number(20, 26)?)
}

/// Days since 1970 in the proleptic Gregorian calendar, with years that begin in March.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_library_reads_them() {
        for day in 0..20_000_i64 {
            let time =
                jiff::Timestamp::from_microsecond(day * 86_400_000_000 + day * 1_234_567).unwrap();
            let text = format!("{time:.6}");
            assert_eq!(micros(&text), Some(time.as_microsecond()), "{text}");
        }
    }

    #[test]
    fn offsets_and_other_digits_are_read_and_nonsense_is_not() {
        for (text, expected) in [
            (
                "2026-11-26T23:01:49.796502+01:00",
                Some(1_795_730_509_796_502),
            ),
            ("2026-11-26T22:01:49Z", Some(1_795_730_509_000_000)),
            ("2026-11-26T22:01:49.7965021Z", Some(1_795_730_509_796_502)),
            ("9999-12-31T22:00:00.999999Z", None),
            ("9999-12-30T22:00:00.999999Z", None),
            ("2026-02-30T22:01:49.000000Z", None),
            ("2026-13-01T22:01:49.000000Z", None),
            ("", None),
            ("yesterday", None),
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
    }
}
