//! The effective configuration as TOML, each value with its source.

use std::fmt::Write as _;

use figment::value::Value;

use super::key::{self, Key};
use super::load::Loaded;
use super::secret::redact;

impl Loaded {
    /// TOML in the order of the shipped file: each value as it was written, its source behind it, secrets
    /// masked; keys that are not set stand as comments. But for the masks it can be loaded again.
    pub fn to_toml(&self) -> String {
        let mut toml = String::new();
        let mut section = "";
        for key in key::all() {
            let (of, name) = key.parts();
            if of != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                // Writing to a String cannot fail, here and below.
                let _ = writeln!(toml, "{gap}[{of}]");
                section = of;
            }
            let source = self.source(key);
            let _ = match self.value(key) {
                Some(value) => writeln!(toml, "{name} = {value}  # {source}"),
                None => writeln!(toml, "# {name} is not set  # {source}"),
            };
        }
        toml
    }

    pub(super) fn source(&self, key: &Key) -> String {
        let metadata = self.figment.find_metadata(key.path);
        let name = metadata.map_or("default", |metadata| &metadata.name);
        name.replace(char::is_control, " ")
    }

    fn value(&self, key: &Key) -> Option<toml::Value> {
        let shown = match key.path {
            "rabbitmq.url" => toml::Value::String(self.config.rabbitmq.url.to_string()),
            "rabbitmq.management_url" => {
                let url = self.config.rabbitmq.management_url.as_ref()?;
                toml::Value::String(url.to_string())
            }
            "ledger.checkpoint_webhook" => {
                let url = self.config.ledger.checkpoint_webhook.as_ref()?;
                toml::Value::String(url.to_string())
            }
            "postgres.url" => toml::Value::String(self.config.postgres.url.to_string()),
            _ if key.secret => return None,
            path => toml_value(&self.figment.find_value(path).ok()?)?,
        };
        Some(shown)
    }
}

fn toml_value(value: &Value) -> Option<toml::Value> {
    match value {
        // A URL in the place of a name is valid, and its password none the less a secret.
        Value::String(_, text) => Some(toml::Value::String(redact(text))),
        Value::Bool(_, truth) => Some(toml::Value::Boolean(*truth)),
        Value::Num(..) => {
            value.to_i128().and_then(|number| i64::try_from(number).ok()).map(toml::Value::Integer)
        }
        Value::Array(_, items) => {
            items.iter().map(toml_value).collect::<Option<Vec<_>>>().map(toml::Value::Array)
        }
        _ => None,
    }
}
