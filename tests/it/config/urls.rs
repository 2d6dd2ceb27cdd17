//! The URLs of both sides, taken apart and refused.

use bloodbank_audit::config::{AmqpUrl, PostgresUrl};

use super::{Given, says};

fn amqp(text: &str) -> AmqpUrl {
    AmqpUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn an_amqp_url_is_percent_decoded() {
    let url = amqp("amqp://us%40er:p%2Fss%25@host.example:1234/%2Fv%20h");
    assert_eq!((url.tls, &*url.host, url.port), (false, "host.example", 1234));
    assert_eq!((&*url.user, url.password.expose(), &*url.vhost), ("us@er", "p/ss%", "/v h"));
    assert_eq!(url.to_string(), "amqp://us%40er:***@host.example:1234/%2Fv%20h");
}

#[test]
fn what_an_amqp_url_leaves_out_has_a_default() {
    let url = amqp("amqp://h");
    assert_eq!(
        (url.port, &*url.vhost, &*url.user, url.password.expose()),
        (5672, "/", "guest", "guest")
    );
    let url = amqp("amqps://u@[::1]/v");
    assert_eq!((url.tls, &*url.host, url.port), (true, "::1", 5671));
    assert_eq!((&*url.user, url.password.expose()), ("u", ""));
    assert_eq!(url.to_string(), "amqps://u:***@[::1]:5671/v");
}

#[test]
fn people_mean_the_vhost_slash() {
    for path in ["", "/", "//", "/%2f", "/%2F"] {
        assert_eq!(amqp(&format!("amqp://h{path}")).vhost, "/", "{path:?}");
    }
}

#[test]
fn an_amqp_url_that_cannot_be_meant() {
    for (url, what) in [
        ("", "not a URL"),
        ("h:5672", "the scheme is neither amqp nor amqps"),
        ("http://h/", "the scheme is neither amqp nor amqps"),
        ("amqp:h", "it names no host"),
        ("amqp:///v", "it names no host"),
        ("amqp://u:p@/v", "not a URL (empty host)"),
        ("amqp://h:0/", "port 0"),
        ("amqp://h:65536/", "invalid port number"),
        ("amqp://h/a/b", "a slash in its name is written %2F"),
        ("amqp://u:p#q@h/", "percent-encoded"),
        ("amqp://u:1#q@h/", "a bare @ or # after the host"),
        ("amqp://u:1/q@h/", "a bare @ or # after the host"),
        ("amqp://u:1?q@h/", "a bare @ or # after the host"),
        ("amqp://u:%ff@h/", "the password is not UTF-8"),
        ("amqp://h/%ff", "the vhost is not UTF-8"),
        (
            "amqp://h/?heartbeat=5",
            "the query parameter `heartbeat` is not supported; use rabbitmq.heartbeat",
        ),
        (
            "amqp://h/?connection_timeout=5",
            "`connection_timeout` is not supported; use rabbitmq.connect_timeout",
        ),
        ("amqp://h/?cacertfile=x", "use rabbitmq.tls_ca_file"),
        ("amqp://h/?foo", "the query parameter `foo` is not supported"),
    ] {
        let text = Given::nothing().variable("RABBIT_URL", url).refusal();
        says(
            &text,
            &["rabbitmq.url: ", what, "; allowed: amqp://", "(from environment RABBIT_URL)"],
        );
    }
    let long = format!("amqp://h/{}", "v".repeat(256));
    says(
        &Given::nothing().variable("RABBIT_URL", &long).refusal(),
        &["the vhost is longer than 255 bytes"],
    );
}

#[test]
fn a_postgres_url_is_what_sqlx_connects_with() {
    let url = PostgresUrl::parse("postgresql://u%40:p%2F@h:5433/db?sslmode=require").unwrap();
    let options = bloodbank_audit::store::options(url.expose()).unwrap();
    let place = options.addresses().remove(0);
    assert_eq!((&*place.host, place.port), ("h", 5433));
    assert_eq!((&*place.user, &*place.database), ("u@", "db"));
    assert_eq!(url.to_string(), "postgresql://u%40:***@h:5433/db?sslmode=require");
    for accepted in [
        "postgres:///db?host=/run/postgresql&user=me@example",
        "postgres://%2Frun%2Fpostgresql/db",
        "postgres://u:p@h/db?options[search_path]=x&application_name=a@b",
    ] {
        if let Err(error) = PostgresUrl::parse(accepted) {
            panic!("{accepted}: {error}");
        }
    }
}

#[test]
fn a_postgres_url_that_cannot_be_meant() {
    for (url, what) in [
        ("", "not a URL"),
        ("mysql://h/db", "the scheme is neither postgres nor postgresql"),
        ("postgres:db", "there is no // after the scheme"),
        ("postgres://h:99999/db", "invalid port number"),
        ("postgres://u:1/q@h/db", "a bare @ or # after the host"),
        ("postgres://u:1#q@h/db", "a bare @ or # after the host"),
        ("postgres://h/db?sslmode=maybe", "`sslmode` must be disable, allow,"),
        ("postgres://h/db?port=x", "`port` must be a port"),
        ("postgres://h/db?hostaddr=x", "`hostaddr` must be an IP address"),
        ("postgres://h/db?schema=public", "`schema` is not supported; those are application_name"),
        ("postgres://%ff@h/db", "not UTF-8"),
    ] {
        let text = Given::nothing().variable("DATABASE_URL", url).refusal();
        says(
            &text,
            &["postgres.url: ", what, "; allowed: postgres://", "(from environment DATABASE_URL)"],
        );
    }
}

#[test]
fn several_hosts_are_tried_in_their_order() {
    let url = AmqpUrl::parse("amqps://u:p@one,[::1]:5673,three:1/v").unwrap();
    assert_eq!((&*url.host, url.port), ("one", 5671));
    assert_eq!(url.others, [("::1".to_owned(), 5673), ("three".to_owned(), 1)]);
    assert_eq!(url.to_string(), "amqps://u:***@one:5671,[::1]:5673,three:1/v");
    for (hosts, word) in [
        ("one,,two", "a comma too many"),
        (",one", "a comma too many"),
        ("u:p@one,", "a comma too many"),
        ("one,two:5672,one:5672", "twice"),
        ("u:p@one,u:p@two", "user and password stand once"),
    ] {
        let said = AmqpUrl::parse(&format!("amqp://{hosts}/")).unwrap_err().to_string();
        assert!(said.contains(word), "{hosts}: {said}");
    }
    let text = "postgres://u:p@one:5433,two/db?target_session_attrs=read-write&sslmode=require";
    let url = PostgresUrl::parse(text).unwrap();
    let masked = url.to_string();
    assert_eq!(masked, text.replace(":p@", ":***@"));
    assert_eq!(url.hosts(), 2);
    let options = bloodbank_audit::store::options(url.expose()).unwrap();
    let places: Vec<_> =
        options.addresses().into_iter().map(|place| (place.host, place.port)).collect();
    assert_eq!(places, [("one".to_owned(), 5433), ("two".to_owned(), 5432)]);
    // As it is resolved, and as a certificate has it.
    let options = bloodbank_audit::store::options("postgres://[::1],[::2]:1/db").unwrap();
    let places: Vec<_> =
        options.addresses().into_iter().map(|place| (place.host, place.port)).collect();
    assert_eq!(places, [("::1".to_owned(), 5432), ("::2".to_owned(), 1)]);
    for (refused, word) in [
        ("postgres://a,b/db?target_session_attrs=standby", "any, primary or read-write"),
        ("postgres:///db?host=a,b", "one host; several are written postgres://one:5432,two:5432"),
        // It would be this machine's socket.
        ("postgres://a,/db", "a comma too many"),
        ("postgres://u:p@,a/db", "a comma too many"),
        ("postgres://a:5432,b,a/db", "twice"),
        ("postgres://u:p@a,u:p@b/db", "user and password stand once"),
        ("postgres://a,b/db?host=c", "`host` must be left out"),
        ("postgres://a,b/db?port=5433", "`port` must be left out"),
    ] {
        let said = PostgresUrl::parse(refused).unwrap_err().to_string();
        assert!(said.contains(word), "{said}");
    }
}
