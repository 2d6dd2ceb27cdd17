//! The broker's management interface: which queues are bound where. AMQP itself does not tell.

mod inspect;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use reqwest::{Client, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use super::{Fault, Kind, Trust, web_client, web_error};

pub use inspect::{
    ConsumerView, ExchangeView, NodeView, PermissionsView, PolicyView, QueueView, SourceView,
    UserView,
};

/// Most exchanges that are asked for, one bound to the other.
const MOST: usize = 1000;

/// Where a broker's management interface is, and as whom it is asked.
#[derive(Clone)]
pub struct ManagementAddress {
    /// Without credentials; what stands before `/api` is part of it.
    pub base: Url,
    /// The user, who needs the tag `management`.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// Whom to trust for `https`, and by which certificate to be known where one is asked for.
    pub trust: Trust,
}

impl fmt::Debug for ManagementAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.base, self.user)
    }
}

/// An exchange, and what is bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Its type, such as `topic`.
    pub kind: String,
    /// The exchange that gets what is bound nowhere, by the exchange's own argument.
    pub alternate: Option<String>,
    /// Where its messages go.
    pub bindings: Vec<Binding>,
}

/// From an exchange to a queue, or to another exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Where to.
    pub to: Destination,
    /// The routing key, or the pattern of a topic exchange.
    pub routing_key: String,
}

/// Where a binding leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A queue; of streams and MQTT sessions, too.
    Queue(String),
    /// An exchange.
    Exchange(String),
}

/// Asks it.
pub struct Management {
    client: Client,
    address: ManagementAddress,
}

#[derive(Deserialize)]
struct AboutExchange {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    arguments: serde_json::Value,
}

#[derive(Deserialize)]
struct AboutBinding {
    destination: String,
    destination_type: String,
    routing_key: String,
}

impl Management {
    /// Connects to nobody yet. Each answer may take that long.
    ///
    /// # Errors
    /// The authorities to be trusted cannot be read.
    pub fn new(address: ManagementAddress, limit: Duration) -> Result<Management, Fault> {
        let client = web_client(&address.base, &address.trust, limit).map_err(|fault| Fault {
            message: format!("the management interface: {}", fault.message),
            ..fault
        })?;
        Ok(Management { client, address })
    }

    /// These exchanges, and all that they are bound to, by their names. One that is not there is not among them; the
    /// default one, whose name is empty, is bound to each queue by its name and is not asked for.
    ///
    /// # Errors
    /// A [`Fault`] that says what it answered.
    pub async fn exchanges(
        &self,
        vhost: &str,
        from: impl IntoIterator<Item = String>,
    ) -> Result<BTreeMap<String, Exchange>, Fault> {
        let mut found = BTreeMap::new();
        let mut asked_for: VecDeque<String> = from.into_iter().collect();
        while let Some(name) = asked_for.pop_front() {
            if name.is_empty() || found.contains_key(&name) {
                continue;
            }
            if found.len() == MOST {
                let words = format!("more than {MOST} exchanges are bound one to the other");
                return Err(Fault::new(Kind::Clash, words));
            }
            let Some(exchange) = self.exchange(vhost, &name).await? else { continue };
            let next = exchange.bindings.iter().filter_map(|binding| match &binding.to {
                Destination::Exchange(exchange) => Some(exchange),
                Destination::Queue(_) => None,
            });
            asked_for.extend(next.chain(&exchange.alternate).cloned());
            found.insert(name, exchange);
        }
        Ok(found)
    }

    async fn exchange(&self, vhost: &str, name: &str) -> Result<Option<Exchange>, Fault> {
        let path = ["api", "exchanges", vhost, name];
        let Some(about) = self.ask::<AboutExchange>(&path).await? else { return Ok(None) };
        let path = [&path[..], &["bindings", "source"]].concat();
        // It may have gone since.
        let Some(bindings) = self.ask::<Vec<AboutBinding>>(&path).await? else { return Ok(None) };
        let alternate = about.arguments.get("alternate-exchange").and_then(|name| name.as_str());
        let bindings = bindings.into_iter().map(|binding| Binding {
            to: match &*binding.destination_type {
                "exchange" => Destination::Exchange(binding.destination),
                _ => Destination::Queue(binding.destination),
            },
            routing_key: binding.routing_key,
        });
        Ok(Some(Exchange {
            kind: about.kind,
            alternate: alternate.map(str::to_owned),
            bindings: bindings.collect(),
        }))
    }

    /// The answer; none where what is asked for is not there.
    async fn ask<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, Fault> {
        let mut url = self.address.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Any URL of HTTP has a path.
            segments.pop_if_empty().extend(path);
        }
        let at = format!("the management interface at {}", self.address.base);
        let lost = |error: reqwest::Error| {
            Fault::new(Kind::Unreachable, format!("{at}: {}", web_error(error)))
        };
        let request =
            self.client.get(url).basic_auth(&self.address.user, Some(&self.address.password));
        let answer = request.send().await.map_err(lost)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                // Its own answer, and not that of whoever else may listen there.
                return match answer.json::<serde_json::Value>().await {
                    Ok(said) if said.get("reason").is_some() => Ok(None),
                    _ => Err(Fault::new(
                        Kind::Clash,
                        format!(
                            "{at} answers 404 Not Found, so it is none of RabbitMQ: check the port and the path"
                        ),
                    )),
                };
            }
            StatusCode::UNAUTHORIZED => {
                return Err(Fault::new(
                    Kind::Refused,
                    format!(
                        "{at} answers 401 Unauthorized: check the user name and the password of '{}', and that it has the tag \
                         \"management\"",
                        self.address.user
                    ),
                ));
            }
            status => {
                return Err(Fault::new(
                    Kind::Refused,
                    format!("{at} answers {status}: check the port and the path"),
                ));
            }
        }
        answer.json().await.map(Some).map_err(lost)
    }
}
