//! The PROXY protocol, versions 1 and 2: a proxy that does not end TLS says for whom it connects.
//!
//! It is believed only from networks that are named, and from those it is asked of every connection. One without it, which
//! load balancers make to look whether somebody is there, is served nothing but health: whoever else connects from there
//! without saying for whom is refused. A header is read to its last byte and no further, so that what follows is whoever's
//! it is; more bytes than any proxy sends end the connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use ppp::{HeaderResult, v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// How a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Of a header of version 2, the part that is always there.
const FIXED: usize = 16;
/// A line of version 1 with its end (specification, section 2.1).
const LINE: usize = 107;
/// Of version 2 what follows the fixed part: addresses, and far more than the extensions that there are.
const LONGEST: usize = 2_048;

/// The proxies that are believed. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Arc<[IpNet]>);

/// For whom a trusted proxy connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// For this client.
    For(SocketAddr),
    /// For itself, or it does not know.
    Itself,
    /// Nothing: what comes is not a header.
    Nothing,
}

/// Why a connection of a proxy is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoHeader {
    /// The connection broke.
    #[error("the connection ended within a PROXY header: {0}")]
    Broken(#[from] io::Error),
    /// It begins as a header and is none.
    #[error("malformed PROXY header")]
    Malformed,
}

impl Proxies {
    /// Those in these networks.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Whether connections from this address are those of a proxy.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Reads the header of a connection that a trusted proxy made. What comes after it stays unread.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Said, NoHeader> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        _ if first[0] == SIGNATURE[0] => read_binary(stream).await,
        // Other requests begin so, too, but none that asks for health.
        _ if first[0] == b'P' => read_line(stream).await,
        _ => Ok(Said::Nothing),
    }
}

async fn read_binary(stream: &mut TcpStream) -> Result<Said, NoHeader> {
    let mut header = vec![0; FIXED];
    stream.read_exact(&mut header).await?;
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if !header.starts_with(SIGNATURE) || length > LONGEST {
        return Err(NoHeader::Malformed);
    }
    header.resize(FIXED + length, 0);
    stream.read_exact(&mut header[FIXED..]).await?;
    parse(&header)
}

async fn read_line(stream: &mut TcpStream) -> Result<Said, NoHeader> {
    let mut line = [0; LINE];
    let mut filled = 0;
    while filled < LINE {
        // Only as far as the line is known to go.
        let seen = stream.peek(&mut line[filled..]).await?;
        if seen == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let end = line[filled..filled + seen].iter().position(|byte| *byte == b'\n');
        let take = end.map_or(seen, |at| at + 1);
        stream.read_exact(&mut line[filled..filled + take]).await?;
        filled += take;
        if end.is_some() {
            return parse(&line[..filled]);
        }
    }
    Err(NoHeader::Malformed)
}

