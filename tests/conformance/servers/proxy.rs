//! A proxy in front of a server of HTTP/1.1 that does, request by request, what networks and providers do.
//!
//! Every request has a connection of its own, so that a connection that is cut concerns nobody else.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Counted from 1.
    pub(crate) ordinal: u64,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
}

impl Asked {
    /// Whether it asks S3 for a list.
    pub(crate) fn is_list(&self) -> bool {
        self.method == "GET" && self.target.contains("list-type=2")
    }

    /// Whether it asks for the bytes of an object.
    pub(crate) fn is_read(&self) -> bool {
        self.method == "GET" && !self.target.contains('?')
    }

    /// Whether it writes an object or a part of one.
    pub(crate) fn is_write(&self) -> bool {
        self.method == "PUT"
    }
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Pass,
    /// Passes it on a little later.
    Delay(Duration),
    /// Answers by itself: a status, and lines of headers, each with its end.
    Answer(u16, &'static str),
    /// Closes the connection when half of the request's body has come.
    CutRequest,
    /// Closes the connection when half of the answer's body was sent.
    CutAnswer,
    /// Lets the server do it, and does not tell.
    DropAnswer,
    /// Says nothing at all until the proxy ends.
    Silence,
    /// Closes the connection without a word.
    Gone,
    /// Gives the first answer that was seen for the same target.
    Lag,
    /// Gives a list as of before anything was written.
    EmptyList,
    /// Cuts the answer's body to half, and lies about its length.
    Truncate,
    /// Changes a bit in the middle of the request's body.
    Flip,
    /// Puts all times in headers to this one.
    Clock(&'static str),
}

const EMPTY_LIST: &str = "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>";

type Script = dyn Fn(&Asked) -> Deed + Send + Sync;

struct State {
    upstream: SocketAddr,
    script: Mutex<Arc<Script>>,
    count: AtomicU64,
    seen: Mutex<Vec<Asked>>,
    heads: Mutex<Vec<String>>,
    lists: Mutex<HashMap<String, Vec<u8>>>,
    is_over: AtomicBool,
}

/// A proxy that ends with this.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    /// Begins to pass everything on.
    pub(crate) fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            upstream,
            script: Mutex::new(Arc::new(|_: &Asked| Deed::Pass)),
            count: AtomicU64::new(0),
            seen: Mutex::default(),
            heads: Mutex::default(),
            lists: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&shared);
                // Errors of a connection are what clients are tested with.
                std::thread::spawn(move || drop(state.serve(stream)));
            }
        });
        Self { address, state }
    }

    /// Decides from now on about each request, counted from 1 again.
    pub(crate) fn does(&self, script: impl Fn(&Asked) -> Deed + Send + Sync + 'static) {
        *self.state.script.lock().expect("no script panics") = Arc::new(script);
        self.state.count.store(0, Ordering::SeqCst);
        self.state.seen.lock().expect("nobody panics").clear();
    }

    /// Requests that came since the last decision.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.state.seen.lock().expect("nobody panics").clone()
    }

    /// Heads of all requests that came, as they came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.state.heads.lock().expect("nobody panics").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect(self.address));
    }
}

/// Head and body of a message; the head ends with its empty line.
struct Message {
    head: String,
    body: Vec<u8>,
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Drops all lines of a header, and puts another one there.
    fn set(&mut self, name: &str, value: &str) {
        let prefix = format!("{}:", name.to_ascii_lowercase());
        let keep = |line: &&str| !line.is_empty() && !line.to_ascii_lowercase().starts_with(&prefix);
        let lines: Vec<&str> = self.head.split("\r\n").filter(keep).collect();
        self.head = format!("{}\r\n{name}: {value}\r\n\r\n", lines.join("\r\n"));
    }

    fn send(&self, stream: &mut TcpStream, body_bytes: usize) -> io::Result<()> {
        stream.write_all(self.head.as_bytes())?;
        stream.write_all(&self.body[..body_bytes])?;
        stream.flush()
    }
}

impl State {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut request = read_head(&mut client)?;
        let asked = self.note(&request);
        let script = Arc::clone(&*self.script.lock().expect("no script panics"));
        let deed = script(&asked);
        let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        if let Deed::Gone = deed {
            return Ok(());
        }
        let part = if let Deed::CutRequest = deed { length / 2 } else { length };
        read_more(&mut client, &mut request.body, part)?;
        match deed {
            Deed::CutRequest => return Ok(()),
            Deed::Silence => return self.wait_for_the_end(),
            Deed::Answer(status, headers) => {
                let head = format!("HTTP/1.1 {status} \r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n");
                return client.write_all(head.as_bytes());
            }
            Deed::EmptyList => {
                let (length, body) = (EMPTY_LIST.len(), EMPTY_LIST);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                return client.write_all(format!("{head}{body}").as_bytes());
            }
            Deed::Delay(pause) => std::thread::sleep(pause),
            Deed::Flip if length > 0 => request.body[length / 2] ^= 1,
            Deed::Lag => {
                if let Some(old) = self.lists.lock().expect("nobody panics").get(&asked.target) {
                    return client.write_all(old);
                }
            }
            _ => {}
        }
        let mut answer = self.ask(&mut request)?;
        if let Deed::Lag = deed {
            let whole = [answer.head.as_bytes(), &answer.body].concat();
            self.lists.lock().expect("nobody panics").insert(asked.target, whole);
        }
        match deed {
            Deed::DropAnswer => return Ok(()),
            Deed::CutAnswer => {
                answer.send(&mut client, answer.body.len() / 2)?;
                return client.shutdown(Shutdown::Both);
            }
            Deed::Truncate => {
                answer.body.truncate(answer.body.len() / 2);
                answer.set("content-length", &answer.body.len().to_string());
            }
            Deed::Clock(time) => {
                answer.set("date", time);
                if answer.header("last-modified").is_some() {
                    answer.set("last-modified", time);
                }
            }
            _ => {}
        }
        answer.send(&mut client, answer.body.len())
    }

    /// Counts a request, and keeps what is known of it.
    fn note(&self, request: &Message) -> Asked {
        let mut words = request.head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let ordinal = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let asked = Asked { ordinal, method: method.to_owned(), target: target.to_owned() };
        self.seen.lock().expect("nobody panics").push(asked.clone());
        self.heads.lock().expect("nobody panics").push(request.head.clone());
        asked
    }

    /// Passes a request on, and takes the whole answer.
    fn ask(&self, request: &mut Message) -> io::Result<Message> {
        let mut server = TcpStream::connect(self.upstream)?;
        request.set("connection", "close");
        request.send(&mut server, request.body.len())?;
        let mut answer = read_head(&mut server)?;
        server.read_to_end(&mut answer.body)?;
        Ok(answer)
    }

    fn wait_for_the_end(&self) -> io::Result<()> {
        while !self.is_over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Reads up to the empty line; what came behind it already is the beginning of the body.
fn read_head(stream: &mut TcpStream) -> io::Result<Message> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(at + 4);
            return Ok(Message { head: String::from_utf8_lossy(&bytes).into_owned(), body });
        }
        let mut part = [0; 4096];
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&part[..length]);
    }
}

/// Reads on until a body has so many bytes.
fn read_more(stream: &mut TcpStream, body: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let missing = length.saturating_sub(body.len()) as u64;
    io::copy(&mut stream.take(missing), body).map(drop)
}
