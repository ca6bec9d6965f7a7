//! What the verbs that speak to a running instance share: finding it, asking, reading lines.
//!
//! An instance on this machine is found by the data it keeps and asked over its socket; a server anywhere by its URL, with
//! the credentials of [`super::credentials`].

use std::io;
use std::path::PathBuf;
use std::pin::Pin;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, LINK, LOCATION};
use hyper::{Method, Request, Response, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::credentials;
use super::remote::{Server, Trust};
use super::{Exit, complain, config, print};

/// How to find the running instance.
#[derive(Debug, clap::Args)]
pub(super) struct Instance {
    /// The server to ask, https://HOST:PORT or http://HOST:PORT, in place of the instance on this machine; without it
    /// the one that ROADSTEAD_SERVER names
    #[arg(long, global = true, value_name = "URL", conflicts_with_all = ["config", "data_dir"])]
    server: Option<String>,
    #[command(flatten)]
    trust: Trust,
    /// The configuration file of the instance that runs on this machine [env: ROADSTEAD_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory it keeps its data in, as given to `serve`
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
}

/// Why an instance did not do what it was asked.
#[derive(Debug)]
pub(super) enum Refused {
    /// The configuration is wrong, and has been complained about.
    Configuration,
    /// The command line is wrong; the text says how.
    Usage(String),
    /// The text says why, for a person.
    Told(String),
    /// The same from a server that asks who it is.
    Unauthorized(String),
}

pub(super) fn told(text: impl ToString) -> Refused {
    Refused::Told(text.to_string())
}

/// Runs one conversation to its end.
pub(super) fn block_on<T>(conversation: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    let mut ended = None;
    driven(Box::pin(async { ended = Some(conversation.await) }))?;
    ended.unwrap_or_else(|| unreachable!("driven to its end"))
}

/// For every command the same code: a runtime compiled for each of them takes longer to build than all they do.
fn driven(conversation: Pin<Box<dyn Future<Output = ()> + '_>>) -> Result<(), Refused> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(told)?;
    runtime.block_on(conversation);
    Ok(())
}

/// Tells why it was refused: a script that reads lines of JSON as well, in one that is the last.
pub(super) fn exit(ended: Result<Exit, Refused>, json: bool) -> Exit {
    let (text, exit) = match ended {
        Ok(exit) => return exit,
        Err(Refused::Configuration) => return Exit::Usage,
        Err(Refused::Usage(text)) => (text, Exit::Usage),
        Err(Refused::Told(text) | Refused::Unauthorized(text)) => (text, Exit::Failed),
    };
    complain(&format!("error: {text}\n"));
    if json {
        print(&format!("{}\n", serde_json::json!({ "event": "failed", "message": text })));
    }
    exit
}

/// The value of an environment variable, unless it is empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Instance {
    /// Asks; the answer's head has come, and says that it is being done.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, Refused> {
        match self.server()? {
            Some(server) => self.ask_server(&server, method, path, body).await,
            None => self.ask_socket(method, path, body).await,
        }
    }

    /// The server that is meant, if it is none on this machine: what the command line says counts before the environment.
    fn server(&self) -> Result<Option<Server>, Refused> {
        let local = self.config.is_some() || self.data_dir.is_some();
        let url = self.server.clone().or_else(|| variable("ROADSTEAD_SERVER").filter(|_| !local));
        url.map(|url| Server::parse(&url)).transpose()
    }

    async fn ask_server(
        &self,
        server: &Server,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, Refused> {
        let known = credentials::of(server)?;
        let trust = self.trust.or(known.ca);
        match server.ask(&trust, known.authorization.as_deref(), method, path, body).await {
            Err(Refused::Unauthorized(text)) => Err(told(format!(
                "{text}; log in by `roadstead login {server} -u NAME --password-stdin`, or give an access token in ROADSTEAD_TOKEN"
            ))),
            answer => answer,
        }
    }

    async fn ask_socket(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, Refused> {
        let file = self.config.clone().or_else(|| variable("ROADSTEAD_CONFIG").map(PathBuf::from));
        let settings = config::read(file.as_deref(), self.data_dir.as_deref(), None);
        let socket = settings.ok_or(Refused::Configuration)?.admin_socket();
        match roadstead_http::connect_admin(&socket).await {
            Ok(stream) => converse(stream, "roadstead", None, method, path, body).await,
            Err(error) => Err(told(unreachable(&socket.display().to_string(), &error))),
        }
    }
}

/// One request and the head of its answer, over a connection that is there.
pub(super) async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    authorization: Option<&str>,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Answer, Refused> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    // It ends with the runtime; what goes wrong with it is seen by who reads the answer.
    tokio::spawn(connection);
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request =
        Request::builder().method(method).uri(path).header(HOST, host).header(CONTENT_TYPE, "application/json");
    let request = match authorization {
        Some(authorization) => request.header(AUTHORIZATION, authorization),
        None => request,
    };
    let request = request.body(Full::new(Bytes::from(body))).map_err(told)?;
    let response = sender.send_request(request).await.map_err(told)?;
    let answer = Answer { response, read: Vec::new() };
    if answer.response.status().is_success() { Ok(answer) } else { Err(answer.refusal().await) }
}