/// What a whole header says.
fn parse(header: &[u8]) -> Result<Said, NoHeader> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Unknown => Said::Itself,
            v1::Addresses::Tcp4(ip) => Said::For((ip.source_address, ip.source_port).into()),
            v1::Addresses::Tcp6(ip) => Said::For((ip.source_address, ip.source_port).into()),
        }),
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Ok(Said::Itself),
        HeaderResult::V2(Ok(header)) => match (header.addresses, header.protocol) {
            // As the specification has it: the real address is used.
            (v2::Addresses::Unspecified | v2::Addresses::Unix(_), _) => Ok(Said::Itself),
            (v2::Addresses::IPv4(ip), v2::Protocol::Stream) => {
                Ok(Said::For((ip.source_address, ip.source_port).into()))
            }
            (v2::Addresses::IPv6(ip), v2::Protocol::Stream) => {
                Ok(Said::For((ip.source_address, ip.source_port).into()))
            }
            _ => Err(NoHeader::Malformed),
        },
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(NoHeader::Malformed),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// Sends `parts` one by one and closes; what was read of them, and what was left.
    async fn exchange(parts: &[&[u8]]) -> (Result<Said, NoHeader>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let send = async {
            for part in parts {
                // One that has read enough may have closed.
                let _ = client.write_all(part).await;
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let receive = async {
            let said = read(&mut server).await;
            let mut left = Vec::new();
            server.read_to_end(&mut left).await.unwrap();
            (said, left)
        };
        tokio::join!(send, receive).1
    }

    /// A header of version 2 with this command, family and content.
    fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, content].concat()
    }

    fn ipv4() -> Vec<u8> {
        vec![192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 1, 0xbb]
    }

    #[tokio::test]
    async fn each_form_says_for_whom_and_what_follows_is_left() {
        let client: SocketAddr = "192.0.2.7:8080".parse().unwrap();
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0, 99, 1, 0xbb]].concat();
        let with_extensions = [&ipv4()[..], &[4, 0, 3, 1, 2, 3], &[0xee, 0, 0]].concat();
        for (header, said) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\n".to_vec(), Said::For(client)),
            (b"PROXY TCP6 2001:db8::7 ::1 99 443\r\n".to_vec(), Said::For("[2001:db8::7]:99".parse().unwrap())),
            (b"PROXY UNKNOWN\r\n".to_vec(), Said::Itself),
            (b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n".to_vec(), Said::Itself),
            (binary(1, 0x11, &ipv4()), Said::For(client)),
            (binary(1, 0x11, &with_extensions), Said::For(client)),
            (binary(1, 0x21, &v6), Said::For("[2001:db8::7]:99".parse().unwrap())),
            (binary(0, 0x00, &[]), Said::Itself),
            (binary(0, 0x11, &ipv4()), Said::Itself),
            (binary(1, 0x00, &[1, 2, 3]), Said::Itself),
            (binary(1, 0x31, &[0; 216]), Said::Itself),
        ] {
            let text = String::from_utf8_lossy(&header).into_owned();
            let whole = [&header[..], b"\x16\x03\x01\r\nmore"].concat();
            let (found, left) = exchange(&[&whole]).await;
            assert_eq!((found.unwrap(), &left[..]), (said, &b"\x16\x03\x01\r\nmore"[..]), "{text}");
            // However it comes.
            let bytes: Vec<_> = whole.chunks(1).collect();
            assert_eq!(exchange(&bytes).await.0.unwrap(), said, "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_left_for_others() {
        for other in [&b"\x16\x03\x01"[..], b"GET /health HTTP/1.1\r\n", b"HEAD / HTTP/1.0\r\n"] {
            let (found, left) = exchange(&[other]).await;
            assert_eq!((found.unwrap(), &left[..]), (Said::Nothing, other));
        }
    }

    #[tokio::test]
    async fn what_begins_as_a_header_and_is_none_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE));
        let too_long = binary(0, 0, &vec![0; LONGEST + 1]);
        for bad in [
            &b"PUT /v2/ HTTP/1.1\r\n"[..],
            b"PROXY TCP4 1.2.3 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 99999\r\n",
            b"PROXY",
            long.as_bytes(),
            &too_long,
            &binary(2, 0x11, &ipv4()),
            &binary(1, 0x12, &ipv4()),
            &binary(1, 0x11, &ipv4()[..8]),
            &SIGNATURE[..],
            b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert!(exchange(&[bad]).await.0.is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn only_named_networks_are_believed() {
        let proxies = Proxies::new(["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()));
        for (address, trusted) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("2001:db8::1", true), ("11.0.0.1", false), ("::1", false)]
        {
            assert_eq!(proxies.trust(address.parse().unwrap()), trusted, "{address}");
        }
        assert!(!Proxies::default().trust("127.0.0.1".parse().unwrap()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Whatever comes, in whatever pieces: an answer, and never a byte read beyond the bounds.
        #[test]
        fn nothing_breaks_it(
            begins in prop_oneof![Just(&b""[..]), Just(&SIGNATURE[..]), Just(&b"PROXY "[..]), Just(&b"PROXY TCP4 "[..])],
            rest in prop::collection::vec(any::<u8>(), 0..4_000),
            at in any::<prop::sample::Index>(),
        ) {
            let all = [begins, &rest[..]].concat();
            let cut = at.index(all.len() + 1);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (_, left) = runtime.block_on(exchange(&[&all[..cut], &all[cut..]]));
            prop_assert!(all.ends_with(&left));
            prop_assert!(all.len() - left.len() <= FIXED + LONGEST);
        }

        #[test]
        fn no_header_breaks_the_parser(header in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&header);
            let _ = parse(&[&SIGNATURE[..], &header].concat());
            let _ = parse(&[&b"PROXY TCP6 "[..], &header, b"\r\n"].concat());
        }
    }
}
