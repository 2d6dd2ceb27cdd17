//! A password is never shown, wherever it was written and however broken the URL is.

use bloodbank_audit::config::redact;

use super::Given;

const PASSWORD: &str = "hunter2";

/// URLs with the password in them, most of them broken in some way.
fn urls() -> Vec<String> {
    let mut urls = Vec::new();
    for scheme in ["amqp", "amqps", "postgres", "postgresql", "http", "amqp+tls", ""] {
        for rest in [
            "u:hunter2@h/db",
            "u:hunter2@h",
            ":hunter2@h/",
            "u:hunter2@",
            "u:hunter2",
            "u:hunter2/x@h/",
            "u:1/hunter2@h/",
            "u:1/hunter2@h/?a=b",
            "u:1?hunter2@h/",
            "u:1?a=hunter2@h/",
            "u:1?hunter2",
            "u:1#hunter2@h/",
            "u:x#hunter2@h/",
            "u:hunter2@h:port/db",
            "u:hunter2@h:99999/db",
            "u:hunter2@[::1/db",
            "u:hunter2@h/a/b",
            "u:hunter2@h/%ff",
            "u:%ffhunter2@h/db",
            "u:p@hunter2@h/db",
            "u:hun\"ter\"hunter2@h/db",
            "u:x hunter2@h/db",
            "u:x\nhunter2@h/db",
            "u:hunter2@h/db?heartbeat=1",
            "u:hunter2@h/db?foo=bar",
            "u:hunter2@h/db?sslmode=hm",
            "h/db?password=hunter2",
            "h/db?sslpassword=hunter2",
            "h/db?password=hunter2&sslmode=hm",
            "u@h/db?password=hunter2#x",
        ] {
            let separator = if scheme.is_empty() { "" } else { "://" };
            urls.push(format!("{scheme}{separator}{rest}"));
        }
    }
    urls
}

#[track_caller]
fn hides(given: &Given, url: &str) {
    let shown = match bloodbank_audit::config::Config::load(&given.flags, &given.environment) {
        Ok(loaded) => format!("{}\n{:?}\n{:#?}", loaded.to_toml(), loaded.config, loaded),
        Err(error) => format!("{error}\n{error:?}"),
    };
    assert!(!shown.contains(PASSWORD), "{url:?} is shown in: {shown}");
}

#[test]
fn the_password_of_a_url_is_never_shown() {
    for url in urls() {
        hides(&Given::nothing().variable("RABBIT_URL", &url), &url);
        hides(&Given::nothing().variable("DATABASE_URL", &url), &url);
        hides(&Given::nothing().flag("--rabbit-url", "rabbitmq.url", &url), &url);
        hides(&Given::nothing().set(&format!("postgres.url={url}")), &url);
        hides(&Given::nothing().set(&format!("rabbitmq.management_url={url}")), &url);
        hides(&Given::nothing().set(&format!("ledger.checkpoint_webhook={url}")), &url);
        let with_key = Given::nothing().set("ledger.key_file=/key");
        hides(&with_key.set(&format!("ledger.checkpoint_webhook={url}")), &url);
        hides(&Given::nothing().set(&format!("postgres.url_file={url}")), &url);
        hides(&Given::nothing().dotenv(format!("RABBIT_URL={url}\n")), &url);
        hides(&Given::nothing().file(format!("[rabbitmq]\nurl = {url:?}\n")), &url);
        // Not even TOML, and the line holds the password.
        hides(&Given::nothing().file(format!("[rabbitmq]\nurl = \"{url}\n")), &url);
        hides(&Given::nothing().file(format!("[rabbitmq]\nurl = {url}\n")), &url);
        hides(&Given::nothing().file(format!("[rabbitmq]\nurl = [{url:?}]\n")), &url);
    }
}

#[test]
fn a_url_in_the_wrong_place_does_not_show_its_password_either() {
    for url in urls().iter().filter(|url| url.contains("://") && url.contains('@')) {
        hides(&Given::nothing().set(&format!("rabbitmq.queue_type={url}")), url);
        hides(&Given::nothing().set(&format!("rabbitmq.heartbeat={url}")), url);
        hides(&Given::nothing().set(&format!("ingest.prefetch={url}")), url);
        hides(&Given::nothing().set(&format!("log.level={url}")), url);
        hides(&Given::nothing().set(&format!("envelope.event_id={url}")), url);
        hides(&Given::nothing().set(&format!("rabbitmq.ulr={url}")), url);
        hides(&Given::nothing().set(url), url);
        hides(&Given::nothing().file(format!("{url:?} = 1\n")), url);
    }
}

#[test]
fn redacting_keeps_what_is_no_secret() {
    for (text, redacted) in [
        ("amqp://u:p@h:5672/v", "amqp://u:***@h:5672/v"),
        ("a amqp://h:5672/v b", "a amqp://h:5672/v b"),
        ("http://[::1]:80/ and x", "http://[::1]:80/ and x"),
        ("x?password=p&y=z", "x?password=***&y=z"),
        ("x?Password=p", "x?Password=***"),
        ("no url: at all@", "no url: at all@"),
        ("", ""),
    ] {
        assert_eq!(redact(text), redacted);
    }
}
