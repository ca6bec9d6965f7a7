//! What the verbs that speak to a running instance share: finding its socket, asking, reading lines.

use std::io;
use std::path::PathBuf;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Exit, complain, config, print};

/// How to find the running instance.
#[derive(Debug, clap::Args)]
pub(super) struct Instance {
    /// The configuration file of the running instance
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_CONFIG")]
    config: Option<PathBuf>,
    /// The directory it keeps its data in, as given to `serve`
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

/// Why an instance did not do what it was asked.
#[derive(Debug)]
pub(super) enum Refused {
    /// The configuration is wrong, and has been complained about.
    Configuration,
    /// The text says why, for a person.
    Told(String),
}

fn told(text: impl ToString) -> Refused {
    Refused::Told(text.to_string())
}

/// Runs one conversation to its end.
pub(super) fn block_on<T>(conversation: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(told)?;
    runtime.block_on(conversation)
}

/// Tells why it was refused: a script that reads lines of JSON as well, in one that is the last.
pub(super) fn exit(ended: Result<Exit, Refused>, json: bool) -> Exit {
    match ended {
        Ok(exit) => exit,
        Err(Refused::Configuration) => Exit::Usage,
        Err(Refused::Told(text)) => {
            complain(&format!("error: {text}\n"));
            if json {
                print(&format!("{}\n", serde_json::json!({ "event": "failed", "message": text })));
            }
            Exit::Failed
        }
    }
}

impl Instance {
    /// Asks; the answer's head has come, and says that it is being done.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, Refused> {
        let settings = config::read(self.config.as_deref(), self.data_dir.as_deref(), None);
        let socket = settings.ok_or(Refused::Configuration)?.admin_socket();
        let stream = match roadstead_http::connect_admin(&socket).await {
            Ok(stream) => stream,
            Err(error) => return Err(told(unreachable(&socket.display().to_string(), &error))),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
        // It ends with the runtime; what goes wrong with it is seen by who reads the answer.
        tokio::spawn(connection);
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header("host", "roadstead");
        let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body)));
        let response = sender.send_request(request.map_err(told)?).await.map_err(told)?;
        let answer = Answer { response, read: Vec::new() };
        if answer.response.status().is_success() { Ok(answer) } else { Err(answer.refusal().await) }
    }
}

fn unreachable(socket: &str, error: &io::Error) -> String {
    let way_out = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "; no instance runs on this data: start it, or name its --config or --data-dir"
        }
        io::ErrorKind::PermissionDenied => "; run this as root or as the user that the instance runs as",
        _ => "",
    };
    format!("cannot reach the instance at {socket}: {error}{way_out}")
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

    /// All of an answer that is one object.
    pub(super) async fn whole<T: DeserializeOwned>(self) -> Result<T, Refused> {
        let gone = |error| told(format!("the instance went away before it was done: {error}"));
        let body = self.response.into_body().collect().await.map_err(gone)?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| told(format!("not understood: {error}")))
    }

    async fn refusal(self) -> Refused {
        let status = self.response.status();
        let body = self.response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let said = serde_json::from_slice::<Value>(&body).ok();
        match said.as_ref().and_then(|said| said.get("error")?.as_str()) {
            Some(error) => told(error),
            None => told(format!("the instance answered {status}")),
        }
    }
}
