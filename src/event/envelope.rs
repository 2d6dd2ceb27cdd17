//! Where the fields of an event stand in a delivery: rules, with presets for the usual envelopes.

mod extract;
mod preset;
mod selector;
#[cfg(test)]
mod tests;
mod write;

use serde::Deserialize;

use super::scan::Paths;

pub use preset::Preset;
pub use selector::{InvalidSelector, PropertyName, Selector};
pub(super) use write::Fields;

/// Which places hold an event's fields, compiled for use on every delivery.
///
/// Each field has places to look at, in order. The first that yields a usable value wins; `null`, an empty
/// string and an AMQP void are as good as absent. A value that is there but cannot be used leaves a defect,
/// and the next place is tried. Correlation ids are the union of all places in the body, strings and arrays
/// of strings; only if it gives none, that of all headers; only if they give none, of all properties.
#[derive(Debug, Clone)]
pub struct Envelope {
    event_id: Vec<Place>,
    event_type: Vec<Place>,
    event_time: Vec<Place>,
    source: Vec<Place>,
    correlation_ids: Vec<Place>,
    paths: Paths,
    expects: Expects,
    uuid_ids: bool,
    binary_mode: bool,
    /// Of id, type, time and source: where an event of our own has them.
    first_places: [Option<Selector>; 4],
}

/// A selector, its JSON pointer compiled to a slot of the scan.
#[derive(Debug, Clone)]
enum Place {
    Body(usize),
    Property(PropertyName),
    Header(String),
}

/// Which bodies an envelope expects; any other is malformed, unless the event id came from a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expects {
    /// A JSON object.
    Object,
    /// Any JSON.
    Json,
    /// Any bytes, none included. What happens to be JSON is still kept as JSON.
    Any,
}

/// Rules that replace a preset's, field by field; `None` keeps the preset's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Where the event id may stand.
    pub event_id: Option<Vec<Selector>>,
    /// Where the event type may stand.
    pub event_type: Option<Vec<Selector>>,
    /// Where the event time may stand.
    pub event_time: Option<Vec<Selector>>,
    /// Where the source may stand.
    pub source: Option<Vec<Selector>>,
    /// Where correlation ids may stand.
    pub correlation_ids: Option<Vec<Selector>>,
    /// Which bodies are not malformed.
    pub expects: Option<Expects>,
}

/// An envelope before it is compiled.
struct Rules {
    event_id: Vec<Selector>,
    event_type: Vec<Selector>,
    event_time: Vec<Selector>,
    source: Vec<Selector>,
    correlation_ids: Vec<Selector>,
    expects: Expects,
    /// An event id that is no uuid is worth a word.
    uuid_ids: bool,
    /// An event id in a header means that the body is mere data: nothing else is taken from it.
    binary_mode: bool,
}

impl Envelope {
    /// The rules of a preset.
    #[must_use]
    pub fn preset(preset: Preset) -> Envelope {
        Envelope::compile(preset.rules())
    }

    /// The rules of a preset, those given in `overrides` replaced.
    #[must_use]
    pub fn with_overrides(preset: Preset, overrides: Overrides) -> Envelope {
        let rules = preset.rules();
        Envelope::compile(Rules {
            event_id: overrides.event_id.unwrap_or(rules.event_id),
            event_type: overrides.event_type.unwrap_or(rules.event_type),
            event_time: overrides.event_time.unwrap_or(rules.event_time),
            source: overrides.source.unwrap_or(rules.source),
            correlation_ids: overrides.correlation_ids.unwrap_or(rules.correlation_ids),
            expects: overrides.expects.unwrap_or(rules.expects),
            ..rules
        })
    }

    fn compile(rules: Rules) -> Envelope {
        let all = [
            &rules.event_id,
            &rules.event_type,
            &rules.event_time,
            &rules.source,
            &rules.correlation_ids,
        ];
        let pointers = all.into_iter().flatten().filter_map(|selector| match selector {
            Selector::Body(steps) => Some(steps.as_slice()),
            Selector::Property(_) | Selector::Header(_) => None,
        });
        let (paths, slots) = Paths::new(pointers);
        let first_places = [&rules.event_id, &rules.event_type, &rules.event_time, &rules.source]
            .map(|selectors| selectors.first().cloned());
        let mut slots = slots.into_iter();
        let mut places = |selectors: Vec<Selector>| -> Vec<Place> {
            let place = |selector| match selector {
                Selector::Body(_) => slots.next().map(Place::Body),
                Selector::Property(name) => Some(Place::Property(name)),
                Selector::Header(name) => Some(Place::Header(name)),
            };
            selectors.into_iter().filter_map(place).collect()
        };
        Envelope {
            // In the order of `all`: slots are handed out as pointers came.
            event_id: places(rules.event_id),
            event_type: places(rules.event_type),
            event_time: places(rules.event_time),
            source: places(rules.source),
            correlation_ids: places(rules.correlation_ids),
            paths,
            expects: rules.expects,
            uuid_ids: rules.uuid_ids,
            binary_mode: rules.binary_mode,
            first_places,
        }
    }

    /// Which bodies are not malformed.
    #[must_use]
    pub fn expects(&self) -> Expects {
        self.expects
    }

    /// What to look for in a body.
    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }
}
