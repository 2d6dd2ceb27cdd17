//! What the management interface tells of a user, a queue, an exchange, policies and nodes.
//!
//! Each may be refused to a user with fewer rights than it takes; that is [`Kind::Refused`](super::super::Kind).

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{super::Fault, Management};

/// A user of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UserView {
    /// Its name.
    pub name: String,
    /// What it may beside messages, such as `administrator`.
    #[serde(deserialize_with = "words")]
    pub tags: Vec<String>,
}

/// What a user may on a virtual host: regular expressions of names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PermissionsView {
    /// What it may declare and delete.
    pub configure: String,
    /// What it may publish and bind to.
    pub write: String,
    /// What it may consume and bind from.
    pub read: String,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct QueueView {
    /// Its type; classic where an old broker does not tell.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// Whether it outlives the broker's end.
    #[serde(default)]
    pub durable: bool,
    /// Whether it goes with its last consumer.
    #[serde(default)]
    pub auto_delete: bool,
    /// What it was declared with.
    #[serde(default, deserialize_with = "table")]
    pub arguments: Map<String, Value>,
    /// The policy that applies to it.
    #[serde(default)]
    pub policy: Option<String>,
    /// The operator's policy that applies to it.
    #[serde(default)]
    pub operator_policy: Option<String>,
    /// What the two make of it together.
    #[serde(default, deserialize_with = "table")]
    pub effective_policy_definition: Map<String, Value>,
    /// Who takes messages from it.
    #[serde(default)]
    pub consumer_details: Vec<ConsumerView>,
}

/// A consumer of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ConsumerView {
    /// Where it is; an empty list where that is not known yet.
    #[serde(default)]
    channel_details: Value,
}

impl ConsumerView {
    /// The user that it is logged in as.
    pub fn user(&self) -> Option<&str> {
        self.channel_details.get("user")?.as_str()
    }
}

/// What a binding of a queue is from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SourceView {
    /// The exchange; empty for the default one.
    pub source: String,
    /// The routing key, or the pattern of a topic exchange.
    pub routing_key: String,
}

/// An exchange.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExchangeView {
    /// Its type, such as `topic`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it outlives the broker's end.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    #[serde(default)]
    pub internal: bool,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// A regular expression of names.
    pub pattern: String,
    /// What it applies to: `queues`, `exchanges`, `all`, or one type of queues.
    #[serde(rename = "apply-to", default)]
    pub apply_to: String,
    /// Of several, the one with the highest applies.
    #[serde(default)]
    pub priority: i64,
    /// What it sets.
    #[serde(default, deserialize_with = "table")]
    pub definition: Map<String, Value>,
}

/// A node of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    #[serde(default)]
    pub running: bool,
    /// Whether its memory is low, for which publishers are held up.
    #[serde(default)]
    pub mem_alarm: bool,
    /// Whether its disk is full, for which publishers are held up.
    #[serde(default)]
    pub disk_free_alarm: bool,
    /// Free bytes on its disk.
    #[serde(default)]
    pub disk_free: Option<u64>,
    /// With fewer free bytes than this publishers are held up.
    #[serde(default)]
    pub disk_free_limit: Option<u64>,
    /// Nodes that it lost and did not join again.
    #[serde(default)]
    pub partitions: Vec<String>,
}

#[derive(Deserialize)]
struct Overview {
    rabbitmq_version: String,
}

impl Management {
    /// The broker's version.
    ///
    /// # Errors
    /// Those of asking.
    pub async fn version(&self) -> Result<String, Fault> {
        let overview = self.there::<Overview>(&["api", "overview"]).await?;
        Ok(overview.rabbitmq_version)
    }

    /// The user that asks.
    ///
    /// # Errors
    /// Those of asking.
    pub async fn who_am_i(&self) -> Result<UserView, Fault> {
        self.there(&["api", "whoami"]).await
    }

    /// That user; none where the broker keeps none of that name.
    ///
    /// # Errors
    /// Those of asking: it takes an administrator.
    pub async fn user(&self, name: &str) -> Result<Option<UserView>, Fault> {
        self.ask(&["api", "users", name]).await
    }

    /// What that user may on that virtual host; none where it may nothing.
    ///
    /// # Errors
    /// Those of asking: it takes an administrator.
    pub async fn permissions(
        &self,
        vhost: &str,
        user: &str,
    ) -> Result<Option<PermissionsView>, Fault> {
        self.ask(&["api", "permissions", vhost, user]).await
    }

    /// That queue; none where there is none.
    ///
    /// # Errors
    /// Those of asking: it takes a permission on the virtual host.
    pub async fn queue(&self, vhost: &str, name: &str) -> Result<Option<QueueView>, Fault> {
        self.ask(&["api", "queues", vhost, name]).await
    }

    /// What that queue is bound to.
    ///
    /// # Errors
    /// As [`Management::queue`].
    pub async fn queue_bindings(&self, vhost: &str, name: &str) -> Result<Vec<SourceView>, Fault> {
        let found = self.ask(&["api", "queues", vhost, name, "bindings"]).await?;
        Ok(found.unwrap_or_default())
    }

    /// That exchange; none where there is none.
    ///
    /// # Errors
    /// As [`Management::queue`].
    pub async fn exchange_view(
        &self,
        vhost: &str,
        name: &str,
    ) -> Result<Option<ExchangeView>, Fault> {
        self.ask(&["api", "exchanges", vhost, name]).await
    }

    /// The policies of that virtual host; those of its operator where so asked.
    ///
    /// # Errors
    /// Those of asking: it takes the tag `policymaker`.
    pub async fn policies(&self, vhost: &str, operator: bool) -> Result<Vec<PolicyView>, Fault> {
        let which = if operator { "operator-policies" } else { "policies" };
        self.there(&["api", which, vhost]).await
    }

    /// The nodes.
    ///
    /// # Errors
    /// Those of asking: it takes the tag `monitoring`.
    pub async fn nodes(&self) -> Result<Vec<NodeView>, Fault> {
        self.there(&["api", "nodes"]).await
    }

    async fn there<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Fault> {
        self.ask(path).await?.ok_or_else(|| {
            Fault::new(
                super::super::Kind::Clash,
                format!("the management interface has no /{}", path.join("/")),
            )
        })
    }
}

/// A list of words; older brokers write it as one text with commas.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Words::deserialize(deserializer)? {
        Words::List(words) => words,
        Words::Text(text) => {
            text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
        }
    })
}

/// An object. An empty one is written as an empty list, or as nothing, by some brokers.
fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(table) => table,
        _ => Map::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_old_and_new_brokers_write_them() {
        for text in [
            r#"{"name":"a","tags":"management,monitoring"}"#,
            r#"{"name":"a","tags":["management","monitoring"]}"#,
        ] {
            let user: UserView = serde_json::from_str(text).unwrap();
            assert_eq!(user.tags, ["management", "monitoring"]);
        }
        let none: UserView = serde_json::from_str(r#"{"name":"a","tags":""}"#).unwrap();
        assert!(none.tags.is_empty());
    }
}
