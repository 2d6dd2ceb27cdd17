//! Bytes as base64, in what is kept of a check.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

/// Writes them.
pub(super) fn serialize<T: AsRef<[u8]>, S: Serializer>(
    bytes: &T,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(bytes))
}

/// Reads them, as many as there have to be.
pub(super) fn deserialize<'de, T: TryFrom<Vec<u8>>, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    let bytes = STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| D::Error::custom(format!("{length} bytes are another number")))
}
