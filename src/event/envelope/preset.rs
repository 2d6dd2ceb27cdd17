//! The envelopes that come with the daemon.

use serde::Deserialize;

use super::{Expects, Rules, Selector};

/// An envelope that comes with the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The event bus this daemon was made for, in all the shapes found on it.
    Bloodbank,
    /// CloudEvents 1.0: structured JSON, and binary mode, where headers `ce-id`, `cloudEvents:id` or
    /// `cloudEvents_id` and so on make the body mere data.
    Cloudevents,
    /// MassTransit's JSON envelope.
    Masstransit,
    /// Any JSON; identifier, type and time from the basic properties.
    Plain,
    /// Any bytes; identifier, type and time from the basic properties.
    Binary,
}

impl Preset {
    /// All presets.
    pub const ALL: [Preset; 5] = [
        Preset::Bloodbank,
        Preset::Cloudevents,
        Preset::Masstransit,
        Preset::Plain,
        Preset::Binary,
    ];

    pub(super) fn rules(self) -> Rules {
        match self {
            Preset::Bloodbank => Rules {
                event_id: selectors(&["/event_id", "/id", "property:message_id"]),
                event_type: selectors(&["/event_type", "property:type"]),
                event_time: selectors(&["/timestamp", "/ts", "property:timestamp"]),
                source: selectors(&["/source/app", "/source", "property:app_id"]),
                correlation_ids: selectors(&[
                    "/correlation_ids",
                    "/correlation_id",
                    "property:correlation_id",
                ]),
                expects: Expects::Object,
                uuid_ids: true,
                binary_mode: false,
            },
            Preset::Cloudevents => Rules {
                event_id: cloudevents("id", &["/id", "property:message_id"]),
                event_type: cloudevents("type", &["/type", "property:type"]),
                event_time: cloudevents("time", &["/time", "property:timestamp"]),
                source: cloudevents("source", &["/source", "property:app_id"]),
                correlation_ids: [
                    cloudevents("correlationid", &["/correlationid"]),
                    cloudevents("causationid", &["/causationid", "property:correlation_id"]),
                ]
                .concat(),
                expects: Expects::Object,
                uuid_ids: false,
                binary_mode: true,
            },
            Preset::Masstransit => Rules {
                event_id: selectors(&["/messageId", "property:message_id"]),
                event_type: selectors(&["/messageType/0", "property:type"]),
                event_time: selectors(&["/sentTime", "property:timestamp"]),
                source: selectors(&["/sourceAddress", "property:app_id"]),
                correlation_ids: selectors(&[
                    "/correlationId",
                    "/conversationId",
                    "/initiatorId",
                    "property:correlation_id",
                ]),
                expects: Expects::Object,
                uuid_ids: true,
                binary_mode: false,
            },
            Preset::Plain => properties_only(Expects::Json),
            Preset::Binary => properties_only(Expects::Any),
        }
    }
}

fn properties_only(expects: Expects) -> Rules {
    Rules {
        event_id: selectors(&["property:message_id"]),
        event_type: selectors(&["property:type"]),
        event_time: selectors(&["property:timestamp"]),
        source: selectors(&["property:app_id"]),
        correlation_ids: selectors(&["property:correlation_id"]),
        expects,
        uuid_ids: false,
        binary_mode: false,
    }
}

/// A CloudEvents attribute under the prefixes that headers give it, then elsewhere.
fn cloudevents(attribute: &str, elsewhere: &[&str]) -> Vec<Selector> {
    let headers = ["ce-", "cloudEvents:", "cloudEvents_"]
        .map(|prefix| Selector::Header(format!("{prefix}{attribute}")));
    headers.into_iter().chain(selectors(elsewhere)).collect()
}

#[expect(clippy::expect_used, reason = "constants of this file, all compiled by a test")]
fn selectors(texts: &[&str]) -> Vec<Selector> {
    texts.iter().map(|text| text.parse().expect("a selector")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_compiles() {
        for preset in Preset::ALL {
            let _ = super::super::Envelope::preset(preset);
        }
    }
}
