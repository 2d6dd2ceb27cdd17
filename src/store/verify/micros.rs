//! Times to the microsecond, infinity included, of which a client's types know nothing.

use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef},
};
use time::OffsetDateTime;

/// Microseconds from 1970 to the year 2000, from which PostgreSQL counts.
const YEAR_2000: i64 = 946_684_800_000_000;

/// A `timestamptz` in microseconds since 1970. The ends of the range are infinity.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Micros(pub i64);

/// A time as PostgreSQL writes it, in microseconds since 1970.
#[must_use]
pub fn unix_micros(postgres: i64) -> i64 {
    match postgres {
        i64::MIN => postgres,
        _ => postgres.saturating_add(YEAR_2000),
    }
}

impl Type<Postgres> for Micros {
    fn type_info() -> PgTypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Micros {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let postgres = match self.0 {
            i64::MIN | i64::MAX => self.0,
            unix => unix.saturating_sub(YEAR_2000),
        };
        buffer.extend_from_slice(&postgres.to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Micros {
    fn decode(value: PgValueRef<'_>) -> Result<Micros, BoxDynError> {
        let bytes: [u8; 8] = value.as_bytes()?.try_into()?;
        Ok(Micros(unix_micros(i64::from_be_bytes(bytes))))
    }
}
