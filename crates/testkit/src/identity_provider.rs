//! An OpenID Connect issuer on a free port of 127.0.0.1: what it says of itself, its public keys, and tokens, right ones
//! and others.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// An issuer. Its thread ends with the process.
#[derive(Debug)]
pub struct IdentityProvider {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that are published, the newest last.
    keys: Vec<Arc<TokenKey>>,
    /// How many keys there were.
    made: usize,
    /// Whether it answers nobody.
    down: bool,
    /// Whom it says to be, if not who it is.
    claims: Option<String>,
    /// What it was asked for.
    asked: Vec<String>,
}

/// A key that tokens are signed with.
#[derive(Debug)]
pub struct TokenKey {
    id: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Es256(EcdsaKeyPair),
    Rs256(Box<RsaKeyPair>),
    EdDsa(Ed25519KeyPair),
}

impl IdentityProvider {
    /// Starts one with a key for ES256.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let provider = Self { addr: listener.local_addr().expect("an address"), state: Arc::default() };
        provider.rotate("ES256");
        let (state, issuer) = (provider.state.clone(), provider.issuer());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One after another: who asks is one process, and is answered at once.
                let _ = answer(stream, &state, &issuer);
            }
        });
        provider
    }

    /// Its URL.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Publishes a new key for `ES256`, `RS256` or `EdDSA` in place of the others.
    pub fn rotate(&self, algorithm: &str) -> Arc<TokenKey> {
        let mut state = self.state.lock().unwrap();
        state.made += 1;
        let key = Arc::new(TokenKey::new(&format!("key-{}", state.made), algorithm));
        state.keys = vec![key.clone()];
        key
    }

    /// The newest key.
    pub fn key(&self) -> Arc<TokenKey> {
        self.state.lock().unwrap().keys.last().expect("a key").clone()
    }

    /// From now on it answers nobody, or everybody again.
    pub fn down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// From now on it says to be this one.
    pub fn claim(&self, issuer: &str) {
        self.state.lock().unwrap().claims = Some(issuer.to_owned());
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|path| *path == "/keys").count()
    }
}

impl TokenKey {
    /// A new one for `ES256`, `RS256` or `EdDSA`, which nobody publishes.
    pub fn new(id: &str, algorithm: &str) -> Self {
        let pair = match algorithm {
            "ES256" => Pair::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")),
            "RS256" => Pair::Rs256(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))),
            "EdDSA" => Pair::EdDsa(Ed25519KeyPair::generate().expect("a key")),
            other => panic!("no keys for {other}"),
        };
        Self { id: id.to_owned(), pair }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Es256(_) => "ES256",
            Pair::Rs256(_) => "RS256",
            Pair::EdDsa(_) => "EdDSA",
        }
    }

    /// The public part, as a JWK set has it.
    pub fn published(&self) -> Value {
        let mut entry = match &self.pair {
            Pair::Es256(pair) => {
                // 4, x, y.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y)})
            }
            Pair::Rs256(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let part = |part: &[u8]| base64(part);
                json!({
                    "kty": "RSA",
                    "n": part(n.big_endian_without_leading_zero()),
                    "e": part(e.big_endian_without_leading_zero()),
                })
            }
            Pair::EdDsa(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key().as_ref())}),
        };
        (entry["kid"], entry["use"]) = (self.id.as_str().into(), "sig".into());
        entry["alg"] = self.algorithm().into();
        entry
    }

    /// A token that states `claims`.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "kid": self.id, "typ": "JWT"}), claims)
    }

    /// The same with a head of one's own.
    pub fn token_with(&self, head: &Value, claims: &Value) -> String {
        let text = unsigned(head, claims);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&random, text.as_bytes()).expect("a signature").as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).expect("a signature");
                signature
            }
            Pair::EdDsa(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
        };
        format!("{text}.{}", base64(&signature))
    }

    /// A token signed with `secret` as HS256 does, under this key's id: who takes any algorithm takes a public key for it.
    pub fn symmetric(&self, secret: &[u8], claims: &Value) -> String {
        let text = unsigned(&json!({"alg": "HS256", "kid": self.id, "typ": "JWT"}), claims);
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        format!("{text}.{}", base64(aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref()))
    }

    /// A token that nobody signed.
    pub fn nobodys(&self, claims: &Value) -> String {
        unsigned(&json!({"alg": "none", "kid": self.id, "typ": "JWT"}), claims) + "."
    }
}

fn unsigned(head: &Value, claims: &Value) -> String {
    format!("{}.{}", base64(head.to_string().as_bytes()), base64(claims.to_string().as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a head and answers it, and ends the connection.
fn answer(mut stream: TcpStream, state: &Mutex<State>, issuer: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (status, body) = {
        let mut state = state.lock().unwrap();
        if state.down {
            return Ok(());
        }
        state.asked.push(path.clone());
        let itself = state.claims.clone().unwrap_or_else(|| issuer.to_owned());
        match path.as_str() {
            "/.well-known/openid-configuration" => {
                ("200 OK", json!({"issuer": itself, "jwks_uri": format!("{issuer}/keys")}))
            }
            // Among keys of a kind that nobody asked for.
            "/keys" => {
                let mut keys = vec![json!({"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}), json!({"kty": "new"})];
                keys.extend(state.keys.iter().map(|key| key.published()));
                ("200 OK", json!({ "keys": keys }))
            }
            _ => ("404 Not Found", json!({})),
        }
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
