//! Servers that go away, connections that end, callers that give up.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roadstead_metadata::{
    Batch, CommitError, Committed, Freshness, QueryError, Sql, Statement, Status, commit_once, migrate, schema,
};
use roadstead_metadata_postgres::{OpenError, Options, PostgresSql, Timings};
use roadstead_testkit::Seed;
use roadstead_testkit::servers::{Cutting, Late, Link, Postgres, Speaks, Trouble};
use tokio_postgres::NoTls;

use crate::support;

const PUT: &str = "INSERT INTO setting (name, value, updated_at) VALUES ($1, 'v', 0)";
const COUNT: &str = "SELECT count(*) FROM setting";

fn put(name: &str) -> Batch {
    let mut batch = Batch::new(uuid::Uuid::now_v7(), 0);
    batch.push(Statement::new(PUT, vec![name.into()]));
    batch
}

async fn count(sql: &dyn Sql, fresh: Freshness) -> Result<i64, QueryError> {
    sql.query(fresh, Statement::new(COUNT, vec![])).await.map(|rows| rows[0].integer(0).unwrap())
}

fn quick(url: &str) -> Options {
    let timings = Timings {
        connect: Duration::from_secs(2),
        statement: Duration::from_secs(5),
        open: Duration::from_secs(10),
        watch: Duration::from_millis(50),
    };
    Options { timings, ..Options::new(url) }
}

async fn ready(url: &str) -> PostgresSql {
    let sql = support::open(quick(url)).await;
    migrate(&sql, schema::MIGRATIONS, 0).await.unwrap();
    sql
}

