//! Listen addresses: `IP:PORT`, or `:PORT` for all interfaces.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::config::Failure;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Parses a listen address. `:PORT` is the unspecified IPv6 address, which also accepts IPv4.
pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let wrong = || "write IP:PORT, or :PORT for all interfaces, such as 127.0.0.1:18000".to_owned();
    match text.strip_prefix(':') {
        Some(port) => {
            let port = port.parse().map_err(|_| wrong())?;
            Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        }
        None => text.parse().map_err(|_| wrong()),
    }
}

/// Listens at the address of a flag. The unspecified IPv6 address accepts IPv4 too; without IPv6 it is the unspecified IPv4 one.
///
/// # Errors
/// The address cannot be used. The message names the flag.
pub(crate) async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = if address.ip() == Ipv6Addr::UNSPECIFIED {
        match dual_stack(address) {
            Err(error) if has_no_ipv6(&error) => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
            }
            bound => bound,
        }
    } else {
        TcpListener::bind(address).await
    };
    bound.map_err(|e| {
        format!(
            "{flag} {address}: {e}: stop the process that listens there, or choose another address"
        )
        .into()
    })
}

fn dual_stack(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    // As the standard library does, so that a restart does not wait for old connections.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn has_no_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_all_interfaces() {
        assert_eq!(parse_listen(":18000").unwrap().to_string(), "[::]:18000");
        assert_eq!(
            parse_listen("127.0.0.1:1").unwrap().to_string(),
            "127.0.0.1:1"
        );
        for wrong in ["18000", ":", ":x", "localhost:1", ":70000"] {
            assert!(
                parse_listen(wrong).unwrap_err().contains(":PORT"),
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn all_interfaces_accept_ipv4_also_where_there_is_no_ipv6() {
        let listener = bind("--flag", parse_listen(":0").unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip().to_canonical(), Ipv4Addr::LOCALHOST);
        let taken = bind("--flag", SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await;
        assert!(taken.unwrap_err().to_string().starts_with("--flag "));
    }
}
