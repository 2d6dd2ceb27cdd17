//! From a stored event to the message that is published for it.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    select::Selected,
    target::{Target, To},
};
use crate::event::{FieldValue, Properties, replayed::header, rfc3339};

/// Longest name in AMQP, in bytes.
const LONGEST: usize = 255;
/// Bytes of a frame around what it carries.
const FRAME: usize = 8;

/// A message to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The exchange to publish to.
    pub exchange: String,
    /// The routing key to publish with.
    pub routing_key: String,
    /// Properties and headers.
    pub properties: Properties,
    /// The body.
    pub body: Vec<u8>,
    /// What could not stay as it was.
    pub left_out: LeftOut,
}

/// What a message lacks that the event had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Its time to live, which had passed: the message would have been gone before anybody had it.
    pub expiration: bool,
    /// The header by which the broker would have sent copies to other queues.
    pub copies: bool,
}

/// How messages are made.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The replay's id.
    pub replay: Uuid,
    /// Where they go.
    pub target: Target,
    /// As whom they are published.
    pub user: String,
    /// Longest frame that the broker takes, in bytes; 0 for no bound.
    pub frame_max: usize,
}

impl Rules {
    /// The message for an event; or why there can be none, and what to do about it.
    ///
    /// # Errors
    /// The broker, or AMQP, would refuse it.
    pub fn outgoing(&self, event: Selected, now: OffsetDateTime) -> Result<Outgoing, String> {
        let Selected { arrival, exchange, routing_key, properties, body, .. } = event;
        let mut properties = properties?;
        let (to, key) = match &self.target.to {
            To::Queue(queue) => (String::new(), queue.clone()),
            To::Exchange(to) => (to.clone(), self.prefixed(&routing_key)),
            To::Original => (exchange.clone(), self.prefixed(&routing_key)),
        };
        if key.len() > LONGEST {
            return Err(format!(
                "its routing key has {} bytes with --key-prefix, and AMQP allows {LONGEST}: take a shorter prefix",
                key.len()
            ));
        }
        let left_out = LeftOut {
            expiration: properties
                .expiration
                .as_deref()
                .is_some_and(|expiration| is_over(expiration, arrival.received_at, now)),
            copies: matches!(self.target.to, To::Queue(_))
                && properties
                    .headers
                    .as_ref()
                    .is_some_and(|headers| headers.contains_key(header::CC)),
        };
        if left_out.expiration {
            properties.expiration = None;
        }
        self.mind_the_user(&mut properties)?;
        let received_at = rfc3339(arrival.received_at);
        let headers = properties.headers.get_or_insert_default();
        if left_out.copies {
            headers.remove(header::CC);
        }
        // What an earlier replay added, and somebody passed on, would be taken for words of this one.
        for name in header::ADDED {
            headers.remove(name);
        }
        let mut add = |name: &str, value: String| {
            headers.insert(name.to_owned(), FieldValue::String(value));
        };
        add(header::REPLAY, self.replay.to_string());
        add(header::REPLAYED_AT, rfc3339(now));
        add(header::RECEIVED_AT, received_at);
        add(header::EXCHANGE, exchange);
        if key != routing_key {
            add(header::ROUTING_KEY, routing_key);
        }
        if self.target.fresh_ids {
            if let Some(id) = properties.message_id.take() {
                add(header::MESSAGE_ID, id);
            }
            properties.message_id = Some(Uuid::new_v4().to_string());
        }
        let size = properties.wire_size();
        if self.frame_max > 0 && size > self.frame_max - FRAME {
            return Err(format!(
                "its properties and headers take {size} bytes with those that a replay adds, and the broker takes {}: raise \
                 frame_max in its configuration for the time of the replay",
                self.frame_max - FRAME
            ));
        }
        Ok(Outgoing { exchange: to, routing_key: key, properties, body, left_out })
    }

    fn prefixed(&self, routing_key: &str) -> String {
        match &self.target.key_prefix {
            Some(prefix) => format!("{prefix}{routing_key}"),
            None => routing_key.to_owned(),
        }
    }

