#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn refused(text: &str) -> String {
    match sort(Err(Error::Transaction(text.to_owned().into()))) {
        Outcome::Committed(committed) => format!("committed, replayed {}", committed.replayed),
        Outcome::Refused(CommitError::Conflict(_)) => "conflict".to_owned(),
        Outcome::Refused(CommitError::Failed(_)) => "failed".to_owned(),
        Outcome::Refused(other) => format!("{other:?}"),
        Outcome::Diverged(_) => "diverged".to_owned(),
        Outcome::Silent(_) => "silent".to_owned(),
    }
}

#[test]
fn constraints_are_conflicts() {
    let check = r#"Connect: Error code 275: A CHECK constraint failed Some("CHECK constraint failed: ok = 1")"#;
    let key = r#"Connect: Error code 787: A foreign key constraint failed Some("FOREIGN KEY constraint failed")"#;
    assert_eq!(refused(check), "conflict");
    assert_eq!(refused(key), "conflict");
    assert_eq!(refused("FOREIGN KEY constraint failed"), "conflict");
}

#[test]
fn a_known_operation_is_a_replay() {
    let taken = r#"Connect: Error code 1555: A PRIMARY KEY failed Some("UNIQUE constraint failed: operation.id")"#;
    assert_eq!(refused(taken), "committed, replayed true");
    let other = r#"Connect: Error code 1555: A PRIMARY KEY failed Some("UNIQUE constraint failed: tag.id")"#;
    assert_eq!(refused(other), "conflict");
}

#[test]
fn faults_of_a_statement_are_faults() {
    assert_eq!(refused(r#"Sqlite: Error code 1: SQL logic error Some("integer overflow")"#), "failed");
    assert_eq!(refused(r#"Sqlite: Error code 20: Data type mismatch Some("datatype mismatch")"#), "failed");
    let prepare = "Preparing cached query SELECT: SqlInputError { error: Error { code: Unknown, extended_code: 1 } }";
    let outcome = sort(Err(Error::PrepareStatement(prepare.into())));
    assert!(matches!(outcome, Outcome::Refused(CommitError::Failed(_))), "{outcome:?}");
}

#[test]
fn what_this_machine_could_not_do_is_unknown() {
    assert_eq!(refused(r#"Sqlite: Error code 13: database full Some("database or disk is full")"#), "diverged");
    assert_eq!(refused(r#"Sqlite: Error code 266: I/O error Some("disk I/O error")"#), "diverged");
    assert_eq!(refused("database or disk is full"), "diverged");
    assert_eq!(refused("something new"), "diverged");
    let prepare = "Preparing cached query SELECT: SqliteFailure(Error { code: SystemIoFailure, extended_code: 266 })";
    assert!(matches!(sort(Err(Error::PrepareStatement(prepare.into()))), Outcome::Diverged(_)));
}

#[test]
fn a_lost_answer_is_unknown() {
    let outcome = sort(Err(Error::Timeout("local client write timed out".to_owned())));
    assert!(matches!(outcome, Outcome::Silent(_)), "{outcome:?}");
    for error in [
        Error::Connect("request timed out".to_owned()),
        Error::Channel("closed".to_owned()),
        Error::Error("response channel closed".into()),
    ] {
        let outcome = sort(Err(error));
        assert!(matches!(outcome, Outcome::Refused(CommitError::Unknown(_))), "{outcome:?}");
    }
    let outcome = sort(Err(Error::LeaderChange("election".into())));
    assert!(matches!(outcome, Outcome::Refused(CommitError::Unavailable(_))), "{outcome:?}");
}
