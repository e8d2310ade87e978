//! A JSON number, read digit by digit, exactly and in constant space.
//!
//! There is no floating point: limits are compared and temperatures rounded as decimals, so that equal digits have an
//! equal meaning on every machine. 19 significant digits are kept. Of the rest only one fact is kept: whether any of them
//! is not zero.

use std::cmp::Ordering;

use super::{Json, JsonError, Kind, Scalar, Sink, WantedPart};

/// A decimal number `± mantissa · 10^power`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    mantissa: u64,
    /// Power of ten of the mantissa's last digit, before the written exponent.
    scale: i64,
    /// A digit other than zero was dropped.
    inexact: bool,
    exponent: i64,
    exponent_negative: bool,
}

/// The reason why a number has no value of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    /// Below zero.
    Negative,
    /// Not whole.
    Fractional,
    /// Greater than a `u64`, or than 19 digits can express.
    Large,
}

/// A mantissa below this takes one more digit.
const ROOM: u64 = 1_000_000_000_000_000_000;

impl Decimal {
    /// ± digits · 10^−places, with at most 19 digits.
    #[must_use]
    pub fn new(negative: bool, digits: u64, places: u8) -> Self {
        Self {
            negative,
            mantissa: digits,
            scale: -i64::from(places),
            ..Self::default()
        }
    }

    /// Whether the number is −1, however it is written.
    pub(crate) fn is_minus_one(self) -> bool {
        self.negative
            && Self {
                negative: false,
                ..self
            }
            .whole()
                == Ok(1)
    }

    /// A number in JSON's grammar; `None` for any other text.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut found = Found(None);
        let mut json = Json::new(1);
        json.push(text, &mut found).ok()?;
        json.finish(&mut found).ok()?;
        found.0
    }

    /// Whether the number is below zero.
    pub(crate) fn is_negative(self) -> bool {
        self.negative && self.mantissa > 0
    }

    pub(crate) fn minus(&mut self) {
        self.negative = true;
    }

    pub(crate) fn integer_digit(&mut self, digit: u8) {
        if self.mantissa < ROOM {
            self.mantissa = self.mantissa * 10 + u64::from(digit);
        } else {
            self.scale += 1;
            self.inexact |= digit != 0;
        }
    }

    pub(crate) fn fraction_digit(&mut self, digit: u8) {
        if self.mantissa < ROOM {
            self.mantissa = self.mantissa * 10 + u64::from(digit);
            self.scale -= 1;
        } else {
            self.inexact |= digit != 0;
        }
    }

    pub(crate) fn exponent_minus(&mut self) {
        self.exponent_negative = true;
    }

    pub(crate) fn exponent_digit(&mut self, digit: u8) {
        // Saturates. No body is long enough to have as many digits.
        if self.exponent < i64::MAX / 100 {
            self.exponent = self.exponent * 10 + i64::from(digit);
        }
    }

    fn power(&self) -> i64 {
        if self.exponent_negative {
            self.scale - self.exponent
        } else {
            self.scale + self.exponent
        }
    }

    /// The number as a whole number, such as `512`, `512.0` or `5.12e2`.
    pub(crate) fn whole(&self) -> Result<u64, DecimalError> {
        if self.mantissa == 0 {
            return Ok(0);
        }
        if self.negative {
            return Err(DecimalError::Negative);
        }
        let power = self.power();
        match ten_to(power.unsigned_abs()) {
            // Digits before the point were dropped.
            _ if power >= 0 && self.inexact => Err(DecimalError::Large),
            Some(ten) if power >= 0 => self.mantissa.checked_mul(ten).ok_or(DecimalError::Large),
            None if power >= 0 => Err(DecimalError::Large),
            Some(ten) if !self.inexact && self.mantissa.is_multiple_of(ten) => {
                Ok(self.mantissa / ten)
            }
            _ => Err(DecimalError::Fractional),
        }
    }

    /// Whether it has no fraction. Digits after the 19th do not count, unless they belong to the fraction.
    pub(crate) fn is_whole(&self) -> bool {
        let power = self.power();
        let divides = |ten: u64| self.mantissa.is_multiple_of(ten) && !self.inexact;
        self.mantissa == 0 || power >= 0 || ten_to(power.unsigned_abs()).is_some_and(divides)
    }

    /// The order of this number and one that has at most 19 digits.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match number.negative {
            _ if number.mantissa == 0 => 0,
            true => -1,
            false => 1,
        };
        let (own, others) = (sign(self), sign(other));
        let size = || self.first_place().cmp(&other.first_place());
        let digits = || self.aligned().cmp(&other.aligned());
        // Both have the same digits as far as they are kept, so those that were dropped decide.
        let rest = || self.inexact.cmp(&false);
        match own.cmp(&others) {
            Ordering::Equal if own > 0 => size().then_with(digits).then_with(rest),
            Ordering::Equal if own < 0 => size().then_with(digits).then_with(rest).reverse(),
            order => order,
        }
    }

    /// The power of ten of the first digit. For a number other than 0.
    fn first_place(&self) -> i64 {
        i64::from(self.mantissa.checked_ilog10().unwrap_or_default()) + self.power()
    }

    /// The digits, with zeros after them up to the 19th. For a number other than 0.
    fn aligned(&self) -> u64 {
        let digits = self.mantissa.checked_ilog10().unwrap_or_default();
        let zeros = ten_to(u64::from(18_u32.saturating_sub(digits)));
        self.mantissa.saturating_mul(zeros.unwrap_or(1))
    }

    /// The number with at most six digits after the point; `None` if it is too large.
    pub(crate) fn text(&self) -> Option<String> {
        const UNIT: u64 = 1_000_000;
        let size = Self {
            negative: false,
            ..*self
        };
        let minus = if self.negative { "-" } else { "" };
        if let Ok(whole) = size.whole() {
            return Some(format!("{minus}{whole}"));
        }
        let millionths = size.millionths().ok()?;
        let fraction = format!("{:06}", millionths % UNIT);
        let number = format!("{minus}{}.{fraction}", millionths / UNIT);
        Some(
            number
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned(),
        )
    }

    /// The number in millionths, rounded half up.
    pub(crate) fn millionths(&self) -> Result<u64, DecimalError> {
        if self.mantissa == 0 {
            return Ok(0);
        }
        if self.negative {
            return Err(DecimalError::Negative);
        }
        let power = self.power().saturating_add(6);
        match ten_to(power.unsigned_abs()) {
            Some(ten) if power >= 0 => self.mantissa.checked_mul(ten).ok_or(DecimalError::Large),
            None if power >= 0 => Err(DecimalError::Large),
            Some(ten) => {
                let up = self.mantissa % ten >= ten.div_ceil(2);
                Ok(self.mantissa / ten + u64::from(up))
            }
            None => Ok(0),
        }
    }
}

