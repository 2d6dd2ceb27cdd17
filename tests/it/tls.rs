//! TLS to the broker: trusted through a file of authorities, known by a certificate, and refused by name where it is not.

use std::path::Path;

use anyhow::Result;
use bloodbank_audit::{http::ask, measures::CERTIFICATE};
use testbed::{Port, Postgres, PostgresOptions, RabbitMq, RabbitMqOptions};

use crate::support::{
    Bed, Daemon, Scene,
    authority::{Authority, EXPIRED, Issued, VALID},
    event, is_told,
};

/// What `check` calls this side.
const AREA: &str = "rabbitmq";

/// A broker that speaks TLS on that port, by a certificate that can be replaced.
struct Secured {
    bed: Bed,
    port: Port,
    authority: Authority,
}

impl Secured {
    async fn start(directory: &Path, more: &[&str]) -> Result<Secured> {
        let authority = Authority::new(directory, "house")?;
        let Issued { certificate, key } =
            authority.issues("server", "broker", &["localhost", "bus.example.org"], VALID)?;
        let port = Port::free()?;
        let mut options = RabbitMqOptions::default()
            .plugin("rabbitmq_auth_mechanism_ssl")
            .conf(format!("listeners.ssl.1 = 127.0.0.1:{}", port.number()))
            .conf(format!("ssl_options.cacertfile = {}", authority.file.display()))
            .conf(format!("ssl_options.certfile = {}", certificate.display()))
            .conf(format!("ssl_options.keyfile = {}", key.display()));
        for line in more {
            options = options.conf(*line);
        }
        let (rabbitmq, postgres) = tokio::try_join!(
            RabbitMq::start(options),
            Postgres::start(PostgresOptions::default())
        )?;
        Ok(Secured { bed: Bed { rabbitmq, postgres }, port, authority })
    }

    /// A scene whose daemon comes by TLS and trusts that authority.
    async fn scene(&self, host: &str, credentials: &str, trusted: &Authority) -> Result<Scene> {
        let url = format!("amqps://{credentials}{host}:{}/", self.port.number());
        let scene = Scene::set(&self.bed).await?.through(Some(url), None);
        Ok(scene.with("rabbitmq.tls_ca_file", trusted.file.display().to_string()))
    }

    /// Lets the daemon record something that is published by the plain port.
    async fn records(&self, scene: &Scene, daemon: &Daemon) -> Result<()> {
        daemon.consumes(1).await?;
        let publishing = scene.clone().through(Some(self.bed.rabbitmq.amqp_url()), None);
        let messages = [event(1), event(2)];
        publishing.publish(&messages).await?;
        publishing.stored_exactly(&messages).await
    }
}

fn known_by(scene: &Scene, Issued { certificate, key }: &Issued) -> Scene {
    let scene = scene.clone().with("rabbitmq.tls_client_cert", certificate.display().to_string());
    scene.with("rabbitmq.tls_client_key", key.display().to_string())
}

