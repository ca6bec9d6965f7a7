//! A client's socket that tells the connection's watch what passes through it, and which protocol its client speaks.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::pulse::Pulse;

/// How every HTTP/2 client begins, and no HTTP/1 client can (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long to discard what a client sends after it was answered and the connection is to close.
const LINGER: Duration = Duration::from_secs(2);

/// A client's socket that tells whether it takes what is written. Under TLS, which takes more than the client does.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S> Socket<S> {
    pub(crate) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.wrote(written.is_pending());
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A byte stream with its [`Pulse`], which it tells of what is read. Adds no buffer: head and body of a response still leave in one `writev`.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    pulse: Arc<Pulse>,
    /// What was read already and is still to be read by whoever speaks the protocol.
    ahead: Bytes,
    /// How much longer to discard what the client sends.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse, ahead: Bytes::new(), linger: None }
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Waits for the client to say something, and reads as far as it takes to tell whether that is HTTP/2, no further
    /// than its preface. What was read will be read again. A client that leaves speaks HTTP/1.
    pub(crate) async fn speaks_http2(&mut self) -> io::Result<bool> {
        let mut buffer = [0; PREFACE.len()];
        let mut filled = 0;
        let http2 = loop {
            let read = self.read(&mut buffer[filled..]).await?;
            filled += read;
            if read == 0 || buffer[..filled] != PREFACE[..filled] {
                break false;
            }
            if filled == PREFACE.len() {
                break true;
            }
        };
        self.put_back(&buffer[..filled]);
        if http2 {
            self.pulse.speaks_http2();
        }
        Ok(http2)
    }

    /// Gives back what was read too early; it is the next to be read.
    pub(crate) fn put_back(&mut self, read: &[u8]) {
        self.ahead = [read, &self.ahead].concat().into();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let some = buf.remaining().min(self.ahead.len());
            buf.put_slice(&self.ahead.split_to(some));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.received();
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if self.pulse.has_unread() { self.poll_linger(cx).map(Ok) } else { Poll::Ready(Ok(())) }
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Discards what the client sends until it closes too, so that no reset overtakes the answer it was given.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut scratch = [0; 8192];
        while timer.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::pulse::Patience;

    /// Sends `parts` one by one; answers the protocol, and everything read afterwards.
    async fn first_read(parts: &[&[u8]]) -> (bool, Vec<u8>) {
        let patience = Patience { head: Duration::MAX, idle: Duration::from_secs(1), write: Duration::MAX };
        let (mut client, server) = tokio::io::duplex(7);
        let send = async {
            for part in parts {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let receive = async {
            let mut stream = Watched::new(server, Pulse::new(patience));
            let http2 = stream.speaks_http2().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            (http2, all)
        };
        tokio::join!(send, receive).1
    }

    #[tokio::test]
    async fn the_protocol_is_told_by_the_preface_and_nothing_is_lost() {
        for parts in [&[b"GET / HTTP/1.1\r\n\r\n" as &[u8]] as &[&[u8]], &[b"P", b"UT /"], &[b"PRI * HTTP/1.1"], &[b""]]
        {
            assert_eq!(first_read(parts).await, (false, parts.concat()));
        }
        let parts: &[&[u8]] = &[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n", b"frames"];
        assert_eq!(first_read(parts).await, (true, parts.concat()));
    }
}
