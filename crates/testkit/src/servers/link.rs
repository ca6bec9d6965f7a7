//! A proxy between the server under test and one that it needs, through which that one can be made to fail: cut off at
//! any byte, silent, away, or answering that it will not.
//!
//! Deliberately absent: changed bytes. TCP and TLS keep those out, and what damages them behind that is tested elsewhere.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::address;
use crate::Seed;

/// What is spoken through a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1, as S3 does.
    Http,
    /// The protocol of PostgreSQL.
    Postgres,
}

/// What is wrong with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// A connection ends after a number of bytes in one of the directions, in order or by a reset; then another one does. Up
    /// to `most` bytes, few as likely as many.
    Cut {
        /// The most bytes between two cuts.
        most: u64,
    },
    /// Connections are accepted, and no byte passes on any.
    Stall,
    /// Nobody listens, and the connections that were are reset.
    Refuse,
    /// The server answers that it will not: each request of HTTP with this status and code of S3, each new connection to
    /// PostgreSQL with this SQLSTATE (status 0), and the old ones end.
    Answer {
        /// `503`.
        status: u16,
        /// `SlowDown`, `28P01`.
        code: &'static str,
        /// What it says besides.
        message: &'static str,
    },
}

/// The way that bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// A link to a server. It lives as long as the process.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    speaks: Speaks,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    trouble: Trouble,
    seed: Seed,
    draws: u64,
    cut: Cut,
    connections: Vec<Arc<Connection>>,
    /// How often a connection met the trouble.
    met: u64,
    /// Connections are accepted.
    listening: bool,
}

/// The cut to come.
#[derive(Debug, Clone, Copy)]
struct Cut {
    left: u64,
    way: Way,
    reset: bool,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// It is to end without an end of what was sent.
    reset: AtomicBool,
}

impl Link {
    /// To the server at `server`; `seed` decides where connections are cut.
    pub fn to(server: SocketAddr, speaks: Speaks, seed: Seed) -> Self {
        let listener = address::listener();
        let address = listener.local_addr().expect("an address");
        let cut = Cut { left: 0, way: Way::There, reset: false };
        let state =
            State { trouble: Trouble::None, seed, draws: 0, cut, connections: Vec::new(), met: 0, listening: true };
        let shared = Arc::new(Shared { server, speaks, state: Mutex::new(state), changed: Condvar::new() });
        let listening = shared.clone();
        thread::spawn(move || listening.listen(listener, address));
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this is wrong, and nothing else.
    pub fn set(&self, trouble: Trouble) {
        let mut state = self.shared.state.lock().unwrap();
        let before = std::mem::replace(&mut state.trouble, trouble);
        state.met = 0;
        match trouble {
            Trouble::Cut { most } => state.draw(most),
            Trouble::Refuse => state.end_all(true),
            Trouble::Answer { .. } if self.shared.speaks == Speaks::Postgres => state.end_all(false),
            _ => {}
        }
        drop(state);
        self.shared.changed.notify_all();
        // Whoever accepts connections finds out.
        if trouble == Trouble::Refuse && before != Trouble::Refuse {
            drop(TcpStream::connect(self.address));
        }
        // Nobody is refused any more once this is over.
        if trouble != Trouble::Refuse {
            let state = self.shared.state.lock().unwrap();
            drop(self.shared.changed.wait_while(state, |state| !state.listening).unwrap());
        }
    }

    /// How often connections met what is wrong, as far as the link can tell: not with one that nobody accepts.
    pub fn met(&self) -> u64 {
        self.shared.state.lock().unwrap().met
    }
}

impl State {
    /// A number for the next decision.
    fn next(&mut self) -> Seed {
        self.draws += 1;
        self.seed.derive(self.draws)
    }

    fn draw(&mut self, most: u64) {
        let seed = self.next();
        let magnitude = 1 + seed.below(u64::from(most.max(2).ilog2()));
        let left = seed.derive(1).below(2 << magnitude).min(most);
        let way = if seed.derive(2).below(2) == 0 { Way::There } else { Way::Back };
        self.cut = Cut { left, way, reset: seed.derive(3).below(2) == 0 };
    }

    fn end_all(&mut self, reset: bool) {
        for connection in self.connections.drain(..) {
            connection.end(reset);
            self.met += 1;
        }
    }
}

impl Connection {
    fn end(&self, reset: bool) {
        if reset {
            // Whoever closes it last resets it. Its threads read an end, and close it.
            self.reset.store(true, Ordering::SeqCst);
            for socket in [&self.client, &self.server] {
                let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
                let _ = socket.shutdown(Shutdown::Read);
            }
        } else {
            let _ = (self.client.shutdown(Shutdown::Both), self.server.shutdown(Shutdown::Both));
        }
    }
}

impl Shared {
    fn listen(self: Arc<Self>, listener: TcpListener, address: SocketAddr) {
        let mut listener = Some(listener);
        loop {
            let refusing = self.state.lock().unwrap().trouble == Trouble::Refuse;
            if refusing {
                drop(listener.take());
                let mut state = self.state.lock().unwrap();
                state.listening = false;
                drop(self.changed.wait_while(state, |state| state.trouble == Trouble::Refuse).unwrap());
                continue;
            }
            let listening = listener.get_or_insert_with(|| TcpListener::bind(address).expect("the port it had"));
            self.state.lock().unwrap().listening = true;
            self.changed.notify_all();
            let Ok((client, _)) = listening.accept() else { continue };
            let shared = self.clone();
            thread::spawn(move || drop(shared.connect(client)));
        }
    }

