//! Numbers: their grammar. Values are decoded only where the sink wants them.

use super::{Json, JsonError, Scalar, Sink, State};

/// The part of a number that was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digits {
    Minus,
    Zero,
    Integer,
    Dot,
    Fraction,
    E,
    ESign,
    Exponent,
}

impl Json {
    /// Consumes digits from `at`. Returns where the number ends; the byte there is not consumed.
    pub(super) fn digits(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        mut digits: Digits,
        sink: &mut dyn Sink,
    ) -> Result<usize, JsonError> {
        while at < bytes.len() {
            if self.skips()
                && matches!(
                    digits,
                    Digits::Integer | Digits::Fraction | Digits::Exponent
                )
            {
                while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                    at += 1;
                }
                if at == bytes.len() {
                    break;
                }
            }
            let byte = bytes[at];
            let digit = byte.wrapping_sub(b'0');
            digits = match (digits, byte) {
                (Digits::Minus, b'0') => Digits::Zero,
                (Digits::Minus | Digits::Integer, b'0'..=b'9') => {
                    self.number.integer_digit(digit);
                    Digits::Integer
                }
                (Digits::Zero | Digits::Integer, b'.') => Digits::Dot,
                (Digits::Dot | Digits::Fraction, b'0'..=b'9') => {
                    self.number.fraction_digit(digit);
                    Digits::Fraction
                }
                (Digits::Zero | Digits::Integer | Digits::Fraction, b'e' | b'E') => Digits::E,
                (Digits::E, b'+') => Digits::ESign,
                (Digits::E, b'-') => {
                    self.number.exponent_minus();
                    Digits::ESign
                }
                (Digits::E | Digits::ESign | Digits::Exponent, b'0'..=b'9') => {
                    self.number.exponent_digit(digit);
                    Digits::Exponent
                }
                _ => {
                    self.end_number(digits, at, sink)?;
                    return Ok(at);
                }
            };
            at += 1;
        }
        self.state = State::Number(digits);
        Ok(at)
    }

    pub(super) fn end_number(
        &mut self,
        digits: Digits,
        at: usize,
        sink: &mut dyn Sink,
    ) -> Result<(), JsonError> {
        match digits {
            Digits::Zero | Digits::Integer | Digits::Fraction | Digits::Exponent => {
                if !self.skips() {
                    sink.scalar(Scalar::Number(self.number), self.offset + at as u64)?;
                }
                self.value_done();
                Ok(())
            }
            _ => Err(self.malformed(at, "expected a digit")),
        }
    }
}
