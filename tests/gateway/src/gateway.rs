//! The server: a socket of this machine, and a thread for each connection.
//!
//! Owns the socket. A connection has one request and is closed with its answer, so that nothing is left open when a gateway is
//! dropped. No rule of the Internet Computer's interface lives here.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use candid::Principal;
use ic_nn_host::Host;

use crate::endpoint::{Answer, Endpoints};

/// Most bytes of a body: two of the largest messages.
const MAX_BODY: usize = 4 << 20;
/// Most bytes of a request line with its headers.
const MAX_HEAD: usize = 16 << 10;
/// Most headers.
const MAX_HEADERS: usize = 64;
/// How long a client may be silent within a request.
const SILENCE: Duration = Duration::from_secs(10);

/// How update calls are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// With their certificate where the client asks for it (`/api/v3` and `/api/v4`), as the Internet Computer does for
    /// calls of less than some seconds.
    Awaited,
    /// With 202, as it does for longer ones; the client has to ask for the answer.
    Accepted,
}

/// A running gateway; dropping it closes the socket.
pub struct Gateway {
    endpoints: Arc<Endpoints>,
    address: SocketAddr,
    url: String,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Serves the host on a free port of the loopback interface. Start it before there is a canister: the host's time moves
    /// from its genesis to now, and canisters would pay for the years between.
    ///
    /// # Errors
    ///
    /// Where no port can be listened on.
    pub fn start(host: Arc<Host>, calls: Calls) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let endpoints = Arc::new(Endpoints::new(host, calls));
        endpoints.keep_time();
        let stopping = Arc::new(AtomicBool::new(false));
        let acceptor = {
            let (endpoints, stopping) = (endpoints.clone(), stopping.clone());
            std::thread::spawn(move || accept(&listener, &endpoints, &stopping))
        };
        let url = format!("http://{address}");
        Ok(Gateway { endpoints, address, url, stopping, acceptor: Some(acceptor) })
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key that certificates are verified with, DER.
    pub fn root_key(&self) -> &[u8] {
        self.endpoints.root_key()
    }

    /// The subnet that has all canisters.
    pub fn subnet_id(&self) -> Principal {
        self.endpoints.subnet_id()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // A connection wakes the thread that waits for one; where none can be made, it has ended.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            // One that panicked has printed why.
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, endpoints: &Arc<Endpoints>, stopping: &AtomicBool) {
    for stream in listener.incoming() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let endpoints = endpoints.clone();
        std::thread::spawn(move || {
            // A client that went away wants no answer.
            let _ = serve(stream, &endpoints);
        });
    }
}

/// Answers the one request of a connection.
fn serve(mut stream: TcpStream, endpoints: &Endpoints) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    let answer = match Request::read(&mut stream)? {
        Ok(request) => endpoints.answer(&request.method, &request.path, &request.body),
        Err(refusal) => refusal,
    };
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.status,
        if answer.status < 300 { "OK" } else { "Refused" },
        answer.content_type,
        answer.body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer.body)
}

/// An HTTP request.
struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

impl Request {
    /// Reads a request, or what it is refused with.
    fn read(stream: &mut TcpStream) -> io::Result<Result<Self, Answer>> {
        let mut bytes = Vec::new();
        let (mut request, head, length) = loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut parsed = httparse::Request::new(&mut headers);
            match parsed.parse(&bytes) {
                Ok(httparse::Status::Complete(head)) => {
                    let (method, path) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
                    let request = Request { method: method.into(), path: path.into(), body: Vec::new() };
                    match length(parsed.headers) {
                        Some(length) => break (request, head, length),
                        None => return Ok(Err(Answer::text(411, "the body's Content-Length is needed"))),
                    }
                }
                Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => {}
                Ok(httparse::Status::Partial) => return Ok(Err(Answer::text(431, "too many headers"))),
                Err(error) => return Ok(Err(Answer::text(400, error.to_string()))),
            }
            if !more(stream, &mut bytes)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        if length > MAX_BODY {
            return Ok(Err(Answer::text(413, format!("a body may have {MAX_BODY} bytes"))));
        }
        request.body = bytes.split_off(head);
        while request.body.len() < length {
            if !more(stream, &mut request.body)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        request.body.truncate(length);
        Ok(Ok(request))
    }
}

/// Reads what has come, perhaps not all; false where nothing comes any more.
fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut part = [0; 64 << 10];
    let read = stream.read(&mut part)?;
    bytes.extend_from_slice(&part[..read]);
    Ok(read > 0)
}

/// The body's length; `None` where it comes in chunks or the number is none.
fn length(headers: &[httparse::Header<'_>]) -> Option<usize> {
    let named = |name: &str| headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    match (named("transfer-encoding"), named("content-length")) {
        (Some(_), _) => None,
        (None, None) => Some(0),
        (None, Some(header)) => str::from_utf8(header.value).ok()?.trim().parse().ok(),
    }
}
