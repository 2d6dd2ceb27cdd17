//! What of an event can be asked for.

/// A column of `audit.events`, or one that is made of some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are described in the database")]
pub enum Column {
    Seq,
    ReceivedAt,
    EventTime,
    EventId,
    Redelivered,
    Conflict,
    Malformed,
    EventKey,
    EventType,
    Source,
    Exchange,
    RoutingKey,
    CorrelationIds,
    Defects,
    Properties,
    Payload,
    Body,
    ConflictDigest,
    /// `event_id` or `event_key`, whichever it has.
    Id,
    /// Length of the body.
    BodyBytes,
    /// Which replay it is, where replays are shown and it is one.
    Replay,
    /// When the event was received that it is a replay of.
    OriginalAt,
}

impl Column {
    /// All, those of `audit.events` in its order and first.
    pub const ALL: [Column; 22] = [
        Column::Seq,
        Column::ReceivedAt,
        Column::EventTime,
        Column::EventId,
        Column::Redelivered,
        Column::Conflict,
        Column::Malformed,
        Column::EventKey,
        Column::EventType,
        Column::Source,
        Column::Exchange,
        Column::RoutingKey,
        Column::CorrelationIds,
        Column::Defects,
        Column::Properties,
        Column::Payload,
        Column::Body,
        Column::ConflictDigest,
        Column::Id,
        Column::BodyBytes,
        Column::Replay,
        Column::OriginalAt,
    ];

    /// Those of `audit.events`.
    #[must_use]
    pub fn stored() -> &'static [Column] {
        &Column::ALL[..18]
    }

    /// Whether there is something in it only where replays are shown.
    #[must_use]
    pub fn is_of_replays(self) -> bool {
        matches!(self, Column::Replay | Column::OriginalAt)
    }

    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Column::Seq => "seq",
            Column::ReceivedAt => "received_at",
            Column::EventTime => "event_time",
            Column::EventId => "event_id",
            Column::Redelivered => "redelivered",
            Column::Conflict => "conflict",
            Column::Malformed => "malformed",
            Column::EventKey => "event_key",
            Column::EventType => "event_type",
            Column::Source => "source",
            Column::Exchange => "exchange",
            Column::RoutingKey => "routing_key",
            Column::CorrelationIds => "correlation_ids",
            Column::Defects => "defects",
            Column::Properties => "properties",
            Column::Payload => "payload",
            Column::Body => "body",
            Column::ConflictDigest => "conflict_digest",
            Column::Id => "id",
            Column::BodyBytes => "body_bytes",
            Column::Replay => "replay",
            Column::OriginalAt => "original_at",
        }
    }

    /// The column of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Column> {
        Column::ALL.into_iter().find(|column| column.name() == name)
    }
}
