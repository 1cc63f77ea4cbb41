//! An upstream on raw sockets: records every byte that reaches it, answers as its script says.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// One request as it came over the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Which connection, counted from 1.
    pub connection: usize,
    /// The head, with its line ends.
    pub head: String,
    /// The body, with its chunks taken apart.
    pub body: Vec<u8>,
}

/// What the upstream does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Sends these bytes and waits for the next request.
    Send(Vec<u8>),
    /// Sends these bytes and closes.
    SendAndClose(Vec<u8>),
    /// Sends these bytes, then nothing for ever.
    SendAndStall(Vec<u8>),
    /// Sends the first bytes, waits for any byte or the end, sends the second.
    SendThenEcho(Vec<u8>),
    /// Resets the connection.
    Reset,
}

/// A running upstream.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    bytes: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Seen {
    /// The request line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// All values of a field, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

impl Upstream {
    /// An upstream that says `ok` to everything.
    pub fn ok() -> Self {
        Self::scripted(|_| Reply::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()))
    }

    /// An upstream with a script.
    pub fn scripted(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            bytes: Arc::default(),
            connections: Arc::default(),
        };
        let (seen, bytes, connections) =
            (Arc::clone(&upstream.seen), Arc::clone(&upstream.bytes), Arc::clone(&upstream.connections));
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = connections.fetch_add(1, SeqCst) + 1;
                let (seen, bytes, script) = (Arc::clone(&seen), Arc::clone(&bytes), Arc::clone(&script));
                thread::spawn(move || {
                    let mut reader = Reader { stream, bytes, buffer: Vec::new() };
                    while let Ok(Some((head, body))) = reader.request() {
                        let request = Seen { connection, head, body };
                        seen.lock().unwrap().push(request.clone());
                        if !answer(&mut reader, script(&request)) {
                            return;
                        }
                    }
                });
            }
        });
        upstream
    }

    /// Everything that came so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Bytes that came so far, on all connections.
    pub fn bytes(&self) -> usize {
        self.bytes.load(SeqCst)
    }

    /// Connections that were opened so far.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// An address that refuses connections: it is taken as long as the process runs, and nobody listens.
pub fn refusing() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

fn answer(reader: &mut Reader, reply: Reply) -> bool {
    let stream = &mut reader.stream;
    match reply {
        Reply::Send(bytes) => stream.write_all(&bytes).is_ok(),
        Reply::SendAndClose(bytes) => {
            drop(stream.write_all(&bytes));
            false
        }
        Reply::SendAndStall(bytes) => {
            drop(stream.write_all(&bytes));
            drop(io::copy(stream, &mut io::sink()));
            false
        }
        Reply::SendThenEcho(bytes) => {
            drop(stream.write_all(&bytes));
            drop(stream.write_all(&std::mem::take(&mut reader.buffer)));
            if let Ok(mut back) = stream.try_clone() {
                drop(io::copy(stream, &mut back));
            }
            false
        }
        Reply::Reset => {
            let socket = socket2::SockRef::from(&*stream);
            drop(socket.set_linger(Some(Duration::ZERO)));
            false
        }
    }
}

struct Reader {
    stream: TcpStream,
    bytes: Arc<AtomicUsize>,
    buffer: Vec<u8>,
}

impl Reader {
    fn request(&mut self) -> io::Result<Option<(String, Vec<u8>)>> {
        let Some(end) = self.until(b"\r\n\r\n")? else { return Ok(None) };
        let head = String::from_utf8_lossy(&self.take(end)).into_owned();
        let field = |name: &str| {
            let fields = head.lines().filter_map(|line| line.split_once(':'));
            fields
                .filter(|(found, _)| found.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
                .next()
        };
        let body = if field("transfer-encoding").is_some() {
            self.chunks()?
        } else {
            let length = field("content-length").map_or(0, |length| length.parse().unwrap());
            while self.buffer.len() < length && self.more()? {}
            let length = length.min(self.buffer.len());
            self.take(length)
        };
        Ok(Some((head, body)))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(end) = self.until(b"\r\n")? {
            let line = self.take(end);
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
            while self.buffer.len() < size + 2 && self.more()? {}
            let chunk = self.take(size + 2);
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
        Ok(body)
    }

    fn until(&mut self, mark: &[u8]) -> io::Result<Option<usize>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Ok(Some(at + mark.len()));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes)?;
        self.bytes.fetch_add(count, SeqCst);
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count > 0)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.buffer.len());
        self.buffer.drain(..count).collect()
    }
}
