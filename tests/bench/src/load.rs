//! Blocks of requests over persistent connections: the same bytes again and again, a fixed number per block.
//!
//! Invariant: every response is checked. A response with another status than the row expects makes the block an error, not a sample.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::Head;

/// Requests in flight: enough to keep one worker busy, few enough to fit its caches.
const CONNECTIONS: usize = 8;

/// Deadline of a block.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Connections to one listener, and the request to send.
#[derive(Debug)]
pub(crate) struct Load {
    connections: Vec<Connection>,
    request: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Load {
    /// Connects to the listener.
    ///
    /// # Errors
    /// When the listener refuses the connections.
    pub(crate) async fn connect(address: SocketAddr, request: Vec<u8>) -> io::Result<Self> {
        let connect = async || {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let buffer = vec![0; 64 << 10];
            io::Result::Ok(Connection { stream, buffer })
        };
        let connections = try_join_all((0..CONNECTIONS).map(|_| connect())).await?;
        Ok(Self {
            connections,
            request,
        })
    }

    /// Sends `count` requests and waits for their responses; each status must be `expected`.
    ///
    /// # Errors
    /// The first response with another status, or without a response.
    pub(crate) async fn block(
        &mut self,
        count: u64,
        expected: impl Fn(u16) -> bool,
    ) -> io::Result<Duration> {
        let request = std::mem::take(&mut self.request);
        let took = self.each(count, |_| request.as_slice(), expected).await;
        self.request = request;
        took
    }

    /// As [`Load::block`], with a different request each time.
    ///
    /// # Errors
    /// As [`Load::block`].
    pub(crate) async fn each<R: AsRef<[u8]>>(
        &mut self,
        count: u64,
        request: impl Fn(u64) -> R,
        expected: impl Fn(u16) -> bool,
    ) -> io::Result<Duration> {
        let left = Cell::new(count);
        let began = Instant::now();
        let loops = self.connections.iter_mut().map(async |connection| {
            while left.get() > 0 {
                left.set(left.get() - 1);
                let status = connection.ask(request(left.get()).as_ref()).await?;
                if !expected(status) {
                    return Err(io::Error::other(format!("unexpected status {status}")));
                }
            }
            Ok(())
        });
        timeout(TIMEOUT, try_join_all(loops))
            .await
            .map_err(|_| io::Error::other(format!("no response within {TIMEOUT:?}")))??;
        Ok(began.elapsed())
    }
}

impl Connection {
    async fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            match Head::parse(&self.buffer[..filled])? {
                Some(head) if filled == head.len + head.body => return Ok(head.status),
                Some(head) if filled > head.len + head.body => {
                    return Err(io::Error::other("more bytes than content-length"));
                }
                _ => {}
            }
        }
    }
}
