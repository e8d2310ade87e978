//! A minimal HTTP/1.1 parser for the load and the upstream: the end of a head, and the length of the body.

use std::io;

/// Maximum length of a head in bytes.
const MAX_HEAD: usize = 32 << 10;

/// The head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its length in bytes, with the empty line.
    pub len: usize,
    /// Length of the body that follows, in bytes.
    pub body: usize,
    /// The status; 0 for a request.
    pub status: u16,
}

impl Head {
    /// The head at the start of the bytes; `None` while it is incomplete.
    ///
    /// # Errors
    /// An unsupported message: a chunked body, or a head that is too long.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return if bytes.len() > MAX_HEAD {
                Err(io::Error::other("the head is too long"))
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
                return Err(io::Error::other("chunked bodies are not supported"));
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
    fn a_head_is_parsed_once_it_is_complete() {
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
