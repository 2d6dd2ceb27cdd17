//! Where a replay goes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the events are published to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// That queue alone, through the default exchange.
    Queue(String),
    /// That exchange, under the events' own routing keys.
    Exchange(String),
    /// The exchange that each event was published to.
    Original,
}

/// Where a replay goes, and what is changed on the way. It reads back from its JSON, which is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What the events are published to.
    pub to: To,
    /// Host, port and virtual host of the broker, as [`crate::broker::Address`] shows itself.
    pub broker: String,
    /// Stands before each routing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_prefix: Option<String>,
    /// Whether each message gets a new message id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh_ids: bool,
    /// Whether the user ids are left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_user_id: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            To::Queue(queue) => write!(f, "the queue '{queue}'")?,
            To::Exchange(exchange) => write!(f, "the exchange '{exchange}'")?,
            To::Original => f.write_str("the exchanges that the events came from")?,
        }
        if let Some(prefix) = &self.key_prefix {
            write!(f, " with '{prefix}' before each routing key")?;
        }
        write!(f, " at {}", self.broker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back() {
        let target = Target {
            to: To::Queue("q".to_owned()),
            broker: "host:5672 vhost \"/\"".to_owned(),
            key_prefix: None,
            fresh_ids: false,
            without_user_id: true,
        };
        let json = serde_json::to_string(&target).unwrap();
        assert_eq!(
            json,
            r#"{"to":{"queue":"q"},"broker":"host:5672 vhost \"/\"","without_user_id":true}"#
        );
        assert_eq!(serde_json::from_str::<Target>(&json).unwrap(), target);
        let original = Target { to: To::Original, key_prefix: Some("x.".to_owned()), ..target };
        let json = serde_json::to_string(&original).unwrap();
        assert_eq!(serde_json::from_str::<Target>(&json).unwrap(), original);
    }
}
