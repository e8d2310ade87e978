//! The upstream of every row: one fixed response, as fast as one thread can send it.
//!
//! It runs on the other core and its time is not counted; it only has to keep Envoy's worker busy. The response reports usage, for
//! filters that settle on usage.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::http;

const BODY: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"A short answer, as a model would give it to a simple question."},"finish_reason":"stop"}],"usage":{"prompt_tokens":21,"completion_tokens":48,"total_tokens":69}}"#;

/// Serves until the runtime ends.
///
/// # Errors
/// When no address is free.
pub(crate) async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A broken connection shows as a failed request on the other side.
            tokio::spawn(serve(stream));
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = answer();
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    loop {
        let head = loop {
            if let Some(head) = http::Head::parse(&buffer[..filled])? {
                break head;
            }
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                read => filled += read,
            }
        };
        let mut body = head.body - (filled - head.len).min(head.body);
        let early = head.len + (head.body - body);
        buffer.copy_within(early..filled, 0);
        filled -= early;
        while body > 0 {
            let chunk = buffer.len().min(body);
            match stream.read(&mut buffer[..chunk]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => body -= read,
            }
        }
        stream.write_all(&answer).await?;
    }
}

fn answer() -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        BODY.len()
    );
    [head.as_bytes(), BODY.as_bytes()].concat()
}
