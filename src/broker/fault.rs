//! What can go wrong with the broker, sorted by what it calls for.

use std::fmt;

use amqprs::error::Error;

use super::{Address, Auth, ending::Ending, tls::Seen};

/// What a fault calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The broker is away or the connection is lost.
    Unreachable,
    /// The connection was lost after the queue had been asked for deliveries: some may have been handed out.
    LostConsuming {
        /// Messages that waited in the dead-letter queue before.
        dead_letters: u32,
    },
    /// The broker answers, and refuses: user, virtual host, permission, TLS. Somebody has to mend it, here or
    /// there, and it may be mended there.
    Refused,
    /// What exists, on the broker or in a file, is not what the configuration asks for: trying again does not help.
    Clash,
}

/// A failed call to the broker.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What it calls for.
    pub kind: Kind,
    /// What failed, in words; and what to do about it, where that is known.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into() }
    }

    /// One host after the other has failed: at least one fault. What may pass for one of them may pass.
    pub(super) fn of_each(mut faults: Vec<Fault>) -> Fault {
        if faults.len() == 1 {
            return faults.remove(0);
        }
        let order = |kind: Kind| match kind {
            Kind::Unreachable | Kind::LostConsuming { .. } => 0,
            Kind::Refused => 1,
            Kind::Clash => 2,
        };
        let kind = faults.iter().map(|fault| fault.kind).min_by_key(|&kind| order(kind));
        let words: Vec<_> = faults.into_iter().map(|fault| fault.message).collect();
        Fault::new(kind.unwrap_or(Kind::Unreachable), words.join("; and "))
    }

    /// A failure to open a connection, and what was seen of TLS on it, where that was spoken.
    pub(super) fn of_opening(address: &Address, seen: Option<&Seen>, error: &Error) -> Fault {
        let text = error.to_string();
        if let Some(trouble) = seen.and_then(|seen| seen.trouble(&text)) {
            return Fault::new(Kind::Refused, format!("the broker at {address}: {trouble}"));
        }
        if let Some((code, said)) = close_in(&text) {
            return Fault::of_reply(
                code,
                &format!("the broker at {address} refuses the connection: {code} {said}"),
            );
        }
        let refused = |why: &str| {
            Fault::new(Kind::Refused, format!("the broker at {address} {why} ({text})"))
        };
        match error {
            Error::ConnectionOpenError(_) if text.contains("EXTERNAL") => {
                Fault::no_external(address)
            }
            Error::ConnectionOpenError(_) => refused("refuses the connection"),
            _ if is_cut_short(&text) && address.tls => match seen.and_then(Seen::left_wanting) {
                Some(wanted) => refused(&format!(
                    "ends the connection during the TLS handshake or the login: {wanted}; or check the user name and \
                         the password"
                )),
                None if address.auth == Auth::External => refused(
                    "ends the connection during the TLS handshake or the login, which is how it answers a \
                         certificate that names none of its users; see its ssl_cert_login_from, and that a user of that \
                         name exists",
                ),
                None => refused(
                    "ends the connection during the TLS handshake or the login; check the port, the user name and the \
                         password",
                ),
            },
            // The broker answers a wrong password by closing the socket after three seconds.
            _ if is_cut_short(&text) => refused(
                "ends the connection during the login, which is how it answers a wrong user name or password, or a \
                 connection without TLS on a port with TLS, and how a proxy says that it is away",
            ),
            _ => Fault::new(
                Kind::Unreachable,
                format!("the broker at {address} cannot be reached: {text}"),
            ),
        }
    }

    /// The broker has no login by certificate.
    pub(super) fn no_external(address: &Address) -> Fault {
        Fault::new(
            Kind::Refused,
            format!(
                "the broker at {address} does not take EXTERNAL, the login by certificate; enable its plugin \
                 rabbitmq_auth_mechanism_ssl and add EXTERNAL to its auth_mechanisms, or set rabbitmq.auth = \"plain\""
            ),
        )
    }

    /// A failed call on an open channel: what the broker gave as its reason counts for more than the client's error.
    pub(super) fn of_call(doing: &str, ending: &Ending, error: &Error) -> Fault {
        match ending.said() {
            Some(said) => Fault::of_reply(said.code, &format!("{doing}: {}", said.text)),
            None => {
                Fault::new(Kind::Unreachable, format!("{doing}: the connection was lost ({error})"))
            }
        }
    }

    /// Whether the broker refuses one routing key to this user, by topic authorisation: others may be free.
    #[must_use]
    pub fn is_of_one_key(&self) -> bool {
        self.kind == Kind::Refused && self.message.contains("access to topic '")
    }

    /// Whether what was looked for is not there. A queue on a node that is down is there.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        self.kind == Kind::Refused
            && self.message.contains("NOT_FOUND")
            && !self.message.contains("is down or inaccessible")
    }

    /// A failed call that declares or binds something; where it is not allowed, it need not be done from here.
    pub(super) fn of_declaring(doing: &str, ending: &Ending, error: &Error) -> Fault {
        match ending.said() {
            Some(said) if said.code == 403 => Fault::new(
                Kind::Refused,
                format!(
                    "{doing}: {}; grant the user the permissions for it, or declare it yourself and set \
                     rabbitmq.declare = \"verify\"",
                    said.text
                ),
            ),
            _ => Fault::of_call(doing, ending, error),
        }
    }

    /// What the broker gave as its reason, with what to do about it.
    pub(super) fn of_reply(code: u16, text: &str) -> Fault {
        let (kind, advice) = match code {
            403 => {
                (Kind::Refused, "; check the user name, the password and the user's permissions")
            }
            // A classic queue is on one node of a cluster.
            404 if text.contains("is down or inaccessible") => (
                Kind::Refused,
                "; until that node is back, nothing that is published reaches that queue",
            ),
            404 => {
                (Kind::Refused, "; declare it on the broker, or set rabbitmq.declare = \"create\"")
            }
            530 => (
                Kind::Refused,
                "; check the virtual host in rabbitmq.url, and the user's permissions on it",
            ),
            405 | 406 => return Fault::new(Kind::Clash, format!("{text}{}", clash_advice(text))),
            _ => (Kind::Unreachable, ""),
        };
        Fault::new(kind, format!("{text}{advice}"))
    }
}

