//! Input: eight bytes of clock, then the header's value.

use std::time::{Duration, SystemTime};

use crate::api::rate_limits::parse_retry_after;

/// Whole numbers up to here are exact in a double.
const EXACT: u128 = 1 << 53;

pub fn retry_after(data: &[u8]) {
    let Some((clock, value)) = data.split_at_checked(8) else {
        return;
    };
    // What is no text is as if it were not there: the caller sees to that.
    let Ok(text) = std::str::from_utf8(value) else {
        return;
    };
    let clock = u64::from_le_bytes(clock.try_into().expect("eight bytes")) >> 24;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(clock);
    let asked = parse_retry_after(text, now);
    let trimmed = text.trim();
    let is_whole = !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit());
    if is_whole {
        let asked = asked.expect("a whole number is one");
        match trimmed.parse::<u128>() {
            Ok(number) if number <= EXACT => {
                assert_eq!(u128::from(asked.as_secs()), number);
                assert_eq!(asked.subsec_nanos(), 0);
            }
            _ => assert!(u128::from(asked.as_secs()) >= EXACT || clipped(trimmed)),
        }
    } else if let Some(date) = fixdate(trimmed) {
        assert_eq!(asked, Some(Duration::from_secs(date.saturating_sub(clock))));
    } else if trimmed.starts_with(['+', '-', '.']) || trimmed.is_empty() {
        assert_eq!(asked, None);
    }
}

/// Zeros in front make a small number long.
fn clipped(digits: &str) -> bool {
    digits.trim_start_matches('0').len() < 16
}

/// The seconds of `Sun, 06 Nov 1994 08:49:37 GMT`, where that is how it is written and the date exists.
fn fixdate(text: &str) -> Option<u64> {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [(&str, u64); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        let is_number = digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    let mask: String = text
        .chars()
        .map(|c| match c {
            '0'..='9' => '0',
            'a'..='z' | 'A'..='Z' => 'a',
            c => c,
        })
        .collect();
    if mask != "aaa, 00 aaa 0000 00:00:00 aaa" || !text.ends_with("GMT") {
        return None;
    }
    let (day, year) = (number(5, 7)?, number(12, 16)?);
    let (hour, minute, second) = (number(17, 19)?, number(20, 22)?, number(23, 25)?);
    let leap = |year: u64| {
        (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
    };
    let month = MONTHS.iter().position(|(name, _)| *name == &text[8..11])?;
    let length = |month: usize| MONTHS[month].1 + u64::from(month == 1 && leap(year));
    if year < 1970 || !(1..=length(month)).contains(&day) || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    let days = years + (0..month).map(length).sum::<u64>() + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    (DAYS[(days % 7) as usize] == &text[..3]).then_some(seconds)
}
