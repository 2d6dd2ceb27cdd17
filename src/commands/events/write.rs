//! From rows to what the reader sees.

use std::io::Write as _;

use super::{
    super::terminal::{Output, Paging},
    Column, Csv, Events, Filter, Format, Objects, Reader, Selection,
};
use crate::store::Row;

/// How to write.
pub struct Writer {
    pub format: Format,
    pub columns: Vec<Column>,
    pub paging: Paging,
}

impl Writer {
    /// Writes what matches, and tells how many events that were. Nothing is opened before there is something to write: a
    /// pager would hide why there is nothing.
    pub async fn write(
        self,
        reader: &mut Reader,
        filter: &Filter,
        selection: Selection,
    ) -> anyhow::Result<u64> {
        let mut open = None;
        let found = reader
            .events(filter, selection, |row: &Row| -> anyhow::Result<()> {
                let (out, shape) = open.get_or_insert_with(|| {
                    let out = Output::open(self.paging);
                    let shape = Shape::new(self.format, self.columns.clone(), &out);
                    (out, shape)
                });
                shape.row(out, row)
            })
            .await?;
        let (mut out, shape) = match open {
            Some(open) => open,
            None => {
                let out = Output::open(Paging::Never);
                let shape = Shape::new(self.format, self.columns, &out);
                (out, shape)
            }
        };
        shape.end(&mut out)?;
        out.close()?;
        Ok(found)
    }
}

/// Events on their way out.
pub enum Shape {
    Table(Events),
    Objects(Objects),
    Csv(Csv),
}

impl Shape {
    pub fn new(format: Format, columns: Vec<Column>, out: &Output) -> Shape {
        match format {
            Format::Table => Shape::Table(Events::new(columns, out.look())),
            Format::Json => Shape::Objects(Objects::array(columns, out.look())),
            Format::Ndjson => Shape::Objects(Objects::lines(columns, out.look())),
            Format::Csv => Shape::Csv(Csv::new(columns, out.look())),
        }
    }

    pub fn row(&mut self, out: &mut Output, row: &Row) -> anyhow::Result<()> {
        match self {
            Shape::Table(table) => table.row(out, row),
            Shape::Objects(objects) => objects.row(out, row),
            Shape::Csv(csv) => csv.row(out, row),
        }
    }

    pub fn end(self, out: &mut Output) -> anyhow::Result<()> {
        match self {
            Shape::Table(table) => table.end(out),
            Shape::Objects(objects) => objects.end(out),
            Shape::Csv(csv) => csv.end(out),
        }
    }

    /// For events that are still to come: columns for any of them.
    pub fn following(self) -> Shape {
        match self {
            Shape::Table(table) => Shape::Table(table.following()),
            other => other,
        }
    }

    /// Writes what has come so far, and lets the reader see it.
    pub fn show(&mut self, out: &mut Output) -> anyhow::Result<()> {
        if let Shape::Table(table) = self {
            table.show(out)?;
        }
        Ok(out.flush()?)
    }
}
