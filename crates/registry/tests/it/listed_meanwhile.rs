//! A repository that goes while repositories are listed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roadstead_metadata::{Batch, CommitError, Committed, Freshness, QueryError, Rows, Sql, Statement, Status};
use roadstead_registry::identities::{Identities, NewRepository, NewUser};
use roadstead_registry::{Caller, Everyone};
use uuid::Uuid;

use crate::rig::{Rig, name};

/// Metadata that loses a repository after the first answer that has names of repositories.
#[derive(Debug)]
struct Going {
    inner: Arc<dyn Sql>,
    gone: AtomicBool,
}

#[async_trait::async_trait]
impl Sql for Going {
    async fn query_many(&self, fresh: Freshness, asked: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        let names =
            asked.iter().any(|statement| statement.sql.starts_with("SELECT name FROM repository WHERE name >="));
        let answer = self.inner.query_many(fresh, asked).await;
        if names && !self.gone.swap(true, Ordering::SeqCst) {
            let mut batch = Batch::new(Uuid::now_v7(), 5);
            batch.push(Statement::new("DELETE FROM repository WHERE name = 'alice/b'", vec![]));
            self.inner.commit(batch).await.unwrap();
        }
        answer
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.inner.commit(batch).await
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn revision(&self) -> Option<u64> {
        self.inner.revision()
    }
}

/// Who reads pages takes a short one for the last.
#[tokio::test]
async fn a_page_is_not_short_because_a_repository_went() {
    let rig = Rig::new().await;
    let sql = Arc::new(Going { inner: rig.sql.clone(), gone: AtomicBool::new(true) });
    let all = Identities::new(sql.clone(), rig.clock.clone(), Arc::new(Everyone));
    let alice = NewUser { name: "alice", password: None, admin: false };
    all.create_user(&Caller::Operator, &alice).await.unwrap();
    for repository in ["alice/a", "alice/b", "alice/c", "alice/d"] {
        let new = NewRepository { name: name(repository), public: false, immutable_tags: false };
        all.create_repository(&Caller::Operator, new).await.unwrap();
    }
    sql.gone.store(false, Ordering::SeqCst);
    let page = all.repositories(&Caller::Operator, "", 2).await.unwrap();
    assert!(sql.gone.load(Ordering::SeqCst), "nothing went");
    assert_eq!(page.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["alice/a", "alice/c"]);
}
