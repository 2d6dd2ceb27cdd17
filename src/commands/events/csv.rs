//! Events as comma-separated values, as RFC 4180 has them.

use std::{borrow::Cow, fmt::Write as _, io::Write};

use super::object::{hyphenated, timestamp};
use crate::{
    commands::terminal::{Look, visible},
    store::{Column, Row, Value},
};

/// Writes events as lines of values, the names first.
pub struct Csv {
    columns: Vec<Column>,
    terminal: bool,
    begun: bool,
}

impl Csv {
    pub fn new(columns: Vec<Column>, look: Look) -> Csv {
        Csv { columns, terminal: look.terminal, begun: false }
    }

    pub fn row(&mut self, out: &mut impl Write, row: &Row) -> anyhow::Result<()> {
        self.begin(out)?;
        let mut line = writer();
        for &column in &self.columns {
            let text = row.value(column)?.map(text).unwrap_or_default();
            let safe = if self.terminal { visible(&text) } else { Cow::Borrowed(&*text) };
            line.write_field(&*safe)?;
        }
        finish(line, out)
    }

    pub fn end(mut self, out: &mut impl Write) -> anyhow::Result<()> {
        self.begin(out)
    }

    fn begin(&mut self, out: &mut impl Write) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            let mut names = writer();
            for column in &self.columns {
                names.write_field(column.name())?;
            }
            finish(names, out)?;
        }
        Ok(())
    }
}

fn writer() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new())
}

fn finish(mut line: csv::Writer<Vec<u8>>, out: &mut impl Write) -> anyhow::Result<()> {
    line.write_record(None::<&[u8]>)?;
    let line = line.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(out.write_all(&line)?)
}

/// A value as text, as a table and a spreadsheet want it.
pub fn text(value: Value<'_>) -> Cow<'_, str> {
    let made = |make: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        make(&mut bytes);
        Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
    };
    match value {
        Value::Number(number) => Cow::Owned(number.to_string()),
        Value::Flag(flag) => Cow::Borrowed(if flag { "true" } else { "false" }),
        Value::Time(time) => made(&|out| {
            timestamp(out, time, b'T', 6);
            out.push(b'Z');
        }),
        Value::Uuid(uuid) => made(&|out| hyphenated(out, uuid)),
        Value::Text(text) | Value::Json(text) => Cow::Borrowed(text),
        Value::Texts(texts) => Cow::Owned(serde_json::Value::from_iter(texts.iter()).to_string()),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => {
                let mut hexadecimal = String::from("\\x");
                for byte in bytes {
                    let _ = write!(hexadecimal, "{byte:02x}");
                }
                Cow::Owned(hexadecimal)
            }
        },
    }
}
