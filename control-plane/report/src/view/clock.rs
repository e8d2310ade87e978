//! Text forms of times and ages. Pure: the current time is an argument.

/// An age as text: `4s`, `12m`, `3h` or `5d`.
pub fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 120.0 {
        format!("{seconds:.0}s")
    } else if seconds < 7200.0 {
        format!("{:.0}m", seconds / 60.0)
    } else if seconds < 172_800.0 {
        format!("{:.0}h", seconds / 3600.0)
    } else {
        format!("{:.0}d", seconds / 86_400.0)
    }
}

/// Unix seconds as RFC 3339 text in UTC with milliseconds, such as `2026-11-23T09:26:01.042Z`. A time outside of the years -9999 to
/// 9999 is shown as the Unix epoch.
#[allow(clippy::cast_possible_truncation)] // the cast saturates
pub fn moment(at: f64) -> String {
    let at = jiff::Timestamp::from_millisecond((at * 1e3).round() as i64).unwrap_or_default();
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_and_a_time_of_day() {
        for (at, expected) in [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (951_782_400.5, "2000-02-29T00:00:00.500Z"),
            (1_795_425_961.042, "2026-11-23T09:26:01.042Z"),
            (4_107_542_399.999_6, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(moment(at), expected);
        }
    }

    #[test]
    fn an_age_is_shown_in_a_suitable_unit() {
        let ages = [3.6, 119.0, 121.0, 7300.0, 200_000.0].map(age);
        assert_eq!(ages, ["4s", "119s", "2m", "2h", "2d"]);
    }
}
