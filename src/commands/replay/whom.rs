//! Asks the broker's management interface whom a replay would reach.

use super::{
    Options,
    reach::{Bindings, Reach},
    say,
};
use crate::{
    broker::{Management, ManagementAddress},
    commands::{reading::Misuse, settings},
    config::{Config, ManagementUrl},
    replay::{Places, Target, To},
    store::{Arrivals, Reader},
};

impl Options {
    /// Where the management interface of the target's broker is, where that is known: that of the configuration belongs to
    /// the configuration's broker.
    fn management(
        &self,
        config: &Config,
        target: &Target,
    ) -> Result<Option<ManagementAddress>, Misuse> {
        let url = match &self.management_url {
            Some(url) => Some(
                ManagementUrl::parse(url)
                    .map_err(|error| Misuse(format!("--management-url: {error}")))?,
            ),
            None if settings::address(config).to_string() == target.broker => {
                config.rabbitmq.management_url.clone()
            }
            None => None,
        };
        Ok(url.map(|url| settings::management(&url, config)))
    }

    /// Whom it would reach; none where nobody can be asked, or who is does not answer, which is said.
    ///
    /// # Errors
    /// Its URL is none, or the events cannot be read.
    pub async fn whom(
        &self,
        config: &Config,
        places: &Places,
        target: &Target,
        reader: &mut Reader,
        arrivals: &Arrivals,
    ) -> anyhow::Result<Option<Reach>> {
        let Some(address) = self.management(config, target)? else { return Ok(None) };
        if matches!(target.to, To::Queue(_)) {
            return Ok(None);
        }
        let mut routes = reader.routes(arrivals).await?;
        let looked_at: i64 = routes.iter().map(|route| route.events).sum();
        for route in &mut routes {
            if let To::Exchange(exchange) = &target.to {
                route.exchange.clone_from(exchange);
            }
            if let Some(prefix) = &target.key_prefix {
                route.routing_key.insert_str(0, prefix);
            }
        }
        let from = routes.iter().map(|route| route.exchange.clone());
        let vhost = &places.broker.address.vhost;
        let exchanges = match Management::new(address, places.broker.connect_timeout) {
            Ok(management) => management.exchanges(vhost, from).await,
            Err(fault) => Err(fault),
        };
        let mut bindings = match exchanges {
            Ok(exchanges) => Bindings::new(exchanges),
            Err(fault) => {
                say(&format!("whom it would reach is not known: {fault}"));
                return Ok(None);
            }
        };
        let (patterns, mut keys) = (bindings.patterns(), Vec::new());
        keys.extend(routes.iter().map(|route| route.routing_key.clone()));
        for (key, pattern) in reader.matches(&keys, &patterns).await? {
            if let (Some(key), Some(pattern)) = (keys.get(key), patterns.get(pattern)) {
                bindings.matches(pattern, key);
            }
        }
        let mut reach = bindings.reach(&routes);
        reach.not_looked_at = reader.number(arrivals).await?.saturating_sub(looked_at);
        Ok(Some(reach))
    }
}
