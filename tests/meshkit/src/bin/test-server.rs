//! A server that shows how it runs, for the tests of the kubelet: its variables, its files, its user, and how it ends.
//!
//! `GET /healthz` fails before `READY_AFTER_MS` and after SIGTERM; `/env`, `/args`, `/user` and `/hostname` show the process;
//! `/file/PATH` reads and `/write/PATH` writes a file; `/slow/SECONDS` answers later; `/exit/CODE` ends the process. On SIGTERM it serves
//! on until no request is in flight, then it exits with 0. With `--write=PATH` it only writes a file, as a hook.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

/// The state of the server.
struct Server {
    began: Instant,
    ready_after: Duration,
    draining: AtomicBool,
    in_flight: AtomicU32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let hook = std::env::args().find_map(|arg| arg.strip_prefix("--write=").map(str::to_owned));
    if let Some(path) = hook {
        return std::fs::write(path, "hook");
    }
    let listen = std::env::args().find_map(|arg| arg.strip_prefix("--listen=").map(str::to_owned));
    let listen = listen.ok_or_else(|| io::Error::other("--listen=ADDRESS is missing"))?;
    let listener = TcpListener::bind(&listen).await?;
    let millis = std::env::var("READY_AFTER_MS").ok();
    let server = Arc::new(Server {
        began: Instant::now(),
        ready_after: Duration::from_millis(millis.and_then(|ms| ms.parse().ok()).unwrap_or(0)),
        draining: AtomicBool::new(false),
        in_flight: AtomicU32::new(0),
    });
    println!("listening on {listen}");
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (connection, _) = accepted?;
                let server = Arc::clone(&server);
                server.in_flight.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    // Only the client needs to notice a broken connection.
                    let _ = answer(&server, connection).await;
                    server.in_flight.fetch_sub(1, Ordering::Relaxed);
                });
            }
            _ = terminate.recv() => {
                server.draining.store(true, Ordering::Relaxed);
                println!("SIGTERM");
            }
            () = drained(&server) => break,
        }
    }
    println!("drained");
    Ok(())
}

async fn drained(server: &Server) {
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let idle = server.in_flight.load(Ordering::Relaxed) == 0;
        if idle && server.draining.load(Ordering::Relaxed) {
            return;
        }
    }
}

async fn answer(server: &Server, connection: TcpStream) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut request = String::new();
    connection.read_line(&mut request).await?;
    let mut header = String::new();
    while connection.read_line(&mut header).await? > 2 {
        header.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or("/");
    let (status, body) = match response(server, path).await {
        Ok(body) => ("200 OK", body),
        Err(error) => ("503 Service Unavailable", error.to_string()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    connection.write_all((head + &body).as_bytes()).await?;
    connection.shutdown().await
}

async fn response(server: &Server, path: &str) -> io::Result<String> {
    let (action, argument) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    match action {
        "healthz" if server.draining.load(Ordering::Relaxed) => Err(io::Error::other("draining")),
        "healthz" if server.began.elapsed() < server.ready_after => {
            Err(io::Error::other("starting"))
        }
        "env" => {
            let all = std::env::vars().map(|(name, value)| format!("{name}={value}\n"));
            Ok(all.collect())
        }
        "hostname" => std::fs::read_to_string("/proc/sys/kernel/hostname"),
        "args" => Ok(std::env::args().collect::<Vec<_>>().join("\n")),
        "user" => Ok(rustix::process::getuid().as_raw().to_string()),
        "file" => std::fs::read_to_string(format!("/{argument}")),
        "write" => std::fs::write(format!("/{argument}"), "written").map(|()| String::new()),
        "slow" => {
            let seconds = argument.parse().unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok("slow".to_owned())
        }
        "exit" => std::process::exit(argument.parse().unwrap_or(1)),
        _ => Ok(String::new()),
    }
}
