//! Broken on the way to the servers: names, ports, TLS, plain text; and a broker that holds up publishers.

use anyhow::Result;
use testbed::{Port, RabbitMq, RabbitMqOptions};

use super::Checked;
use crate::support::{
    Bed, Scene,
    authority::{Authority, Issued, VALID},
};

#[tokio::test(flavor = "multi_thread")]
async fn names_ports_and_plain_text_are_named_on_both_sides() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::set(bed).await?;
    let at = |host: &str| {
        let amqp = format!("amqp://guest:guest@{host}/");
        scene.clone().through(Some(amqp), Some(format!("postgres://audit@{host}/audit")))
    };
    let checked = Checked::of(&at("nowhere.invalid"))?;
    for (area, key) in [("rabbitmq", "rabbitmq.url"), ("postgresql", "postgres.url")] {
        checked.finds(
            (area, "dns"),
            "fault",
            "nowhere.invalid is unknown",
            "getent ahosts nowhere.invalid",
        );
        checked.finds((area, "dns"), "fault", "unknown", key);
        assert_eq!(checked.all(area, "tcp")[0]["verdict"], "skipped");
    }
    let port = Port::free()?;
    let checked = Checked::of(&at(&format!("127.0.0.1:{}", port.number())))?;
    for area in ["rabbitmq", "postgresql"] {
        checked.finds((area, "tcp"), "fault", "refused", &format!("sport = :{}", port.number()));
    }
    // An address of no network, and little patience.
    let far = at("192.0.2.1").with("rabbitmq.connect_timeout", "300ms");
    let far = far.with("postgres.connect_timeout", "300ms");
    let checked = Checked::of(&far)?;
    checked.finds(("rabbitmq", "encryption"), "warning", "plain text", "amqps://");
    checked.finds(("postgresql", "encryption"), "warning", "192.0.2.1", "sslmode=verify-full");
    let daemon = far.starts()?;
    daemon.says("password and events go to 192.0.2.1 as plain text", 1).await?;
    daemon.says("between here and 192.0.2.1 can pose as the server", 1).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_and_an_alarm_are_named() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (trusted, other) =
        (Authority::new(directory.path(), "ca")?, Authority::new(directory.path(), "other")?);
    let Issued { certificate, key } = trusted.issues("server", "server", &["localhost"], VALID)?;
    let [ca, other] = [&trusted, &other].map(|one| one.file.display().to_string());
    let port = Port::free()?;
    let options = RabbitMqOptions::default()
        .conf(format!("listeners.ssl.1 = 127.0.0.1:{}", port.number()))
        .conf(format!("ssl_options.cacertfile = {ca}"))
        .conf(format!("ssl_options.certfile = {}", certificate.display()))
        .conf(format!("ssl_options.keyfile = {}", key.display()));
    let rabbitmq = RabbitMq::start(options).await?;
    let scene = Scene::between(&rabbitmq, &Bed::shared().await?.postgres).await?;
    let at = |scheme: &str, host: &str, port: u16, ca: &str| {
        let url = format!("{scheme}://guest:guest@{host}:{port}/");
        scene.clone().through(Some(url), None).with("rabbitmq.tls_ca_file", ca)
    };
    let tls = ("rabbitmq", "tls");
    let secured = port.number();
    let checked = Checked::of(&at("amqps", "localhost", secured, &ca))?;
    checked.is_well("rabbitmq", "tls");
    checked.is_well("rabbitmq", "certificate");
    let client = format!("openssl s_client -connect localhost:{secured}");
    Checked::of(&at("amqps", "localhost", secured, &other))?.finds(
        tls,
        "fault",
        "signed by the authority 'CN=ca', which is none of those trusted here",
        &client,
    );
    // The certificate is of another name.
    Checked::of(&at("amqps", "127.0.0.1", secured, &ca))?.finds(
        tls,
        "fault",
        "it is for localhost",
        "openssl",
    );
    let missing = directory.path().join("none.pem").display().to_string();
    Checked::of(&at("amqps", "localhost", secured, &missing))?
        .finds(tls, "fault", "none.pem", "openssl");
    // The two ports taken one for the other.
    Checked::of(&at("amqps", "localhost", rabbitmq.port(), &ca))?
        .finds(tls, "fault", "", "openssl");
    // It is going to end.
    trusted.issues("server", "server", &["localhost"], (-1, 20))?;
    rabbitmq.ctl(&["eval", "ssl:clear_pem_cache()."]).await?;
    let checked = Checked::of(&at("amqps", "localhost", secured, &ca))?;
    let ends = ("rabbitmq", "certificate");
    checked.finds(ends, "warning", "for 19 days more", "ssl:clear_pem_cache");
    let login = ("rabbitmq", "login");
    let listeners = "rabbitmq-diagnostics listeners";
    Checked::of(&at("amqp", "localhost", secured, &ca))?.finds(login, "fault", "", listeners);

    rabbitmq.ctl(&["set_vm_memory_high_watermark", "0.0000001"]).await?;
    testbed::eventually("the alarm is named", crate::support::PATIENCE, async || {
        let checked = Checked::of(&scene).map_err(|error| format!("{error:#}"))?;
        let found = checked.all("rabbitmq", "alarms");
        if found[0]["verdict"] == "fault" {
            let alarms = ("rabbitmq", "alarms");
            checked.finds(alarms, "fault", "low on memory", "rabbitmq-diagnostics alarms");
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await
}
