//! `cargo xtask servers`: what tests start, for people.
//!
//! They listen on free ports of 127.0.0.1, in directories of their own. A shell beside each stops it and removes its
//! directory when this program ends, by Ctrl-C or otherwise, so nothing here waits for signals.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use roadstead_testkit::servers::{KNOWN, Postgres, S3Server, free_address, haproxy, minio, pgbouncer, s3};

use crate::stage::{Context, Failure};

/// What to do with them.
#[derive(clap::Subcommand)]
pub(crate) enum Servers {
    /// Tell which there are on this machine, and how to install the others.
    List,
    /// Start servers and tell how to reach them and how the registry uses them. Ctrl-C stops them and removes their data.
    Start(Start),
}

/// What to start.
#[derive(clap::Args)]
pub(crate) struct Start {
    /// postgres, pgbouncer, s3s-fs, minio, haproxy.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// An instance of the registry that haproxy leads to, as ADDR:PORT; one to three of them.
    #[arg(long = "to", value_name = "ADDR:PORT")]
    to: Vec<SocketAddr>,
}

pub(crate) fn run(context: &Context, what: &Servers) -> Result<(), Failure> {
    match what {
        Servers::List => list(),
        Servers::Start(start) => return run_until_the_end(context, start),
    }
    Ok(())
}

/// A line for each server, one that is absent with what installs it.
pub(crate) fn list() {
    for known in KNOWN {
        match known.path() {
            Some(path) => println!("{:<10} {}", known.name, path.display()),
            None => println!("{:<10} absent: {}", known.name, known.install),
        }
    }
}

/// A server that runs as long as this lives.
#[expect(dead_code, reason = "held, never looked at")]
struct Running(Box<dyn std::any::Any>);

fn run_until_the_end(context: &Context, start: &Start) -> Result<(), Failure> {
    let mut running = Vec::new();
    for name in &start.names {
        let started = match name.as_str() {
            "postgres" => Postgres::start(true).map(|server| {
                println!("postgres at {}, user postgres, no password", server.address());
                tell(server.directory(), server.database().variables());
                Running(Box::new(server))
            }),
            "pgbouncer" => bouncer(),
            "s3s-fs" => s3().map(|server| bucket(name, server)),
            "minio" => minio().map(|server| bucket(name, server)),
            "haproxy" => balancer(context, &start.to)?,
            other => {
                let known: Vec<_> = KNOWN.iter().map(|known| known.name).collect();
                return Err(Failure::new(format!("no server named {other:?}; there are {}", known.join(", "))));
            }
        };
        // What is absent has told how to install it.
        running.push(started.ok_or_else(|| Failure::new(format!("{name} is not installed")))?);
    }
    println!("Ctrl-C stops what runs here and removes its data.");
    loop {
        thread::park();
    }
}

fn bucket(name: &str, server: S3Server) -> Running {
    println!("{name} at {}, bucket {}", server.endpoint, server.bucket);
    println!("    access key {}, secret key {}", server.access_key, server.secret_key);
    tell(server.directory(), server.variables());
    Running(Box::new(server))
}

/// PgBouncer in transaction mode, with a server of its own behind it.
fn bouncer() -> Option<Running> {
    let server = Postgres::start(true)?;
    let database = server.database();
    let bouncer = pgbouncer(&database)?;
    let through = bouncer.to(&database);
    println!("pgbouncer at {}, in transaction mode, user postgres, no password", through.address());
    println!("    before the PostgreSQL at {}, whose data is in {}", server.address(), server.directory().display());
    let unprepared = ("ROADSTEAD_METADATA__POSTGRES__STATEMENT_CACHE", "false".to_owned());
    tell(bouncer.directory(), through.variables().into_iter().chain([unprepared]));
    Some(Running(Box::new((bouncer, server))))
}

/// Where it keeps its data, and what a shell has to be told before it starts the registry.
fn tell(directory: &Path, variables: impl IntoIterator<Item = (&'static str, String)>) {
    println!("    its data is in {}", directory.display());
    for (name, value) in variables {
        println!("export {name}='{value}'");
    }
}

/// The load balancer of `deploy/haproxy`, in front of up to three instances.
fn balancer(context: &Context, to: &[SocketAddr]) -> Result<Option<Running>, Failure> {
    if !(1..=3).contains(&to.len()) {
        return Err(Failure::new("haproxy leads to one to three instances; name each by --to ADDR:PORT"));
    }
    let names = ["ROADSTEAD_1", "ROADSTEAD_2", "ROADSTEAD_3"];
    let instances = to.iter().cycle().map(SocketAddr::to_string);
    let variables: Vec<_> = names.into_iter().zip(instances).collect();
    let addr = free_address();
    let server = haproxy(&context.root.join("deploy/haproxy/haproxy.cfg"), addr, &variables);
    Ok(server.map(|server| {
        println!("haproxy at {addr}");
        Running(Box::new(server))
    }))
}
