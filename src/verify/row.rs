//! A row of `audit.events` as PostgreSQL copies it, and its leaf.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::encode::{NEVER, Put as _};
use crate::{
    ledger::{Hash, leaf_hash},
    store::unix_micros,
};

/// How many columns are copied.
const COLUMNS: usize = 18;

/// What a binary COPY begins with: its signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The columns in the order in which they are copied.
#[derive(Clone, Copy)]
enum Column {
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
}

/// The salt of an event: of its content, or of its metadata where the content is erased.
pub(super) type Salt = [u8; 16];

/// What PostgreSQL sent is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what PostgreSQL copies is no row of {COLUMNS} columns")]
pub struct NoRow;

/// A row, in the bytes that came.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    fields: [Option<&'a [u8]>; COLUMNS],
}

/// The rows of a message: any number of them.
pub(super) struct Rows<'a>(&'a [u8]);

impl<'a> Rows<'a> {
    /// What stands in a message, the first of which has a header.
    pub fn of(message: &'a [u8]) -> Rows<'a> {
        Rows(message.strip_prefix(HEADER).unwrap_or(message))
    }

    fn row(&mut self) -> Result<Option<Row<'a>>, NoRow> {
        let (count, mut rest) = self.0.split_first_chunk().ok_or(NoRow)?;
        match i16::from_be_bytes(*count) {
            -1 => return Ok(None),
            count if usize::try_from(count) == Ok(COLUMNS) => {}
            _ => return Err(NoRow),
        }
        let mut fields = [None; COLUMNS];
        for field in &mut fields {
            (*field, rest) = value(rest)?;
        }
        self.0 = rest;
        Ok(Some(Row { fields }))
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, NoRow>;

    fn next(&mut self) -> Option<Result<Row<'a>, NoRow>> {
        if self.0.is_empty() {
            return None;
        }
        let row = self.row().transpose();
        if !matches!(row, Some(Ok(_))) {
            self.0 = &[];
        }
        row
    }
}

/// A value after its length, and what follows it.
fn value(bytes: &[u8]) -> Result<(Option<&[u8]>, &[u8]), NoRow> {
    let (length, rest) = bytes.split_first_chunk().ok_or(NoRow)?;
    match i32::from_be_bytes(*length) {
        -1 => Ok((None, rest)),
        length => {
            let length = usize::try_from(length).map_err(|_| NoRow)?;
            let (value, rest) = rest.split_at_checked(length).ok_or(NoRow)?;
            Ok((Some(value), rest))
        }
    }
}