/// What to do about `inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'classic'`.
fn clash_advice(text: &str) -> String {
    let Some((_, rest)) = text.split_once("inequivalent arg '") else {
        return String::new();
    };
    let argument = rest.split('\'').next().unwrap_or_default();
    let what = if rest.contains(" for exchange ") { "exchange" } else { "queue" };
    let own = match argument {
        _ if rest.ends_with("current is none") => "",
        "x-queue-type" => "set rabbitmq.queue_type to what exists, ",
        "x-delivery-limit" => "set rabbitmq.delivery_limit to what exists, ",
        "x-dead-letter-exchange" => "set rabbitmq.dead_letter_exchange to what exists, ",
        _ => "",
    };
    // An exchange of another type would deliver something else, or nothing: it cannot be taken as it is.
    let other = match what {
        "exchange" => "name another exchange, or delete this one on the broker if nothing uses it",
        _ => {
            "set rabbitmq.declare = \"verify\" to take it as it is, name another queue, or delete this one on the \
             broker once it is empty"
        }
    };
    format!("; it exists with another '{argument}': {own}{other}")
}

pub(super) fn is_cut_short(text: &str) -> bool {
    ["reset", "shutdown", "interrupted", "eof", "closed"]
        .iter()
        .any(|word| text.to_lowercase().contains(word))
}

/// The reply code and text of a `connection.close`, which the client only gives as the debug text of the frame.
fn close_in(text: &str) -> Option<(u16, &str)> {
    let (_, rest) = text.split_once("reply_code: ")?;
    let code = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let (_, rest) = rest.split_once(", \"")?;
    let (said, _) = rest.rsplit_once("\")")?;
    Some((code, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_in_the_frame() {
        let text = "AMQP connection open error: failed to open connection, reason: Close(MethodHeader { class_id: 10, \
                    method_id: 50 }, Close { reply_code: 530, reply_text: ShortStr(37, \"NOT_ALLOWED - vhost nope not found\"), \
                    class_id: 10, method_id: 40 })";
        assert_eq!(close_in(text), Some((530, "NOT_ALLOWED - vhost nope not found")));
        assert_eq!(close_in("connection reset"), None);
    }

    #[test]
    fn a_clash_names_the_argument_and_the_way_out() {
        let fault = Fault::of_reply(
            406,
            "declaring: PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'bloodbank.audit' in vhost '/': \
             received 'quorum' but current is 'classic'",
        );
        assert_eq!(fault.kind, Kind::Clash);
        for part in [
            "'x-queue-type'",
            "current is 'classic'",
            "rabbitmq.queue_type",
            "declare = \"verify\"",
        ] {
            assert!(fault.message.contains(part), "{part} in {}", fault.message);
        }
    }
}