/// The number that a document consists of.
struct Found(Option<Decimal>);

impl Sink for Found {
    fn open(&mut self, _: Kind, _: u64) -> Result<bool, JsonError> {
        Err(JsonError::Refused)
    }
    fn close(&mut self, _: u64) -> Result<(), JsonError> {
        Err(JsonError::Refused)
    }
    fn key(&mut self, _: &[u8]) {}
    fn begin_string(&mut self, _: u64) -> Result<WantedPart, JsonError> {
        Err(JsonError::Refused)
    }
    fn length(&mut self, _: u64) {}
    fn text(&mut self, _: &[u8]) {}
    fn end_string(&mut self, _: u64) -> Result<(), JsonError> {
        Err(JsonError::Refused)
    }
    fn scalar(&mut self, scalar: Scalar, _: u64) -> Result<(), JsonError> {
        match scalar {
            Scalar::Number(number) => self.0 = Some(number),
            _ => return Err(JsonError::Refused),
        }
        Ok(())
    }
}

fn ten_to(power: u64) -> Option<u64> {
    10u64.checked_pow(u32::try_from(power).ok()?)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::{Decimal, DecimalError};

    /// Reads a well-formed number as the lexer does.
    fn read(text: &str) -> Decimal {
        let mut number = Decimal::default();
        let (mut fraction, mut exponent) = (false, false);
        for byte in text.bytes() {
            match byte {
                b'.' => fraction = true,
                b'e' => exponent = true,
                b'-' if exponent => number.exponent_minus(),
                b'-' => number.minus(),
                _ if exponent => number.exponent_digit(byte - b'0'),
                _ if fraction => number.fraction_digit(byte - b'0'),
                _ => number.integer_digit(byte - b'0'),
            }
        }
        number
    }

    #[test]
    fn whole_numbers_are_recognised_however_they_are_written() {
        for (text, value) in [
            ("0", Ok(0)),
            ("-0.0e9", Ok(0)),
            ("0e-99999999999999999999", Ok(0)),
            ("512", Ok(512)),
            ("512.0", Ok(512)),
            ("5.12e2", Ok(512)),
            ("51200e-2", Ok(512)),
            ("5.120000000000000000000000000000e2", Ok(512)),
            ("512000000000000000000000000000e-27", Ok(512)),
            ("999999999999999999", Ok(999_999_999_999_999_999)),
            ("-1", Err(DecimalError::Negative)),
            ("-1e-9", Err(DecimalError::Negative)),
            ("0.5", Err(DecimalError::Fractional)),
            ("1e-1", Err(DecimalError::Fractional)),
            ("1e-40", Err(DecimalError::Fractional)),
            (
                "512.0000000000000000000000000001",
                Err(DecimalError::Fractional),
            ),
            (
                "512000000000000000000000000001e-27",
                Err(DecimalError::Fractional),
            ),
            ("18446744073709551617", Err(DecimalError::Large)),
            ("92233720368547758e4", Err(DecimalError::Large)),
            ("1e20", Err(DecimalError::Large)),
            ("1e99999999999999999999", Err(DecimalError::Large)),
        ] {
            assert_eq!(read(text).whole(), value, "{text}");
        }
    }

    #[test]
    fn numbers_are_whole_whatever_their_form() {
        for text in [
            "0",
            "-0.0",
            "0e-9",
            "0.000e5",
            "5",
            "-5.0",
            "1e300",
            "1.5e1",
            "1500e-2",
            "99999999999999999999999",
            "12345678901234567890123e2",
        ] {
            assert!(read(text).is_whole(), "{text}");
        }
        for text in [
            "0.5",
            "-1e-9",
            "1e-300",
            "1.25e1",
            "1501e-2",
            "7.00000000000000000000000001",
            "12345678901234567891e-2",
        ] {
            assert!(!read(text).is_whole(), "{text}");
        }
    }

    #[test]
    fn numbers_are_compared_exactly() {
        // In ascending order; those of one row are equal.
        let rows: [&[&str]; 21] = [
            &["-1e300", "-10e299"],
            &["-9223372036854775809"],
            &["-9223372036854775808.5"],
            &["-9223372036854775808", "-9.223372036854775808e18"],
            &["-2", "-2.0", "-20e-1", "-0.2e1"],
            &["-1.9999999999999999999999"],
            &["-1e-300"],
            &["0", "-0", "0.0", "0e300", "-0e-300"],
            &["1e-300"],
            &["0.0999999999999999999999999"],
            &["0.1", "1e-1", "0.10000", "0.001e2"],
            &["0.1000000000000000000000001"],
            &["0.9"],
            &["1", "1.0", "10e-1", "1000000000000000000000e-21"],
            &["9"],
            &["10"],
            &["99.999999"],
            &["9223372036854775807", "9223372036854775807.0"],
            &["9223372036854775807.1"],
            &["9223372036854775808"],
            &["1e999999999999999999999999"],
        ];
        for (i, row) in rows.iter().enumerate() {
            for (j, others) in rows.iter().enumerate() {
                for (one, other) in row.iter().flat_map(|a| others.iter().map(move |b| (a, b))) {
                    let (one_read, other_read) = (read(one), read(other));
                    if !other_read.inexact {
                        let order = one_read.compare(&other_read);
                        assert_eq!(order, i.cmp(&j), "{one} and {other}");
                    }
                }
            }
        }
        assert_eq!(read("-0.25"), Decimal::new(true, 25, 2));
        let bound = Decimal::new(false, 9_999_999_999_999_999_999, 0);
        assert_eq!(read("9999999999999999999").compare(&bound), Ordering::Equal);
        assert_eq!(
            read("10000000000000000000").compare(&bound),
            Ordering::Greater
        );
    }

    #[test]
    fn millionths_are_rounded_half_up() {
        for (text, value) in [
            ("0.7", Ok(700_000)),
            ("7e-1", Ok(700_000)),
            ("1", Ok(1_000_000)),
            ("0.0000005", Ok(1)),
            ("0.00000049999999999999999999999", Ok(0)),
            ("0.0000015", Ok(2)),
            ("1.9999995", Ok(2_000_000)),
            ("1.99999949", Ok(1_999_999)),
            ("1e-30", Ok(0)),
            ("1e-99999999999999999999", Ok(0)),
            ("-1e-30", Err(DecimalError::Negative)),
            ("92233720368547758", Err(DecimalError::Large)),
            ("1e20", Err(DecimalError::Large)),
        ] {
            assert_eq!(read(text).millionths(), value, "{text}");
        }
    }
}
