//! The way to the broker: name, port, TLS, login, virtual host.

use std::{borrow::Cow, net::SocketAddr, time::Duration};

use tokio::time::timeout;

use super::{
    super::{
        Setup,
        certificates::ends,
        finding::Finding,
        network::{Server, plain_text, stays_here},
        shell::word,
    },
    AREA,
    permissions::grant,
};
use crate::broker::{Address, Auth, Expiry, Fault, Kind, Probe};

/// Whether a user is logged in at the end, at an address with one host.
pub async fn reach(setup: &Setup, address: &Address, findings: &mut Vec<Finding>) -> bool {
    let limit = setup.broker.connect_timeout;
    let server = Server {
        area: AREA,
        host: &address.host,
        port: address.port,
        limit,
        key: "rabbitmq.url",
        what: "RabbitMQ",
    };
    let skip = |findings: &mut Vec<Finding>, checks: &[&'static str], because: &str| {
        findings.extend(checks.iter().map(|check| Finding::skipped(AREA, check, because)));
        false
    };
    let (finding, addresses) = server.resolve().await;
    findings.push(finding);
    let Some(addresses) = addresses else {
        return skip(findings, &["tcp", "login", "vhost"], "dns");
    };
    findings.extend(encryption(address, &addresses));
    let (finding, reached) = server.connect(&addresses).await;
    findings.push(finding);
    if !reached {
        return skip(findings, &["login", "vhost"], "tcp");
    }
    let mut probe = match bounded(limit, Probe::connect(address)).await {
        Ok(probe) => probe,
        Err(fault) => {
            findings.push(tls(address, &fault));
            return skip(findings, &["login", "vhost"], "tls");
        }
    };
    if address.tls {
        let found = "the broker's certificate is trusted, and is for that name";
        findings.push(Finding::ok(AREA, "tls", found));
        findings.extend(certificates(probe.expiry()));
    }
    let name = format!("{}, checking", setup.broker.connection_name);
    if let Err(fault) = bounded(limit, probe.log_in(address, &name)).await {
        findings.push(login(address, &fault));
        return skip(findings, &["vhost"], "login");
    }
    findings.push(match address.auth {
        Auth::Plain => Finding::ok(AREA, "login", format!("as '{}'", address.user)),
        Auth::External => Finding::ok(AREA, "login", "by the client certificate"),
    });
    let opened = bounded(limit, probe.open_vhost(address)).await;
    let open = opened.is_ok();
    findings.push(match opened {
        Ok(()) => Finding::ok(AREA, "vhost", format!("'{}' is open", address.vhost)),
        Err(fault) => vhost(setup, &fault),
    });
    // Nothing depends on how it ends.
    let _ = timeout(limit, probe.close()).await;
    open
}

/// What is to be said of plain text; nothing under TLS.
pub fn encryption(address: &Address, addresses: &[SocketAddr]) -> Option<Finding> {
    if address.tls {
        return None;
    }
    Some(if stays_here(addresses) {
        Finding::ok(AREA, "encryption", "none, and nothing leaves this machine")
    } else {
        plain_text(
            AREA,
            format!("password and events go to {} as plain text", address.host),
            "rabbitmq.url",
            "amqps://, and rabbitmq.tls_ca_file to the authority of the broker's certificate",
        )
    })
}

async fn bounded<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    timeout(limit, step).await.unwrap_or_else(|_| {
        Err(Fault {
            kind: Kind::Unreachable,
            message: format!("no answer within {}", humantime::format_duration(limit)),
        })
    })
}

fn tls(address: &Address, fault: &Fault) -> Finding {
    let finding = Finding::fault(AREA, "tls", fault.message.clone())
        .advise("see which certificate the broker shows, by whom it is signed and for which names, and set what it says above:");
    let (host, port) = (word(&address.host), address.port);
    let name = address.server_name.as_deref().map_or(Cow::clone(&host), word);
    finding.command(format!(
        "openssl s_client -connect {host}:{port} -servername {name} -showcerts </dev/null | openssl x509 -noout -subject -issuer \
         -dates -ext subjectAltName"
    ))
}

fn certificates(expiry: Expiry) -> impl Iterator<Item = Finding> {
    let broker = expiry.broker.map(|until| {
        ends(
            AREA,
            "the broker's certificate",
            until,
            "renew it on the broker, which takes a new one without a restart:",
        )
        .command("rabbitmqctl eval 'ssl:clear_pem_cache().'")
    });
    let client = expiry.client.map(|until| {
        ends(
            AREA,
            "the client certificate",
            until,
            "put a new one in place of the file in rabbitmq.tls_client_cert, and its key beside it: it is read at the next \
             connection",
        )
    });
    broker.into_iter().chain(client)
}

fn login(address: &Address, fault: &Fault) -> Finding {
    let user = word(&address.user);
    let finding = Finding::fault(AREA, "login", fault.message.clone());
    if fault.message.contains("can only connect via localhost") {
        return finding
            .advise("'guest' is for the broker's own machine: make another user, and set it in rabbitmq.url:")
            .command("rabbitmqctl add_user bloodbank_audit");
    }
    if fault.kind == Kind::Refused {
        return finding
            .advise("correct user and password in rabbitmq.url, or on the broker:")
            .command("rabbitmqctl list_users")
            .command(format!(
                "rabbitmqctl change_password {user}  # or add_user, where it is not listed"
            ));
    }
    finding
        .advise(
            "what listens there may be no RabbitMQ, or speak TLS where rabbitmq.url says amqp://. On the broker's machine:",
        )
        .command("rabbitmq-diagnostics listeners")
}

fn vhost(setup: &Setup, fault: &Fault) -> Finding {
    let address = &setup.broker.address;
    let finding = Finding::fault(AREA, "vhost", fault.message.clone());
    if fault.message.contains("not found") {
        grant(
            finding
                .advise("correct the virtual host in rabbitmq.url (the one named / is %2f), or make it on the broker:")
                .command(format!("rabbitmqctl add_vhost {}", word(&address.vhost))),
            setup,
        )
    } else {
        grant(finding.advise("on the broker:"), setup)
    }
}
