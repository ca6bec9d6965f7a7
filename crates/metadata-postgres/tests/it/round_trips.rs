//! How often one waits for the server, over a proxy that answers late.

use std::time::{Duration, Instant};

use roadstead_metadata::records::access::{self, Asked, Subject};
use roadstead_metadata::records::manifest;
use roadstead_metadata::{Batch, Freshness, Sql, Statement, migrate, schema};
use roadstead_oci::{Reference, Tag};
use roadstead_testkit::servers::Late;

use crate::support;

const LATE: Duration = Duration::from_millis(150);

/// The fewest round trips that several tries of `work` took: a machine that is busy makes them only longer.
async fn round_trips(mut work: impl AsyncFnMut()) -> u32 {
    let mut least = u32::MAX;
    for _ in 0..4 {
        let began = Instant::now();
        work().await;
        least = least.min((began.elapsed().as_millis() / LATE.as_millis()) as u32);
    }
    least
}

/// What was prepared before is answered in one, a question and several and a whole commit.
#[tokio::test]
async fn what_is_prepared_takes_one_round_trip() {
    let Some(mut options) = support::options() else { return };
    let direct = support::open(options.clone()).await;
    migrate(&direct, schema::MIGRATIONS, 0).await.unwrap();
    let proxy = Late::in_front_of(&options.url, LATE);
    options.url = proxy.url();
    let sql = support::open(options).await;

    let latest: Reference = "latest".parse::<Tag>().unwrap().into();
    let pull = async || drop(manifest::get(&sql, Freshness::Latest, "library/app", &latest).await.unwrap());
    assert_eq!(round_trips(pull).await, 1, "a pull by tag");

    let repository = "library/app";
    let asked = Asked { subject: Some(Subject::User(uuid::Uuid::nil())), token: None, repository };
    let decide = async || {
        access::facts(&sql, Freshness::Latest, asked).await.unwrap();
    };
    assert_eq!(round_trips(decide).await, 1, "what a decision needs to know");

    let many = || {
        vec![Statement::new("SELECT count(*) FROM tag", vec![]), Statement::new("SELECT count(*) FROM blob", vec![])]
    };
    let ask = async || drop(sql.query_many(Freshness::Local, many()).await.unwrap());
    assert_eq!(round_trips(ask).await, 1, "several questions");

    let mut number = 0;
    let commit = async || {
        number += 1;
        let mut batch = Batch::new(uuid::Uuid::now_v7(), 0);
        for step in 0..20 {
            let name = format!("{number}-{step}");
            let put = "INSERT INTO setting (name, value, updated_at) VALUES ($1, $2, $3)";
            batch.push(Statement::new(put, vec![name.into(), "v".into(), 0.into()]));
        }
        sql.commit(batch).await.unwrap();
    };
    assert_eq!(round_trips(commit).await, 1, "a commit of 20 statements");
}
