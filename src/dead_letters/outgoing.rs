//! From a dead letter to the message that is published for it.

use super::{Letter, To};
use crate::event::{Properties, replayed::header};

/// Bytes of a frame around what it carries.
const FRAME: usize = 8;
/// Headers by which the broker sends copies.
const COPIES: [&str; 2] = [header::CC, "BCC"];

/// Whether the broker counts deliveries in this header: those of the dead-letter queue, which are no part of the message.
pub fn is_counted(header: &str) -> bool {
    matches!(header, "x-delivery-count" | "x-acquired-count")
}

/// A message to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    pub exchange: String,
    pub routing_key: String,
    pub properties: Properties,
    /// It lacks the header by which the broker would send copies to other queues.
    pub without_copies: bool,
}

/// How messages are made.
#[derive(Debug, Clone)]
pub struct Rules<'a> {
    pub to: To,
    /// The daemon's own queue.
    pub queue: &'a str,
    /// As whom they are published.
    pub user: &'a str,
    /// Whether user ids are left out.
    pub without_user_id: bool,
    /// Longest frame that the broker takes, in bytes; 0 for no bound.
    pub frame_max: usize,
}

impl Rules<'_> {
    /// The message for a letter; or why there can be none, and what to do about it.
    pub fn outgoing(&self, letter: &Letter) -> Result<Outgoing, String> {
        let mut properties = letter.delivery.properties.clone();
        let (exchange, routing_key) = match self.to {
            // Without such a death the daemon could not tell where it had come from.
            To::Audit if letter.death_here().is_none_or(|death| death.routing_keys.is_empty()) => {
                return Err(match letter.last_death() {
                    Some(death) => format!(
                        "it died in the queue '{}' and not in '{}': --to-original sends it where it came from",
                        death.queue, self.queue
                    ),
                    None => "it never died, but was published to the dead-letter queue: `dead-letters export` has it, and \
                             `dead-letters discard` takes it away"
                        .to_owned(),
                });
            }
            To::Audit => (String::new(), self.queue.to_owned()),
            To::Original => match letter.came_from() {
                Some((exchange, key)) => (exchange.to_owned(), key.to_owned()),
                None => return Err("nothing says where it came from".to_owned()),
            },
        };
        match &properties.user_id {
            Some(_) if self.without_user_id => properties.user_id = None,
            Some(user) if user != self.user => {
                return Err(format!(
                    "its user_id is '{user}', which the broker takes from nobody but that user, and this is '{}': log in as \
                     that user by --rabbit-url, or leave it out by --without-user-id",
                    self.user
                ));
            }
            _ => {}
        }
        let mut without_copies = false;
        if let Some(headers) = &mut properties.headers {
            headers.retain(|name, _| {
                let copies = self.to == To::Audit && COPIES.contains(&name.as_str());
                without_copies |= copies;
                !copies && !is_counted(name)
            });
        }
        let size = properties.wire_size();
        if self.frame_max > 0 && size > self.frame_max.saturating_sub(FRAME) {
            return Err(format!(
                "its properties and headers take {size} bytes, and the broker takes {}: raise frame_max in its configuration \
                 for as long",
                self.frame_max.saturating_sub(FRAME)
            ));
        }
        Ok(Outgoing { exchange, routing_key, properties, without_copies })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use time::macros::datetime;

    use super::*;
    use crate::event::{Delivery, Envelope, FieldValue, Overrides, Preset};

    fn text(text: &str) -> FieldValue {
        FieldValue::String(text.to_owned())
    }

    fn letter(queue: &str, more: &[(&str, FieldValue)], user: Option<&str>) -> Letter {
        let death = [
            ("queue", text(queue)),
            ("reason", text("rejected")),
            ("exchange", text("bus")),
            ("routing-keys", FieldValue::Array(vec![text("a.b")])),
        ];
        let table = |entries: &[(&str, FieldValue)]| -> BTreeMap<_, _> {
            entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let mut headers = table(more);
        let deaths = vec![FieldValue::Table(table(&death))];
        headers.insert("x-death".to_owned(), FieldValue::Array(deaths));
        let properties = Properties {
            headers: Some(headers),
            user_id: user.map(str::to_owned),
            ..Properties::default()
        };
        let delivery = Delivery {
            tag: 1,
            redelivered: false,
            exchange: "dlx".to_owned(),
            routing_key: "a.b".to_owned(),
            properties,
            body: b"no json".to_vec(),
            received_at: datetime!(2026-01-02 00:00 UTC),
        };
        let envelope = Envelope::with_overrides(Preset::Bloodbank, Overrides::default());
        Letter::new(delivery, 1, "audit", &envelope)
    }

    fn rules(to: To) -> Rules<'static> {
        Rules { to, queue: "audit", user: "me", without_user_id: false, frame_max: 131_072 }
    }

    #[test]
    fn it_goes_to_the_audit_queue_alone_or_to_where_it_came_from() {
        let more = [
            ("CC", FieldValue::Array(vec![text("other")])),
            ("x-delivery-count", FieldValue::I64(3)),
        ];
        let letter = letter("audit", &more, None);
        let sent = rules(To::Audit).outgoing(&letter).unwrap();
        assert_eq!((&*sent.exchange, &*sent.routing_key), ("", "audit"));
        let headers = sent.properties.headers.unwrap();
        assert_eq!(
            (headers.keys().map(String::as_str).collect::<Vec<_>>(), sent.without_copies),
            (vec!["x-death"], true)
        );
        let sent = rules(To::Original).outgoing(&letter).unwrap();
        assert_eq!((&*sent.exchange, &*sent.routing_key), ("bus", "a.b"));
        assert!(sent.properties.headers.unwrap().contains_key("CC") && !sent.without_copies);
    }

    #[test]
    fn what_cannot_be_sent_is_named_with_the_way_out() {
        let elsewhere = letter("other", &[], None);
        let refused = rules(To::Audit).outgoing(&elsewhere).unwrap_err();
        assert!(refused.contains("'other'") && refused.contains("--to-original"), "{refused}");
        let own = letter("audit", &[], Some("you"));
        let refused = rules(To::Audit).outgoing(&own).unwrap_err();
        assert!(refused.contains("'you'") && refused.contains("--without-user-id"), "{refused}");
        let without = Rules { without_user_id: true, ..rules(To::Audit) };
        assert_eq!(without.outgoing(&own).unwrap().properties.user_id, None);
        let mut alive = own.clone();
        alive.deaths.clear();
        assert!(rules(To::Original).outgoing(&alive).is_err());
    }

    #[test]
    fn what_waits_is_the_same_however_often_it_was_handed_out() {
        let once = letter("audit", &[], None);
        let again = letter("audit", &[("x-delivery-count", FieldValue::I64(3))], None);
        assert_eq!(once.identity(), again.identity());
        let other = letter("audit", &[("n", FieldValue::I64(3))], None);
        assert_ne!(once.identity(), other.identity());
        assert_ne!(once.identity(), letter("other", &[], None).identity());
    }
}