fn unreachable(socket: &str, error: &io::Error) -> String {
    let way_out = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "; no instance runs on this data: start it, or name its --config or --data-dir, or a --server"
        }
        io::ErrorKind::PermissionDenied => "; run this as root or as the user that the instance runs as",
        _ => "",
    };
    format!("cannot reach the instance at {socket}: {error}{way_out}")
}

/// A text of somebody else as a terminal may be shown it.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// An answer while it comes.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response<Incoming>,
    read: Vec<u8>,
}

impl Answer {
    /// The next line, as it stands and as what it says; `None` after the last.
    pub(super) async fn line<T: DeserializeOwned>(&mut self) -> Result<Option<(String, T)>, Refused> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                let said =
                    serde_json::from_str(&text).map_err(|error| told(format!("not understood: {text}: {error}")))?;
                return Ok(Some((text, said)));
            }
            match self.response.body_mut().frame().await {
                Some(Ok(frame)) => self.read.extend(frame.data_ref().into_iter().flatten()),
                Some(Err(error)) => return Err(told(format!("the instance went away before it was done: {error}"))),
                None => return Ok(None),
            }
        }
    }

    /// All of an answer that is one object; `null` when there is none.
    pub(super) async fn whole<T: DeserializeOwned>(self) -> Result<T, Refused> {
        let gone = |error| told(format!("the instance went away before it was done: {error}"));
        let body = self.response.into_body().collect().await.map_err(gone)?.to_bytes();
        let body = if body.is_empty() { &b"null"[..] } else { &body };
        serde_json::from_slice(body).map_err(|error| told(format!("not understood: {error}")))
    }

    /// What the next page of a list is asked by: a path of the same server.
    pub(super) fn next(&self) -> Option<String> {
        let link = self.response.headers().get(LINK)?.to_str().ok()?;
        let (path, _) = link.strip_prefix('<')?.split_once(">; rel=\"next\"")?;
        path.starts_with('/').then(|| path.to_owned())
    }

    async fn refusal(self) -> Refused {
        let status = self.response.status();
        if let Some(location) = self.response.headers().get(LOCATION).filter(|_| status.is_redirection()) {
            let location = String::from_utf8_lossy(location.as_bytes());
            return told(format!("the server is at another URL: {location}"));
        }
        let body = self.response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let said = serde_json::from_slice::<Value>(&body).ok();
        let message = said.as_ref().and_then(|said| said.pointer("/errors/0/message")?.as_str());
        let text = message.map_or_else(|| format!("the instance answered {status}"), harmless);
        match status {
            StatusCode::UNAUTHORIZED => Refused::Unauthorized(text),
            _ => Refused::Told(text),
        }
    }
}