impl<'a> Row<'a> {
    fn get(&self, column: Column) -> Option<&'a [u8]> {
        self.fields[column as usize]
    }

    fn number(&self, column: Column) -> Option<i64> {
        Some(i64::from_be_bytes(self.get(column)?.try_into().ok()?))
    }

    /// Its number.
    pub fn seq(&self) -> i64 {
        self.number(Column::Seq).unwrap_or(i64::MIN)
    }

    /// When it was received, in microseconds since 1970.
    pub fn received_at(&self) -> i64 {
        self.number(Column::ReceivedAt).map_or(i64::MIN, unix_micros)
    }

    /// Its id, where that is a uuid.
    pub fn event_id(&self) -> Option<Uuid> {
        Uuid::from_slice(self.get(Column::EventId)?).ok()
    }

    /// Whether it has no body, as one whose content is erased.
    pub fn is_without_body(&self) -> bool {
        self.get(Column::Payload).is_none() && self.get(Column::Body).is_none_or(<[u8]>::is_empty)
    }

    /// Whether all beside the body is as in a row whose metadata are erased.
    pub fn is_without_metadata(&self) -> bool {
        use Column::{
            CorrelationIds, Defects, EventId, EventKey, EventTime, EventType, Exchange, Properties,
            RoutingKey, Source,
        };
        let none = [EventTime, EventId, EventKey, EventType, Source, Defects];
        let empty = [Exchange, RoutingKey];
        // An array without elements has no dimensions.
        let no_ids = |ids: &[u8]| ids.first_chunk() == Some(&0_i32.to_be_bytes());
        none.into_iter().all(|column| self.get(column).is_none())
            && empty.into_iter().all(|column| self.get(column) == Some(b""))
            && self.get(CorrelationIds).is_some_and(no_ids)
            && self.get(Properties) == Some(b"{}")
    }

    /// Bit by bit: redelivered, conflict, malformed.
    fn flags(&self) -> u8 {
        let flags = [Column::Redelivered, Column::Conflict, Column::Malformed];
        let bit = |column| match self.get(column) {
            Some([0]) => 0,
            Some([1]) => 1,
            // None is neither; no flags are like that.
            _ => 8,
        };
        flags.into_iter().enumerate().fold(0, |flags, (place, column)| flags | bit(column) << place)
    }

    /// Its columns to keep, one after the other, as they came.
    pub fn copied(&self) -> Copied {
        let mut bytes = i16::try_from(COLUMNS).unwrap_or_default().to_be_bytes().to_vec();
        for field in &self.fields {
            let length = field.and_then(|field| i32::try_from(field.len()).ok()).unwrap_or(-1);
            bytes.i32(length);
            bytes.extend_from_slice(field.unwrap_or_default());
        }
        Copied(bytes)
    }

    /// Bytes of all its columns.
    pub fn size(&self) -> usize {
        self.fields.iter().flatten().map(|field| field.len()).sum()
    }
}

/// A row that outlives its message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Copied(#[serde(with = "super::base64")] Vec<u8>);

impl Copied {
    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The row.
    pub fn row(&self) -> Result<Row<'_>, NoRow> {
        Rows(&self.0).row()?.ok_or(NoRow)
    }
}

/// Makes leaves; keeps its memory from one to the next.
#[derive(Debug, Default)]
pub(super) struct Leaves(Vec<u8>);

impl Leaves {
    /// The leaf of a row with the salt of its content.
    pub fn leaf(&mut self, row: &Row<'_>, salt: &Salt) -> Hash {
        let (metadata, content) = self.commitments(row, salt);
        self.of_commitments(row, row.seq(), row.received_at(), &metadata, &content)
    }

    /// The commitments to the metadata and to the content of a row.
    pub fn commitments(&mut self, row: &Row<'_>, salt: &Salt) -> (Hash, Hash) {
        let content = self.content(row, salt);
        (self.metadata(row, &metadata_salt(salt)), content)
    }

    /// The same where the content is erased: with the commitment that was left of it, and the salt of its metadata.
    pub fn without_content(&mut self, row: &Row<'_>, salt: &Salt, content: &Hash) -> Hash {
        let metadata = self.metadata(row, salt);
        self.of_commitments(row, row.seq(), row.received_at(), &metadata, content)
    }

    /// The leaf over both commitments, under the number and with the time that are given.
    pub fn of_commitments(
        &mut self,
        row: &Row<'_>,
        seq: i64,
        received_at: i64,
        metadata: &Hash,
        content: &Hash,
    ) -> Hash {
        let data = &mut self.0;
        data.clear();
        data.extend_from_slice(b"rbal1\0\x01");
        data.i64(seq);
        data.i64(received_at);
        data.push(row.flags());
        data.extend_from_slice(metadata);
        data.extend_from_slice(content);
        leaf_hash(data)
    }

    fn content(&mut self, row: &Row<'_>, salt: &Salt) -> Hash {
        // One of both is there; where somebody has changed that, it is neither.
        let (class, body) = match (row.get(Column::Payload), row.get(Column::Body)) {
            (Some(payload), None) => (1, payload),
            (None, Some(body)) => (2, body),
            _ => (0, &[][..]),
        };
        let data = &mut self.0;
        data.clear();
        data.extend_from_slice(b"rbal1 content\0");
        data.extend_from_slice(salt);
        match row.get(Column::ConflictDigest) {
            // Of another length it could pass for the beginning of the body.
            Some(digest) if digest.len() != size_of::<Hash>() => data.push(2),
            digest => data.optional(digest),
        }
        data.push(class);
        Sha256::new_with_prefix(&*data).chain_update(body).finalize().into()
    }

