//! Moments and ages, as people read them. Pure: what the time is, is an argument.

/// `4s`, `12m`, `3h`, `5d`.
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

/// `2026-11-23T09:26:01.042Z`, of Unix seconds.
#[allow(clippy::cast_possible_truncation)] // milliseconds since 1970 are far from 2^63
pub fn moment(at: f64) -> String {
    let milliseconds = (at * 1e3).round() as i64;
    let (days, within) = (
        milliseconds.div_euclid(86_400_000),
        milliseconds.rem_euclid(86_400_000),
    );
    let (year, month, day) = date(days);
    let (hour, minute, second) = (within / 3_600_000, within / 60_000 % 60, within / 1000 % 60);
    let thousandth = within % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{thousandth:03}Z")
}

/// The Gregorian date of a day since 1970 (H. Hinnant, *chrono-Compatible Low-Level Date Algorithms*, `civil_from_days`).
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_and_a_time_of_day() {
        for (at, said) in [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (951_782_400.5, "2000-02-29T00:00:00.500Z"),
            (1_795_425_961.042, "2026-11-23T09:26:01.042Z"),
            (4_107_542_399.999_6, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(moment(at), said);
        }
    }

    #[test]
    fn an_age_is_told_in_the_unit_that_fits() {
        let told = [3.6, 119.0, 121.0, 7300.0, 200_000.0].map(age);
        assert_eq!(told, ["4s", "119s", "2m", "2h", "2d"]);
    }
}
