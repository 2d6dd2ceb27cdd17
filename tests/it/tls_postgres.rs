//! TLS to the database: trusted through a file of authorities, known by a certificate, and refused by name where it is not.

use anyhow::Result;
use testbed::{Postgres, PostgresOptions};

use crate::support::{
    Bed, Scene,
    authority::{Authority, Days, EXPIRED, Issued, VALID},
    event, is_told,
};

/// What `check` calls this side.
const AREA: &str = "postgresql";

/// Over TCP the role `audit` comes by TLS alone, and by a certificate of that name.
const HBA: &str = "hostssl all audit 127.0.0.1/32 trust clientcert=verify-full\n\
                   host all postgres 127.0.0.1/32 trust";

struct Secured {
    postgres: Postgres,
    scene: Scene,
    authority: Authority,
}

impl Secured {
    async fn start(directory: &std::path::Path) -> Result<Secured> {
        let postgres = Postgres::start(PostgresOptions::default().hba(HBA)).await?;
        let scene = Scene::between(&Bed::shared().await?.rabbitmq, &postgres).await?;
        let authority = Authority::new(directory, "house")?;
        let database = &scene.name;
        let sql = format!("create role audit login; alter database {database} owner to audit");
        postgres.sql("postgres", &sql).await?;
        let secured = Secured { postgres, scene, authority };
        secured.shows(&["localhost"], VALID).await?;
        Ok(secured)
    }

    /// Lets the server show a certificate for these names from now on.
    async fn shows(&self, names: &[&str], days: Days) -> Result<()> {
        let Issued { certificate, key } = self.authority.issues("server", "db", names, days)?;
        let mut statements = vec!["alter system set ssl = on".to_owned()];
        for (setting, file) in [
            ("ssl_ca_file", &self.authority.file),
            ("ssl_cert_file", &certificate),
            ("ssl_key_file", &key),
        ] {
            let text = std::fs::read_to_string(file)?;
            let file = self.postgres.private_file(setting, &text)?;
            statements.push(format!("alter system set {setting} = '{}'", file.display()));
        }
        statements.push("select pg_reload_conf()".to_owned());
        for statement in statements {
            self.postgres.sql("postgres", &statement).await?;
        }
        let loaded = "the server has read its certificate";
        testbed::eventually(loaded, crate::support::PATIENCE, async || {
            let subject = self.subject(&certificate).await;
            subject.map_err(|error| format!("{error:#}"))
        })
        .await
    }

    /// Fails while the server shows another certificate than that one.
    async fn subject(&self, certificate: &std::path::Path) -> Result<()> {
        let shown = std::process::Command::new("openssl")
            .args(["s_client", "-starttls", "postgres", "-connect"])
            .arg(format!("127.0.0.1:{}", self.postgres.port()))
            .stdin(std::process::Stdio::null())
            .output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).replace('\n', "");
        let file = std::fs::read_to_string(certificate)?;
        let body: String = file.lines().filter(|line| !line.starts_with("--")).collect();
        anyhow::ensure!(shown.contains(&body), "it shows another one: {shown}");
        Ok(())
    }

    /// A scene whose daemon comes by TLS and trusts that authority.
    fn by_tls(&self, host: &str, trusted: &Authority, own: Option<&Issued>) -> Scene {
        let mut url = format!(
            "postgres://audit@{host}:{}/{}?sslmode=verify-full&sslrootcert={}",
            self.postgres.port(),
            self.scene.name,
            trusted.file.display()
        );
        if let Some(Issued { certificate, key }) = own {
            url += &format!("&sslcert={}&sslkey={}", certificate.display(), key.display());
        }
        self.scene.clone().through(None, Some(url))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_trusted_and_known_to_and_told_what_is_wrong_else() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let secured = Secured::start(directory.path()).await?;
    let house = &secured.authority;
    let ours = house.issues("client", "audit", &[], VALID)?;

    let scene = secured.by_tls("localhost", house, Some(&ours));
    let daemon = scene.daemon().await?;
    let messages = [event(1), event(2)];
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;
    daemon.stops_cleanly().await?;
    let checked = scene.asks(&["check"])?;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("the client certificate is valid until"), "{said}");

    let other = Authority::new(directory.path(), "stranger")?;
    let words =
        ["is not trusted: it is signed by another authority", "set sslrootcert in postgres.url"];
    let distrusting = secured.by_tls("localhost", &other, Some(&ours));
    is_told(AREA, &distrusting, &words).await?.stops_cleanly().await?;

    let words = ["not for the name 127.0.0.1", "it is for localhost;"];
    let by_address = secured.by_tls("127.0.0.1", house, Some(&ours));
    is_told(AREA, &by_address, &words).await?.stops_cleanly().await?;

    // The server asks, and says that it wants one, which only a mended URL helps with.
    let unknown = secured.by_tls("localhost", house, None);
    let words = ["requires a valid client certificate", "set sslcert and sslkey in postgres.url"];
    assert_eq!(is_told(AREA, &unknown, &words).await?.ends().await?, 1);

    let foreign = other.issues("foreign", "audit", &[], VALID)?;
    let words =
        ["does not accept this side's certificate", "CN=stranger", "does not trust that authority"];
    let unaccepted = secured.by_tls("localhost", house, Some(&foreign));
    is_told(AREA, &unaccepted, &words).await?.stops_cleanly().await?;
    let old = house.issues("old", "audit", &[], EXPIRED)?;
    let words = ["does not accept this side's certificate", "CN=audit", "has expired"];
    is_told(AREA, &secured.by_tls("localhost", house, Some(&old)), &words)
        .await?
        .stops_cleanly()
        .await?;

    let missing = Issued { certificate: directory.path().join("none.pem"), ..ours.clone() };
    let words = ["sslcert in postgres.url, /", "none.pem, cannot be read: No such file"];
    let unreadable = secured.by_tls("localhost", house, Some(&missing));
    is_told(AREA, &unreadable, &words).await?.stops_cleanly().await?;
    let locked = secured.by_tls("localhost", house, Some(&ours.with_locked_key()?));
    let words = ["sslkey in postgres.url, /", "it takes a passphrase"];
    is_told(AREA, &locked, &words).await?.stops_cleanly().await?;
    // Somebody is about to replace it.
    let key = std::fs::read(&ours.key)?;
    std::fs::write(&ours.key, "")?;
    let daemon = is_told(AREA, &scene, &["TLS: no keys found", "see sslcert and sslkey"]).await?;
    std::fs::write(&ours.key, key)?;
    daemon.consumes(1).await?;
    daemon.stops_cleanly().await?;

    secured.shows(&["localhost"], EXPIRED).await?;
    let daemon = is_told(AREA, &scene, &["PostgreSQL's certificate has expired on 20"]).await?;
    // It is renewed, and nobody need touch the daemon.
    secured.shows(&["localhost"], VALID).await?;
    daemon.consumes(1).await?;
    let more = [event(3)];
    scene.publish(&more).await?;
    scene.stored(3).await?;
    daemon.stops_cleanly().await
}
