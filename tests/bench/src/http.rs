//! As much of HTTP/1.1 as two ends that know each other need: where a head ends, and how long the body is.

use std::io;

/// Longest head that is waited for.
const MAX_HEAD: usize = 32 << 10;

/// The head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its bytes, the empty line included.
    pub len: usize,
    /// Bytes of the body that follow.
    pub body: usize,
    /// The status; 0 for a request.
    pub status: u16,
}

impl Head {
    /// The head at the front of the bytes; `None` while it is incomplete.
    ///
    /// # Errors
    /// What these two ends do not speak: a chunked body, or a head without end.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return if bytes.len() > MAX_HEAD {
                Err(io::Error::other("a head without end"))
            } else {
                Ok(None)
            };
        };
        let mut head = Self {
            len: end + 4,
            body: 0,
            status: 0,
        };
        let mut lines = bytes[..end].split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
        if let Some(status) = lines.next().and_then(|l| l.strip_prefix(b"HTTP/1.1 ")) {
            head.status = number(&status[..status.len().min(3)])? as u16;
        }
        for line in lines {
            if let Some(length) = line.strip_prefix(b"content-length:") {
                head.body = number(length.trim_ascii())?;
            } else if line.starts_with(b"transfer-encoding:") {
                return Err(io::Error::other("a chunked body"));
            }
        }
        Ok(Some(head))
    }
}

fn number(text: &[u8]) -> io::Result<usize> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse()
        .map_err(|_| io::Error::other(format!("{text:?} is not a number")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn heads_are_read_once_they_are_whole() {
        let answer =
            b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 5\r\nserver: envoy\r\n\r\nhello";
        let head = Head::parse(answer).unwrap().unwrap();
        assert_eq!((head.status, head.body), (429, 5));
        assert_eq!(&answer[head.len..], b"hello");
        assert_eq!(Head::parse(&answer[..40]).unwrap(), None);
        let request = Head::parse(b"POST /infer HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert_eq!(request.map(|h| (h.status, h.body)), Some((0, 0)));
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(Head::parse(&[b'a'; 40_000]).is_err());
    }
}