/// Has the broker raise an alarm and end it.
async fn hears_of_an_alarm(daemon: &Daemon, rabbitmq: &RabbitMq) -> Result<()> {
    rabbitmq.ctl(&["set_vm_memory_high_watermark", "0.0000001"]).await?;
    daemon.says("an alarm of the broker holds up publishers", 1).await?;
    rabbitmq.ctl(&["set_vm_memory_high_watermark", "0.4"]).await?;
    daemon.says("the broker's alarm is over", 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_trusted_by_authority_name_and_date_and_told_what_is_wrong_else() -> Result<()>
{
    let directory = tempfile::tempdir()?;
    let secured = Secured::start(directory.path(), &[]).await?;
    let (rabbitmq, house) = (&secured.bed.rabbitmq, &secured.authority);

    let scene = secured.scene("localhost", "guest:guest@", house).await?;
    let daemon = scene.daemon().await?;
    secured.records(&scene, &daemon).await?;
    // The connection that listens for alarms is none of the client's.
    hears_of_an_alarm(&daemon, rabbitmq).await?;
    daemon.stops_cleanly().await?;

    let other = Authority::new(directory.path(), "stranger")?;
    let scene = secured.scene("localhost", "guest:guest@", &other).await?;
    let words = ["is not trusted", "CN=house", "set rabbitmq.tls_ca_file"];
    is_told(AREA, &scene, &words).await?.stops_cleanly().await?;

    let scene = secured.scene("127.0.0.1", "guest:guest@", house).await?;
    let words = ["not for the name 127.0.0.1", "it is for localhost, bus.example.org"];
    is_told(AREA, &scene, &words).await?.stops_cleanly().await?;
    let named = scene.with("rabbitmq.tls_server_name", "bus.example.org");
    let daemon = named.starts()?;
    secured.records(&named, &daemon).await?;
    daemon.stops_cleanly().await?;

    house.issues("server", "broker", &["localhost"], EXPIRED)?;
    rabbitmq.ctl(&["eval", "ssl:clear_pem_cache()."]).await?;
    let scene = secured.scene("localhost", "guest:guest@", house).await?;
    let daemon = is_told(AREA, &scene, &["the broker's certificate has expired on 20"]).await?;
    // It is renewed, and nobody need touch the daemon.
    house.issues("server", "broker", &["localhost"], VALID)?;
    rabbitmq.ctl(&["eval", "ssl:clear_pem_cache()."]).await?;
    secured.records(&scene, &daemon).await?;
    daemon.stops_cleanly().await?;

    house.issues("server", "broker", &["localhost"], (5, 50))?;
    rabbitmq.ctl(&["eval", "ssl:clear_pem_cache()."]).await?;
    is_told(AREA, &scene, &["is not valid yet, but from 20", "the clock of this machine"])
        .await?
        .stops_cleanly()
        .await?;

    let url = format!("amqps://guest:guest@localhost:{}/", rabbitmq.port());
    let scene = scene.through(Some(url), None);
    is_told(AREA, &scene, &["speaks no TLS"]).await?.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_demands_a_certificate_gets_one_or_says_what_is_wrong() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let secured = Secured::start(
        directory.path(),
        &[
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = true",
            "ssl_cert_login_from = common_name",
            "auth_mechanisms.1 = PLAIN",
            "auth_mechanisms.2 = AMQPLAIN",
            "auth_mechanisms.3 = EXTERNAL",
        ],
    )
    .await?;
    let (rabbitmq, house) = (&secured.bed.rabbitmq, &secured.authority);
    let ours = house.issues("client", "audit", &[], VALID)?;

    let scene = secured.scene("localhost", "guest:guest@", house).await?;
    let words = ["demands a client certificate", "set rabbitmq.tls_client_cert and"];
    is_told(AREA, &scene, &words).await?.stops_cleanly().await?;
    let daemon = known_by(&scene, &ours).with("http.listen", "127.0.0.1:0").starts()?;
    secured.records(&scene, &daemon).await?;
    let (_, measured) = ask(daemon.serves_at().await?, "/metrics").await?;
    for role in ["broker", "broker_client"] {
        let name = format!("{CERTIFICATE}{{role=\"{role}\"}} ");
        let value = measured.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok());
        let value = value.unwrap_or_else(|| panic!("{name} is not in {measured}"));
        let left = value - time::OffsetDateTime::now_utc().unix_timestamp() as f64;
        assert!((364.0..=365.0).contains(&(left / 86_400.0)), "{role}: {left}");
    }
    // What is not there any more is not told any more.
    let certificate = std::fs::read(&ours.certificate)?;
    std::fs::remove_file(&ours.certificate)?;
    testbed::eventually("the file's gauge is gone", crate::support::PATIENCE, async || {
        let (_, measured) = ask(daemon.serves_at().await?, "/metrics").await?;
        let told = |role: &str| measured.contains(&format!("{CERTIFICATE}{{role=\"{role}\"}} "));
        anyhow::ensure!(told("broker") && !told("broker_client"), "{measured}");
        Ok(())
    })
    .await?;
    std::fs::write(&ours.certificate, certificate)?;
    daemon.stops_cleanly().await?;

    let other = Authority::new(directory.path(), "stranger")?;
    let foreign = other.issues("foreign", "audit", &[], VALID)?;
    // A reset may overtake the broker's alert, which says why; the next attempt is told.
    let words = ["does not accept this side's certificate", "CN=stranger"];
    let daemon = is_told(AREA, &known_by(&scene, &foreign), &words).await?;
    daemon.says("does not trust that authority", 1).await?;
    daemon.stops_cleanly().await?;
    let old = house.issues("old", "audit", &[], EXPIRED)?;
    let words = ["does not accept this side's certificate", "CN=audit", "has expired"];
    is_told(AREA, &known_by(&scene, &old), &words).await?.stops_cleanly().await?;

    // No user name, no password: the certificate is both.
    let scene = secured.scene("localhost", "", house).await?.with("rabbitmq.auth", "external");
    let scene = known_by(&scene, &ours);
    let daemon = scene.starts()?;
    daemon.says("names none of its users", 1).await?;
    rabbitmq.ctl(&["add_user", "audit", "not-used"]).await?;
    rabbitmq.ctl(&["set_permissions", "audit", ".*", ".*", ".*"]).await?;
    secured.records(&scene, &daemon).await?;
    // So do the connections that are none of the client's.
    hears_of_an_alarm(&daemon, rabbitmq).await?;
    daemon.stops_cleanly().await?;
    let answer = scene.asks(&["check"])?;
    let said = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(said.contains("by the client certificate"), "{said}");

    // A key that is of another certificate is found before anything is tried.
    let locked = ours.with_locked_key()?;
    let mixed = Issued { certificate: ours.certificate, key: old.key };
    for (identity, word) in [(mixed, "it is no key of the certificate"), (locked, "passphrase")] {
        let daemon = known_by(&scene, &identity).starts()?;
        daemon.says("rabbitmq.tls_client_key", 1).await?;
        assert_eq!((daemon.ends().await?, daemon.said(word)), (78, 1), "{:#?}", daemon.log());
    }
    Ok(())
}
