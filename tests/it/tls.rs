//! TLS to the broker: trusted through a file of authorities, and refused by name where it is not.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testbed::{Port, Postgres, PostgresOptions, RabbitMq, RabbitMqOptions};

use crate::support::{Bed, Scene, event};

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_trusted_through_its_authority_and_no_other() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let write = |name: &str, text: &str| -> Result<String> {
        let path = directory.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let authority = || -> Result<CertifiedIssuer<'static, KeyPair>> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
    };
    let (trusted, other) = (authority()?, authority()?);
    let server_key = KeyPair::generate()?;
    let server =
        CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&server_key, &trusted)?;

    let port = Port::free()?;
    let options = RabbitMqOptions::default()
        .conf(format!("listeners.ssl.1 = 127.0.0.1:{}", port.number()))
        .conf(format!("ssl_options.cacertfile = {}", write("ca.pem", &trusted.pem())?))
        .conf(format!("ssl_options.certfile = {}", write("server.pem", &server.pem())?))
        .conf(format!(
            "ssl_options.keyfile = {}",
            write("server.key", &server_key.serialize_pem())?
        ));
    let (rabbitmq, postgres) =
        tokio::try_join!(RabbitMq::start(options), Postgres::start(PostgresOptions::default()))?;
    let bed = Bed { rabbitmq, postgres };
    let url = format!("amqps://guest:guest@localhost:{}/", port.number());

    let scene = Scene::set(&bed).await?;
    let plain_url = bed.rabbitmq.amqp_url();
    let secured = scene
        .through(Some(url.clone()), None)
        .with("rabbitmq.tls_ca_file", directory.path().join("ca.pem").display().to_string());
    let daemon = secured.daemon().await?;
    let publishing = secured.through(Some(plain_url), None);
    let messages = [event(1), event(2)];
    publishing.publish(&messages).await?;
    publishing.stored_exactly(&messages).await?;
    // The connection that listens for alarms is none of the client's.
    bed.rabbitmq.ctl(&["set_vm_memory_high_watermark", "0.0000001"]).await?;
    daemon.says("an alarm of the broker holds up publishers", 1).await?;
    bed.rabbitmq.ctl(&["set_vm_memory_high_watermark", "0.4"]).await?;
    daemon.says("the broker's alarm is over", 1).await?;
    daemon.stops_cleanly().await?;

    let other = write("other.pem", &other.pem())?;
    let distrusting =
        Scene::set(&bed).await?.through(Some(url), None).with("rabbitmq.tls_ca_file", other);
    let daemon = distrusting.starts()?;
    daemon.says("do not agree on TLS", 1).await?;
    daemon.says("invalid peer certificate", 1).await?;
    daemon.stops_cleanly().await
}
