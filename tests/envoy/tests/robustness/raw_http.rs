//! Requests in any wire format: each is buffered until complete, then decided, tagged and settled like any other.

use headgate_testkit::client::HttpClient;
use headgate_testkit::testbed::Testbed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{INPUT, SOON, ask, budget, charged, single_model_testbed};

/// Output tokens that a request reserves.
const OUTPUT: u64 = 200;

/// A connection on which a test writes raw bytes.
pub(crate) struct RawConnection(TcpStream);

impl RawConnection {
    /// Connects and sends a request line with headers; the connection closes after the response.
    pub(crate) async fn open(testbed: &Testbed, request_line: &str, headers: &str) -> Self {
        let address = testbed.url().strip_prefix("http://").unwrap().to_owned();
        let mut wire = Self(TcpStream::connect(&address).await.unwrap());
        let head = format!(
            "{request_line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n"
        );
        wire.send(&head).await;
        wire
    }

    /// A chat of `tenant`.
    pub(crate) async fn chat(testbed: &Testbed, tenant: &str, headers: &str) -> Self {
        let headers =
            format!("x-tenant-id: {tenant}\r\ncontent-type: application/json\r\n{headers}");
        Self::open(testbed, "POST /v1/chat/completions", &headers).await
    }

    /// Sends bytes and flushes them, so that they travel alone.
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
        tokio::task::yield_now().await;
    }

    /// Reads up to an empty line.
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
        };
        tokio::time::timeout(SOON, read).await.unwrap();
        String::from_utf8(head).unwrap()
    }

    /// Head and body of a response with a `content-length`, whatever happens to the connection afterwards.
    pub(crate) async fn answer(mut self) -> (String, String) {
        let head = self.head().await;
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let length = length.unwrap_or_else(|| panic!("{head}"));
        let mut body = vec![0; length.parse().unwrap()];
        let read = self.0.read_exact(&mut body);
        tokio::time::timeout(SOON, read).await.unwrap().unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// Reads until the connection closes.
    pub(crate) async fn rest(mut self) -> String {
        let mut answer = Vec::new();
        let read = self.0.read_to_end(&mut answer);
        tokio::time::timeout(SOON, read).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }
}

async fn start_testbed() -> Testbed {
    single_model_testbed(1, &budget("wire", ""), &[]).await
}

fn served(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("x-model-version: v1\r\n"), "{answer}");
    // The tags, from the model server's echo.
    assert!(answer.contains("\"x-model-version\":\"v1\""), "{answer}");
    assert!(answer.contains("\"x-headgate-lane\":\"base\""), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_expect_100_continue_is_served() {
    let testbed = start_testbed().await;
    let body = ask("polite", OUTPUT).body().to_string();
    let expecting = format!("expect: 100-continue\r\ncontent-length: {}\r\n", body.len());
    let mut wire = RawConnection::chat(&testbed, "polite", &expecting).await;
    let go_on = wire.head().await;
    assert!(go_on.starts_with("HTTP/1.1 100"), "{go_on}");
    wire.send(&body).await;
    served(&wire.rest().await);
    charged(&testbed, "polite", INPUT + 16).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_body_is_decided_at_its_end_with_or_without_trailers() {
    let testbed = start_testbed().await;
    let body = ask("chunked", OUTPUT).body().to_string();
    for (requests, end) in [(1, "0\r\n\r\n"), (2, "0\r\nx-checksum: 1\r\n\r\n")] {
        let chunked = "transfer-encoding: chunked\r\ntrailer: x-checksum\r\n";
        let mut wire = RawConnection::chat(&testbed, "chunked", chunked).await;
        for piece in body.as_bytes().chunks(7) {
            let piece = std::str::from_utf8(piece).unwrap();
            wire.send(&format!("{:x};ext=1\r\n{piece}\r\n", piece.len()))
                .await;
        }
        wire.send(end).await;
        served(&wire.rest().await);
        charged(&testbed, "chunked", requests * (INPUT + 16)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_client_gets_complete_streamed_and_refused_responses() {
    let testbed = start_testbed().await;
    let client = HttpClient::http2();
    let whole = client
        .send(ask("two", OUTPUT).to(testbed.url()))
        .await
        .unwrap();
    assert_eq!(whole.status, 200, "{}", whole.text());
    assert_eq!(whole.header("x-model-version"), Some("v1"));
    charged(&testbed, "two", INPUT + 16).await;

    let streamed = ask("two", OUTPUT).stream_with_usage().to(testbed.url());
    let streamed = client.open(streamed).await.unwrap();
    assert_eq!(streamed.header("x-model-version"), Some("v1"));
    let events = streamed.events().await.unwrap();
    assert_eq!(events.last().unwrap(), "[DONE]");
    charged(&testbed, "two", 2 * (INPUT + 16)).await;

    // The remaining balance is smaller.
    let refused = client
        .send(ask("two", 7190).to(testbed.url()))
        .await
        .unwrap();
    assert_eq!(refused.status, 429, "{}", refused.text());
    charged(&testbed, "two", 2 * (INPUT + 16)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_trailers_end_a_body() {
    let testbed = start_testbed().await;
    let request = ask("trailing", OUTPUT)
        .to(testbed.url())
        .trailer("x-checksum", "1");
    let reply = HttpClient::http2().send(request).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-model-version"), Some("v1"));
    charged(&testbed, "trailing", INPUT + 16).await;
}
