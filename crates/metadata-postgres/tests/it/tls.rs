//! `sslmode=verify-full`: who answers has to be who it should be.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use roadstead_metadata::{Freshness, Sql, Statement};
use roadstead_metadata_postgres::{OpenError, Options, PostgresSql};
use roadstead_testkit::servers::Postgres;
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

#[tokio::test(flavor = "multi_thread")]
async fn only_the_server_that_the_certificate_is_for_is_trusted() {
    let Some(server) = Postgres::start(false) else { return };
    let (ours, anothers) = (authority("ours"), authority("another's"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &ours).unwrap();
    server.offer_tls(&certificate.pem(), &key.serialize_pem());
    let database = server.database();
    let port = server.address().rsplit(':').next().unwrap().to_owned();
    let open = async |host: &str, roots: &NamedTempFile| {
        let trust = format!("sslmode=verify-full&sslrootcert={}", roots.path().display());
        let url = format!("postgres://postgres@{host}:{port}/{}?{trust}", database.name());
        PostgresSql::open(Options::new(url)).await
    };
    let sql = open("localhost", &file(&ours)).await.unwrap();
    let asked = "SELECT count(*) FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()";
    let rows = sql.query(Freshness::Latest, Statement::new(asked, vec![])).await.unwrap();
    assert_eq!(rows[0].integer(0).unwrap(), 1, "it is encrypted");

    for (host, roots, words) in
        [("localhost", file(&anothers), "UnknownIssuer"), ("127.0.0.1", file(&ours), "127.0.0.1")]
    {
        let error = open(host, &roots).await.expect_err("another one's certificate");
        assert!(matches!(error, OpenError::Untrusted { .. }), "{error}");
        let told = error.to_string();
        assert!(told.contains(&format!("{host}:{port}")) && told.contains("certificate"), "{told}");
        assert!(told.contains(words) && told.contains("sslrootcert"), "{told}");
    }
}
