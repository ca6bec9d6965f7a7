//! `roadstead status`: which instances run over the same metadata, whether they are alive, and what each does for all.

use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use super::admin::{Instance, Refused, block_on, exit};
use super::administer::table;
use super::{Exit, print};

/// What the command line asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    instance: Instance,
    /// Print one JSON object, `{"instances": [...], "workers": [...]}`
    #[arg(long)]
    json: bool,
}

/// A process: see the admin API's `GET /api/v1/instances`.
#[derive(Debug, Deserialize)]
struct Running {
    address: String,
    version: String,
    region: String,
    answers: bool,
    silent: bool,
    clock_differs: bool,
    leases: Vec<String>,
}

/// A worker of the instance that answers: see `GET /api/v1/workers`.
#[derive(Debug, Deserialize)]
struct Worker {
    name: String,
    last_error: Option<String>,
}

/// Tells how things stand.
pub(super) fn run(arguments: &Arguments) -> Exit {
    exit(block_on(show(arguments)), arguments.json)
}

async fn show(arguments: &Arguments) -> Result<Exit, Refused> {
    let (instances, workers) = (get(arguments, "/api/v1/instances").await?, get(arguments, "/api/v1/workers").await?);
    if arguments.json {
        return Ok(print(&format!("{}\n", serde_json::json!({ "instances": instances, "workers": workers }))));
    }
    let not_understood = |error: serde_json::Error| Refused::Told(format!("not understood: {error}"));
    let instances = serde_json::from_value(instances).map_err(not_understood)?;
    let workers = serde_json::from_value(workers).map_err(not_understood)?;
    Ok(print(&page(instances, workers)))
}

async fn get(arguments: &Arguments, path: &str) -> Result<Value, Refused> {
    arguments.instance.ask(Method::GET, path, None).await?.whole().await
}

/// A table of the instances, then what fails.
fn page(instances: Vec<Running>, workers: Vec<Worker>) -> String {
    let mut rows = vec![["INSTANCE", "VERSION", "REGION", "STATE", "WORK FOR ALL"].map(str::to_owned).to_vec()];
    rows.extend(instances.into_iter().map(|of| {
        let state = match &of {
            Running { answers: true, .. } => "answers",
            Running { silent: true, .. } => "silent",
            Running { clock_differs: true, .. } => "its clock differs",
            _ => "alive",
        };
        let or = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        [or(of.address), of.version, or(of.region), state.to_owned(), or(of.leases.join(", "))].to_vec()
    }));
    let mut page = table(&rows);
    for Worker { name, last_error } in workers {
        if let Some(error) = last_error {
            page.push_str(&format!("worker {name} fails: {error}\n"));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_failures_follow() {
        let running = |address: &str, region: &str, answers, silent, leases: &[&str]| Running {
            address: address.into(),
            version: "0.1.0".into(),
            region: region.into(),
            answers,
            silent,
            clock_differs: false,
            leases: leases.iter().map(|lease| (*lease).to_owned()).collect(),
        };
        let instances = vec![
            running("10.0.0.1:5000", "eu", true, false, &["collect", "reap"]),
            running("10.0.0.12:5000", "", false, true, &[]),
        ];
        let workers = vec![
            Worker { name: "reap".into(), last_error: None },
            Worker { name: "scrub".into(), last_error: Some("location default: gone".into()) },
        ];
        assert_eq!(
            page(instances, workers),
            "INSTANCE        VERSION  REGION  STATE    WORK FOR ALL\n\
             10.0.0.1:5000   0.1.0    eu      answers  collect, reap\n\
             10.0.0.12:5000  0.1.0    -       silent   -\n\
             worker scrub fails: location default: gone\n"
        );
    }
}
