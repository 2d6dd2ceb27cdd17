//! Who would receive it, and whether that is meant.

use super::reach::Reach;
use crate::{
    commands::{consent, overview::grouped, reading::Misuse, settings, terminal::visible},
    config::Config,
    replay::{Places, Target, To},
};

/// Whom a replay reaches, as far as that is known, in words: by the broker's bindings, or by what it is called.
pub fn audience(config: &Config, target: &Target, reach: Option<&Reach>) -> String {
    if let Some(reach) = reach {
        return format!("by the broker's bindings, {}", reach.lines().join("; "));
    }
    match &target.to {
        To::Queue(queue) => format!("the queue '{queue}' alone"),
        To::Exchange(_) | To::Original if reaches_the_bus(config, target) => format!(
            "every queue that is bound there for these routing keys; among them '{}' of this daemon (bound with {}), which \
             knows its own replays, and every consumer of the bus",
            config.rabbitmq.queue,
            config.rabbitmq.bindings.join(", ")
        ),
        To::Exchange(_) | To::Original => {
            "every queue that is bound there for these routing keys; `rabbitmqctl list_bindings` tells which those are, and \
             with rabbitmq.management_url or --management-url this does"
                .to_owned()
        }
    }
}

/// Whether it goes where the daemon's own queue is bound, for all that is known.
fn reaches_the_bus(config: &Config, target: &Target) -> bool {
    settings::address(config).to_string() == target.broker && bears_its_name(config, target)
}

/// Whether it goes to what is called like the daemon's own. On another broker it may be another one; but a broker has more
/// than one address.
pub fn bears_its_name(config: &Config, target: &Target) -> bool {
    match &target.to {
        To::Queue(queue) => *queue == config.rabbitmq.queue,
        To::Exchange(exchange) => *exchange == config.rabbitmq.exchange,
        To::Original => true,
    }
}

/// Asks where consumers of the bus would receive it, which is where it [`bears_its_name`].
///
/// # Errors
/// The answer is no, or nobody can be asked.
pub fn ask(target: &Target, places: &Places, matched: i64, audience: &str) -> Result<(), Misuse> {
    let what = format!("{} event(s) go to {target}: {audience}", grouped(matched));
    let words = format!("{}\nas user '{}'", visible(&what), places.broker.address.user);
    let unasked = format!(
        "{what}. Where nobody can be asked, --yes says that this is meant; --dry-run says what it would be"
    );
    consent::ask(&words, unasked, "nothing is replayed")
}
