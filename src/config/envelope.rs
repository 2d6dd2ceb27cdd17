//! `[envelope]`: where in a message the columns of an event are found.

use serde::Deserialize;

use super::key::{Key, Kind};
use crate::event::{Expects, Preset, Selector};

/// Where in a message the columns of an event are found: a preset, and lists that replace single parts of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The envelope whose places are used where no list below replaces them.
    pub preset: Preset,
    /// Places of the event's id, tried in order. An empty list: never extracted.
    #[serde(default)]
    pub event_id: Option<Vec<Selector>>,
    /// Places of the event's type.
    #[serde(default)]
    pub event_type: Option<Vec<Selector>>,
    /// Places of the producer's time.
    #[serde(default)]
    pub event_time: Option<Vec<Selector>>,
    /// Places of the source.
    #[serde(default)]
    pub source: Option<Vec<Selector>>,
    /// Places of the ids of the parent events.
    #[serde(default)]
    pub correlation_ids: Option<Vec<Selector>>,
    /// Which bodies are well formed; the preset's own expectation where absent.
    #[serde(default)]
    pub expects: Option<Expects>,
}

const PRESETS: &[&str] = &["bloodbank", "cloudevents", "masstransit", "plain", "binary"];
const PLACES: &str = "a list of JSON pointers (\"/id\"), \"property:NAME\" and \"header:NAME\"";

pub(super) const KEYS: &[Key] = &[
    Key::new("envelope.preset", Kind::Choice(PRESETS), ""),
    Key::new("envelope.event_id", Kind::List, PLACES).optional(),
    Key::new("envelope.event_type", Kind::List, PLACES).optional(),
    Key::new("envelope.event_time", Kind::List, PLACES).optional(),
    Key::new("envelope.source", Kind::List, PLACES).optional(),
    Key::new("envelope.correlation_ids", Kind::List, PLACES).optional(),
    Key::new("envelope.expects", Kind::Choice(&["object", "json", "any"]), "").optional(),
];