    /// The broker takes a user id only from that user.
    fn mind_the_user(&self, properties: &mut Properties) -> Result<(), String> {
        match &properties.user_id {
            Some(_) if self.target.without_user_id => properties.user_id = None,
            Some(user) if *user != self.user => {
                return Err(format!(
                    "its user_id is '{user}', which the broker takes from nobody but that user, and this is '{}': log in as \
                     that user by --url, or leave it out by --without-user-id",
                    self.user
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether a time to live in milliseconds has passed since then. What is no number the broker refuses by itself.
fn is_over(expiration: &str, since: OffsetDateTime, now: OffsetDateTime) -> bool {
    expiration.parse().is_ok_and(|millis: i64| now - since >= Duration::milliseconds(millis))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use time::macros::datetime;

    use super::*;
    use crate::{event::header_text, store::Arrival};

    const NOW: OffsetDateTime = datetime!(2026-01-02 00:00 UTC);

    fn rules(to: To) -> Rules {
        let broker = "host".to_owned();
        let target =
            Target { to, broker, key_prefix: None, fresh_ids: false, without_user_id: false };
        Rules { replay: Uuid::nil(), target, user: "me".to_owned(), frame_max: 131_072 }
    }

    fn selected(properties: Properties) -> Selected {
        Selected {
            arrival: Arrival { received_at: datetime!(2026-01-01 00:00:00.000001 UTC), seq: 7 },
            id: None,
            exchange: "bus".to_owned(),
            routing_key: "a.b".to_owned(),
            properties: Ok(properties),
            body: b"body".to_vec(),
        }
    }

    fn text(outgoing: &Outgoing, name: &str) -> Option<String> {
        header_text(outgoing.properties.headers.as_ref(), name).map(str::to_owned)
    }

    #[test]
    fn what_is_added_is_added_and_nothing_else_changes() {
        let headers = BTreeMap::from([("n".to_owned(), FieldValue::I16(3))]);
        let properties = Properties {
            headers: Some(headers.clone()),
            priority: Some(4),
            user_id: Some("me".to_owned()),
            message_id: Some("id".to_owned()),
            ..Properties::default()
        };
        let sent = rules(To::Original).outgoing(selected(properties.clone()), NOW).unwrap();
        assert_eq!(
            (&*sent.exchange, &*sent.routing_key, &*sent.body),
            ("bus", "a.b", &b"body"[..])
        );
        let mut back = sent.properties.clone();
        let mut added = back.headers.take().unwrap();
        added.retain(|name, _| !headers.contains_key(name));
        assert_eq!(Properties { headers: Some(headers), ..back }, properties);
        let added: Vec<_> = added.keys().map(String::as_str).collect();
        let wanted = [header::EXCHANGE, header::RECEIVED_AT, header::REPLAY, header::REPLAYED_AT];
        assert_eq!(added, wanted);
        assert_eq!(text(&sent, header::RECEIVED_AT).unwrap(), "2026-01-01T00:00:00.000001Z");
        assert_eq!(text(&sent, header::EXCHANGE).unwrap(), "bus");
    }

    #[test]
    fn what_an_earlier_replay_added_is_gone() {
        let old = |name: &str| (name.to_owned(), FieldValue::String("old".to_owned()));
        let headers = BTreeMap::from(header::ADDED.map(old));
        let properties = Properties { headers: Some(headers), ..Properties::default() };
        let sent = rules(To::Original).outgoing(selected(properties), NOW).unwrap();
        assert_eq!(text(&sent, header::ROUTING_KEY), None);
        assert_eq!(text(&sent, header::MESSAGE_ID), None);
        assert_eq!(text(&sent, header::EXCHANGE).as_deref(), Some("bus"));
    }

    #[test]
    fn a_queue_gets_it_under_its_own_name_and_no_other_queue_does() {
        let headers = BTreeMap::from([("CC".to_owned(), FieldValue::Array(Vec::new()))]);
        let properties = Properties { headers: Some(headers), ..Properties::default() };
        let sent = rules(To::Queue("q".to_owned())).outgoing(selected(properties.clone()), NOW);
        let sent = sent.unwrap();
        assert_eq!((&*sent.exchange, &*sent.routing_key), ("", "q"));
        assert_eq!(text(&sent, header::ROUTING_KEY).as_deref(), Some("a.b"));
        assert!(sent.left_out.copies && !sent.properties.headers.unwrap().contains_key("CC"));
        let sent = rules(To::Original).outgoing(selected(properties), NOW).unwrap();
        assert!(!sent.left_out.copies && sent.properties.headers.unwrap().contains_key("CC"));
    }

    #[test]
    fn a_time_to_live_stays_until_it_has_passed() {
        for (expiration, over) in
            [("86400000", false), ("86399999", true), ("0", true), ("x", false)]
        {
            let properties =
                Properties { expiration: Some(expiration.to_owned()), ..Properties::default() };
            let sent = rules(To::Original).outgoing(selected(properties), NOW).unwrap();
            assert_eq!(sent.left_out.expiration, over, "{expiration}");
            assert_eq!(sent.properties.expiration.is_none(), over, "{expiration}");
        }
    }

    #[test]
    fn what_the_broker_would_refuse_is_named_with_the_way_out() {
        let user = Properties { user_id: Some("you".to_owned()), ..Properties::default() };
        let refused = rules(To::Original).outgoing(selected(user.clone()), NOW).unwrap_err();
        assert!(refused.contains("'you'") && refused.contains("--without-user-id"), "{refused}");
        let mut without = rules(To::Original);
        without.target.without_user_id = true;
        assert_eq!(without.outgoing(selected(user), NOW).unwrap().properties.user_id, None);

        let large = FieldValue::String("x".repeat(131_000));
        let headers = BTreeMap::from([("large".to_owned(), large)]);
        let large = Properties { headers: Some(headers), ..Properties::default() };
        let refused = rules(To::Original).outgoing(selected(large), NOW).unwrap_err();
        assert!(refused.contains("frame_max"), "{refused}");

        let mut long = rules(To::Original);
        long.target.key_prefix = Some("x".repeat(253));
        let refused = long.outgoing(selected(Properties::default()), NOW).unwrap_err();
        assert!(refused.contains("256 bytes"), "{refused}");
    }

    #[test]
    fn fresh_ids_leave_the_old_one_in_a_header() {
        let mut rules = rules(To::Exchange("other".to_owned()));
        rules.target.fresh_ids = true;
        let properties = Properties { message_id: Some("old".to_owned()), ..Properties::default() };
        let sent = rules.outgoing(selected(properties), NOW).unwrap();
        assert_eq!(text(&sent, header::MESSAGE_ID).as_deref(), Some("old"));
        assert!(sent.properties.message_id.is_some_and(|id| id != "old"));
        assert_eq!(sent.exchange, "other");
    }
}