    fn metadata(&mut self, row: &Row<'_>, salt: &Salt) -> Hash {
        let data = &mut self.0;
        data.clear();
        data.extend_from_slice(b"rbal1 metadata\0");
        data.extend_from_slice(salt);
        match (row.get(Column::EventTime), row.number(Column::EventTime)) {
            // Of another length it could pass for none.
            (Some(_), None) => data.push(2),
            (_, time) => data.optional_i64(time.map(unix_micros)),
        }
        match row.get(Column::EventId) {
            // Of another length it could pass for the beginning of what follows.
            Some(id) if id.len() != size_of::<Uuid>() => data.push(2),
            id => data.optional(id),
        }
        data.optional_text(row.get(Column::EventKey));
        data.optional_text(row.get(Column::EventType));
        data.optional_text(row.get(Column::Source));
        data.text(row.get(Column::Exchange));
        data.text(row.get(Column::RoutingKey));
        list(data, row.get(Column::CorrelationIds));
        match row.get(Column::Defects) {
            None => data.push(0),
            defects => {
                data.push(1);
                list(data, defects);
            }
        }
        data.text(row.get(Column::Properties));
        Sha256::digest(&*data).into()
    }
}

/// The salt of metadata, which follows from that of content.
fn metadata_salt(content: &Salt) -> Salt {
    let mut data = [0; 27];
    data[..11].copy_from_slice(b"rbal1 salt\0");
    data[11..].copy_from_slice(content);
    let hash = Sha256::digest(data);
    let mut salt = Salt::default();
    salt.copy_from_slice(&hash[..16]);
    salt
}

/// A one-dimensional array of texts from 1 on, none of them null. Anything else is written as no list is.
fn list(data: &mut Vec<u8>, array: Option<&[u8]>) {
    let start = data.len();
    if array.and_then(|array| elements(data, array)).is_none() {
        data.truncate(start);
        data.extend_from_slice(&NEVER.to_be_bytes());
    }
}

fn elements(data: &mut Vec<u8>, array: &[u8]) -> Option<()> {
    let mut rest = array;
    let mut number = || {
        let (number, after) = rest.split_first_chunk()?;
        rest = after;
        Some(i32::from_be_bytes(*number))
    };
    let (dimensions, _nulls, _type) = (number()?, number()?, number()?);
    if dimensions == 0 {
        data.i32(0);
        return Some(());
    }
    let (count, from) = (number()?, number()?);
    if dimensions != 1 || from != 1 {
        return None;
    }
    data.i32(count);
    for _ in 0..count {
        let (element, after) = value(rest).ok()?;
        data.text(Some(element?));
        rest = after;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(event_time: Option<&[u8]>, event_id: Option<&[u8]>) -> Copied {
        let mut fields = [None; COLUMNS];
        fields[Column::EventTime as usize] = event_time;
        fields[Column::EventId as usize] = event_id;
        Row { fields }.copied()
    }

    /// Whoever may change the columns' types can have them hold anything.
    #[test]
    fn values_of_another_length_pass_for_no_other() {
        let leaf = |row: &Copied| Leaves::default().leaf(&row.row().unwrap(), &[0; 16]);
        let none = row(None, None);
        assert_ne!(leaf(&row(Some(&[0; 4]), None)), leaf(&none));
        assert_ne!(leaf(&row(Some(&[]), None)), leaf(&none));
        let [id, more] = [row(None, Some(&[7; 16])), row(None, Some(&[7; 17]))];
        let metadata = |row: &Copied| Leaves::default().commitments(&row.row().unwrap(), &[0; 16]);
        assert_ne!(metadata(&id), metadata(&more));
        assert_eq!(metadata(&more), metadata(&row(None, Some(&[8; 40]))));
    }
}