async fn until(sql: &PostgresSql, wanted: fn(&Status) -> bool) {
    let began = Instant::now();
    while !wanted(&sql.status()) {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", sql.status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Wherever a connection is cut, a commit that is retried happens exactly once, and what was acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_connection_is_cut_happens_once() {
    let Some(options) = support::options() else { return };
    let proxy = Cutting::in_front_of(&options.url);
    let sql = ready(&proxy.url()).await;
    let (mut cut, mut replayed) = (0, 0);
    for round in 0..200u32 {
        proxy.cut_after(round * 3 % 251);
        let outcome = commit_once(&sql, put(&format!("s{round}")), Duration::from_secs(20)).await;
        match outcome {
            Ok(committed) => replayed += i64::from(committed.replayed),
            // The monitor saw the cut before the commit began.
            Err(CommitError::Unavailable(_)) => {
                until(&sql, |status| *status == Status::Writable).await;
                commit_once(&sql, put(&format!("s{round}")), Duration::from_secs(20)).await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        cut += i64::from(!proxy.is_whole());
        until(&sql, |status| *status == Status::Writable).await;
        assert_eq!(count(&sql, Freshness::Latest).await.unwrap_or(i64::from(round) + 1), i64::from(round) + 1);
    }
    assert!(cut > 100, "only {cut} connections were cut");
    assert!(replayed > 0, "no COMMIT was cut off from its answer");
}

/// The server dies and comes back; nothing acknowledged is lost and nobody has to do anything here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_is_used_again_when_it_is_back() {
    let Some(mut server) = Postgres::start(true) else { return };
    let sql = Arc::new(ready(&server.database().url).await);
    let mut acknowledged = 0;
    for round in 0..3 {
        let (stop, mut over) = tokio::sync::oneshot::channel::<()>();
        let writer = tokio::spawn({
            let sql = sql.clone();
            async move {
                let mut done = 0;
                while over.try_recv().is_err() {
                    match sql.commit(put(&format!("{round}-{done}"))).await {
                        Ok(_) => done += 1,
                        Err(CommitError::Unavailable(_) | CommitError::Unknown(_)) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                done
            }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.kill9();
        let _ = stop.send(());
        acknowledged += writer.await.unwrap();
        until(&sql, |status| matches!(status, Status::Down(_))).await;
        let refused = sql.commit(put("refused")).await;
        assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
        assert!(matches!(count(&*sql, Freshness::Local).await, Err(QueryError::Unavailable(_))));
        server.serve();
        until(&sql, |status| *status == Status::Writable).await;
        sql.commit(put(&format!("again {round}"))).await.unwrap();
        acknowledged += 1;
        let there = count(&*sql, Freshness::Latest).await.unwrap();
        assert!(there >= acknowledged && there <= acknowledged + round + 1, "{there} of {acknowledged}");
        acknowledged = there;
    }
}

/// While there is only a standby: what is local is answered, what must be newest and what writes is not. A start works
/// too. Once it is the primary everything works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_answers_what_is_local_and_nothing_else() {
    let Some(mut primary) = Postgres::start(false) else { return };
    let standby = primary.standby();
    let name = primary.database().name().to_owned();
    let url = format!("postgres://postgres@{},{}/{name}", primary.address(), standby.address());
    let sql = ready(&url).await;
    sql.commit(put("one")).await.unwrap();
    let stands_by = Options { standbys: vec![standby.address()], ..quick(&url) };
    let beside = PostgresSql::open(stands_by).await.unwrap();
    let began = Instant::now();
    while count(&beside, Freshness::Local).await.unwrap() < 1 {
        assert!(began.elapsed() < Duration::from_secs(60), "the standby does not follow");
    }
    // Behind and asked for the newest: the standby must not answer.
    standby.sql("postgres", "SELECT pg_wal_replay_pause()");
    while standby.sql("postgres", "SELECT pg_get_wal_replay_pause_state()").trim() != "paused" {
        assert!(began.elapsed() < Duration::from_secs(60), "the standby does not pause");
    }
    for n in 0..20 {
        beside.commit(put(&format!("paused {n}"))).await.unwrap();
        assert_eq!(count(&beside, Freshness::Latest).await.unwrap(), 2 + n);
        assert_eq!(count(&beside, Freshness::Local).await.unwrap(), 1, "not from the standby");
    }
    standby.sql("postgres", "SELECT pg_wal_replay_resume()");
    while count(&beside, Freshness::Local).await.unwrap() < 21 {
        assert!(began.elapsed() < Duration::from_secs(60), "the standby does not follow");
    }

    primary.stop();
    until(&sql, |status| matches!(status, Status::ReadOnly(_))).await;
    until(&beside, |status| matches!(status, Status::ReadOnly(_))).await;
    let started = PostgresSql::open(quick(&url)).await.unwrap();
    for sql in [&sql, &beside, &started] {
        migrate(sql, schema::MIGRATIONS, 0).await.unwrap();
        assert_eq!(count(sql, Freshness::Local).await.unwrap(), 21);
        assert!(matches!(count(sql, Freshness::Latest).await, Err(QueryError::Unavailable(_))));
        assert!(matches!(sql.commit(put("two")).await, Err(CommitError::Unavailable(_))));
        assert!(matches!(sql.status(), Status::ReadOnly(why) if why.contains(&standby.address())));
    }

    standby.promote();
    for (n, sql) in [&sql, &beside, &started].into_iter().enumerate() {
        until(sql, |status| *status == Status::Writable).await;
        sql.commit(put(&format!("after {n}"))).await.unwrap();
        assert_eq!(count(sql, Freshness::Latest).await.unwrap(), 22 + n as i64);
    }
}

/// A host that accepts connections and says nothing costs its time limit and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_host_is_passed_over() {
    let Some(options) = support::options() else { return };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (user, rest) = options.url.split_once('@').unwrap();
    let url = format!("{user}@{},{rest}", silent.local_addr().unwrap());
    let mut options = quick(&url);
    options.timings.connect = Duration::from_millis(300);
    let began = Instant::now();
    let sql = PostgresSql::open(options).await.unwrap();
    migrate(&sql, schema::MIGRATIONS, 0).await.unwrap();
    sql.commit(put("one")).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

/// More than the queue takes is refused at once, and not kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses() {
    let Some(options) = support::options() else { return };
    let options = Options { pool_size: 1, queue_limit: 1, ..quick(&options.url) };
    let (other, connection) = tokio_postgres::connect(&options.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = support::open(options).await;
    migrate(&sql, schema::MIGRATIONS, 0).await.unwrap();
    other.batch_execute("BEGIN; LOCK TABLE setting").await.unwrap();
    // Each takes its place when it is first polled.
    let (mut first, mut second) = (Box::pin(sql.commit(put("a"))), Box::pin(sql.commit(put("b"))));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    let refused = sql.commit(put("c")).await;
    assert!(matches!(&refused, Err(CommitError::Unavailable(why)) if why.contains("2 others")), "{refused:?}");
    assert!(matches!(count(&sql, Freshness::Latest).await, Err(QueryError::Unavailable(_))));
    other.batch_execute("COMMIT").await.unwrap();
    let (first, second) = futures::join!(first, second);
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    sql.commit(put("d")).await.unwrap();
}

/// A commit that is given up leaves neither an open transaction nor a connection that answers for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_given_up_leaves_no_transaction() {
    for statement_cache in [true, false] {
        let Some(options) = support::options() else { return };
        let options = Options { pool_size: 1, statement_cache, ..quick(&options.url) };
        let (other, connection) = tokio_postgres::connect(&options.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let sql = Arc::new(support::open(options).await);
        migrate(&*sql, schema::MIGRATIONS, 0).await.unwrap();
        for round in 0..5 {
            other.batch_execute("BEGIN; LOCK TABLE setting").await.unwrap();
            let given_up = tokio::time::timeout(Duration::from_millis(100), sql.commit(put(&format!("{round}")))).await;
            assert!(given_up.is_err(), "{given_up:?}");
            other.batch_execute("COMMIT").await.unwrap();
            assert_eq!(sql.commit(put(&format!("next {round}"))).await.unwrap(), Committed { replayed: false });
            let open =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
            let open: i64 = other.query_one(open, &[]).await.unwrap().get(0);
            assert_eq!(open, 0, "transactions left open");
        }
        assert!(count(&*sql, Freshness::Latest).await.unwrap() >= 5);
    }
}

/// Nor does one that is given up between its BEGIN and the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_given_up_after_its_begin_leaves_no_transaction() {
    let Some(options) = support::options() else { return };
    let (other, connection) = tokio_postgres::connect(&options.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let proxy = Late::in_front_of(&options.url, Duration::from_millis(300));
    let sql = support::open(Options { statement_cache: false, ..quick(&proxy.url()) }).await;
    migrate(&sql, schema::MIGRATIONS, 0).await.unwrap();
    sql.commit(put("one")).await.unwrap();
    // BEGIN is there by then, and its answer is not here.
    let given_up = tokio::time::timeout(Duration::from_millis(150), sql.commit(put("two"))).await;
    assert!(given_up.is_err(), "{given_up:?}");
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
    let began = Instant::now();
    while other.query_one(open, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(began.elapsed() < Duration::from_secs(4), "a transaction is left open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(sql.commit(put("two")).await.unwrap(), Committed { replayed: false });
}

/// Ten instances that start at the same moment on an empty database all start, and make everything once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_that_start_at_once_make_the_tables_once() {
    let Some(options) = support::options() else { return };
    let starts = (0..10).map(|_| {
        let options = options.clone();
        tokio::spawn(async move {
            let sql = support::open(options).await;
            migrate(&sql, schema::MIGRATIONS, 0).await.unwrap();
            sql
        })
    });
    let mut started = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        started.push(start.await.unwrap());
    }
    let versions = Statement::new("SELECT count(*) FROM schema_version", vec![]);
    let rows = started[0].query(Freshness::Latest, versions).await.unwrap();
    assert_eq!(rows[0].integer(0).unwrap(), schema::MIGRATIONS.len() as i64);
}

/// What is acknowledged is on disk, whatever the database says by default; and no time limit cuts a COMMIT short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_says_otherwise_is_overruled() {
    let Some(options) = support::options() else { return };
    let (other, connection) = tokio_postgres::connect(&options.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let name = options.url.rsplit('/').next().unwrap();
    for setting in
        ["synchronous_commit = off", "statement_timeout = '7s'", "default_transaction_isolation = 'serializable'"]
    {
        other.batch_execute(&format!("ALTER DATABASE {name} SET {setting}")).await.unwrap();
    }
    let sql = support::open(options).await;
    let shown = "SELECT current_setting('synchronous_commit'), current_setting('statement_timeout'), \
        current_setting('default_transaction_read_only')";
    let rows = sql.query(Freshness::Latest, Statement::new(shown, vec![])).await.unwrap();
    let shown: Vec<_> = (0..3).map(|column| rows[0].text(column).unwrap().to_owned()).collect();
    assert_eq!(shown, ["on", "0", "on"]);
}

/// What is wrong is told with the way out, and nobody waits for a server that has already refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_open_says_why() {
    let Some(options) = support::options() else { return };
    let began = Instant::now();
    let nowhere = format!("{}_not", options.url);
    let error = PostgresSql::open(quick(&nowhere)).await.unwrap_err();
    assert!(matches!(&error, OpenError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));

    let missing = Options { password_file: Some("/nowhere/password".into()), ..quick(&options.url) };
    let error = PostgresSql::open(missing).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/password"), "{error}");

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut away = quick(&format!("postgres://postgres@{free}/db"));
    away.timings.open = Duration::from_secs(1);
    let error = PostgresSql::open(away).await.unwrap_err();
    assert!(
        matches!(&error, OpenError::Unreachable { .. }) && error.to_string().contains(&free.to_string()),
        "{error}"
    );
}

/// Whatever goes wrong, the error says that it is PostgreSQL, at which address, and what is the matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_is_named() {
    let Some(options) = support::options() else { return };
    let (base, rest) = options.url.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let link = Link::to(server.parse().unwrap(), Speaks::Postgres, Seed(1));
    let url = format!("{base}@{}/{name}", link.address());
    // What the monitor sees is told in words of its own.
    let second = Duration::from_secs(1);
    let timings = Timings { watch: Duration::from_secs(3_600), statement: second, ..quick(&url).timings };
    for (trouble, causes) in [
        (Trouble::Stall, ["in time", "within", "in use"]),
        (Trouble::Refuse, ["closed", "refused", "reset"]),
        (
            Trouble::Answer { status: 0, code: "28P01", message: "the password has expired" },
            ["expired", "closed", "reset"],
        ),
    ] {
        let sql = support::open(Options { timings: timings.clone(), ..Options::new(&url) }).await;
        migrate(&sql, schema::MIGRATIONS, 0).await.unwrap();
        link.set(trouble);
        let question = count(&sql, Freshness::Latest).await.unwrap_err().to_string();
        let commit = sql.commit(put("refused")).await.unwrap_err().to_string();
        for told in [question, commit] {
            assert!(told.contains("PostgreSQL") && told.contains(&link.address().to_string()), "{trouble:?}: {told}");
            assert!(causes.iter().any(|cause| told.contains(cause)), "{trouble:?}: {told}");
        }
        link.set(Trouble::None);
    }
}
