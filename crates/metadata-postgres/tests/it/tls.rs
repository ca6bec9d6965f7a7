//! `sslmode=verify-full`: who answers has to be who it should be.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use roadstead_metadata::{Freshness, Sql, Statement};
use roadstead_metadata_postgres::{OpenError, Options, PostgresSql};
use roadstead_testkit::servers::{Database, Postgres};
use tempfile::NamedTempFile;

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn file(authority: &CertifiedIssuer<'_, KeyPair>) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(&file, authority.pem()).unwrap();
    file
}

/// A server whose certificate is for `name`, or else for its own address; and a database in it.
fn serving(name: Option<&str>, authority: &CertifiedIssuer<'_, KeyPair>) -> Option<(Postgres, Database)> {
    let server = Postgres::start(false)?;
    let address = server.address();
    let name = name.unwrap_or_else(|| address.split(':').next().unwrap());
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    server.offer_tls(&certificate.pem(), &key.serialize_pem());
    let database = server.database();
    Some((server, database))
}

async fn open(database: &Database, roots: &NamedTempFile) -> Result<PostgresSql, OpenError> {
    let trust = format!("sslmode=verify-full&sslrootcert={}", roots.path().display());
    PostgresSql::open(Options::new(format!("{}?{trust}", database.url))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_server_that_the_certificate_is_for_is_trusted() {
    let (ours, anothers) = (authority("ours"), authority("another's"));
    let Some((_right, right)) = serving(None, &ours) else { return };
    let Some((_wrong, wrong)) = serving(Some("localhost"), &ours) else { return };
    let sql = open(&right, &file(&ours)).await.unwrap();
    let asked = "SELECT count(*) FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()";
    let rows = sql.query(Freshness::Latest, Statement::new(asked, vec![])).await.unwrap();
    assert_eq!(rows[0].integer(0).unwrap(), 1, "it is encrypted");

    let host = wrong.address().split(':').next().unwrap();
    for (database, roots, words) in [(&right, file(&anothers), "UnknownIssuer"), (&wrong, file(&ours), host)] {
        let error = open(database, &roots).await.expect_err("another one's certificate");
        assert!(matches!(error, OpenError::Untrusted { .. }), "{error}");
        let told = error.to_string();
        assert!(told.contains(database.address()) && told.contains("certificate"), "{told}");
        assert!(told.contains(words) && told.contains("sslrootcert"), "{told}");
    }
}