    fn connect(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        if let (Speaks::Postgres, Some(Trouble::Answer { code, message, .. })) = (self.speaks, self.answering()) {
            return refuse_session(&client, code, message);
        }
        // A server that is away ends the connection.
        let server = TcpStream::connect(self.server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let connection = Arc::new(Connection { client, server, reset: AtomicBool::new(false) });
        {
            let mut state = self.state.lock().unwrap();
            if state.trouble == Trouble::Refuse {
                return Ok(());
            }
            state.connections.push(connection.clone());
        }
        let (shared, back) = (self.clone(), connection.clone());
        let returning = thread::spawn(move || drop(shared.forward(&back.server, &back.client, Way::Back, &back)));
        match self.speaks {
            Speaks::Http => drop(self.requests(&connection)),
            Speaks::Postgres => {
                drop(self.forward(&connection.client, &connection.server, Way::There, &connection));
            }
        }
        let _ = returning.join();
        self.state.lock().unwrap().connections.retain(|other| !Arc::ptr_eq(other, &connection));
        Ok(())
    }

    /// What is answered in place of the server, if that is wrong now.
    fn answering(&self) -> Option<Trouble> {
        let mut state = self.state.lock().unwrap();
        let answering = matches!(state.trouble, Trouble::Answer { .. });
        state.met += u64::from(answering);
        answering.then_some(state.trouble)
    }

    /// Requests, one after the other: nobody sends the next before the answer, so an answer in place of the server's
    /// meets no other.
    fn requests(&self, connection: &Connection) -> io::Result<()> {
        let mut client = BufReader::with_capacity(64 << 10, &connection.client);
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if client.read_until(b'\n', &mut head)? == 0 {
                    let _ = connection.server.shutdown(Shutdown::Write);
                    return Ok(());
                }
            }
            let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<u64>().ok());
            assert!(!text.contains("transfer-encoding:"), "a request to S3 says how long it is");
            let mut body = (&mut client).take(length.unwrap_or(0));
            match self.answering() {
                Some(Trouble::Answer { status, code, message }) => {
                    io::copy(&mut body, &mut io::sink())?;
                    let said = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
                    let shown = if text.starts_with("head ") { "" } else { &said };
                    let length = said.len();
                    let head = format!(
                        "HTTP/1.1 {status} X\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\n\r\n"
                    );
                    (&connection.client).write_all((head + shown).as_bytes())?;
                }
                _ => {
                    if !self.pass(&head, &connection.server, Way::There, connection)? {
                        return Ok(());
                    }
                    let mut buffer = vec![0; 64 << 10];
                    loop {
                        let count = body.read(&mut buffer)?;
                        if count == 0 {
                            break;
                        }
                        if !self.pass(&buffer[..count], &connection.server, Way::There, connection)? {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    fn forward(&self, mut from: &TcpStream, to: &TcpStream, way: Way, connection: &Connection) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let passed = match from.read(&mut buffer) {
                Ok(count @ 1..) => self.pass(&buffer[..count], to, way, connection),
                _ => Ok(false),
            };
            if !passed.unwrap_or(false) {
                // What one end ends, ends for the other.
                if !connection.reset.load(Ordering::SeqCst) {
                    let _ = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
                }
                return Ok(());
            }
        }
    }

    /// Passes bytes on, as far as they may pass; whether the connection goes on.
    fn pass(&self, bytes: &[u8], mut to: &TcpStream, way: Way, connection: &Connection) -> io::Result<bool> {
        let mut cut = None;
        {
            let state = self.state.lock().unwrap();
            let mut met = false;
            let still = |state: &mut State| {
                let still = state.trouble == Trouble::Stall;
                state.met += u64::from(still && !met);
                met |= still;
                still
            };
            let mut state = self.changed.wait_while(state, still).unwrap();
            if let Trouble::Cut { most } = state.trouble
                && state.cut.way == way
            {
                let length = bytes.len() as u64;
                if state.cut.left < length {
                    cut = Some(state.cut);
                    state.met += 1;
                    state.draw(most);
                } else {
                    state.cut.left -= length;
                }
            }
        }
        let Some(cut) = cut else { return to.write_all(bytes).map(|()| true) };
        let left = usize::try_from(cut.left).unwrap_or(usize::MAX).min(bytes.len());
        let _ = to.write_all(&bytes[..left]);
        connection.end(cut.reset);
        Ok(false)
    }
}

/// Answers the first words of a session with an error, as PostgreSQL does.
fn refuse_session(mut client: &TcpStream, code: &str, message: &str) -> io::Result<()> {
    loop {
        let mut head = [0; 8];
        client.read_exact(&mut head)?;
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        // Whether it speaks TLS: no.
        if word(4) == 80_877_103 {
            client.write_all(b"N")?;
            continue;
        }
        io::copy(&mut client.take(u64::from(word(0)).saturating_sub(8)), &mut io::sink())?;
        let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
        let length = u32::try_from(fields.len() + 4).expect("a short text");
        client.write_all(b"E")?;
        client.write_all(&length.to_be_bytes())?;
        client.write_all(fields.as_bytes())?;
        return Ok(());
    }
}
