//! Events as a table.

use std::io::Write;

use super::{csv::text, object::timestamp};
use crate::{
    commands::terminal::{self, Cell, Look, Table, style},
    store::{Column, Row, Value},
};

/// Writes events as rows of a table.
pub struct Events {
    columns: Vec<Column>,
    table: Table,
}

impl Events {
    pub fn new(columns: Vec<Column>, look: Look) -> Events {
        let table = Table::new(columns.iter().map(|&column| shape(column)).collect(), look);
        Events { columns, table }
    }

    /// For events that are still to come.
    pub fn following(self) -> Events {
        Events { table: self.table.roomy(), ..self }
    }

    /// Writes what has come so far.
    pub fn show(&mut self, out: &mut impl Write) -> anyhow::Result<()> {
        Ok(self.table.show(out)?)
    }

    pub fn row(&mut self, out: &mut impl Write, row: &Row) -> anyhow::Result<()> {
        let wrong = row.value(Column::Malformed)? == Some(Value::Flag(true));
        let odd = row.value(Column::Conflict)? == Some(Value::Flag(true));
        let cell = |&column: &Column| -> anyhow::Result<Cell> {
            let Some(value) = row.value(column)? else { return Ok(Cell::new("")) };
            let cell = match value {
                Value::Time(time) => {
                    let mut written = Vec::new();
                    timestamp(&mut written, time, b' ', 3);
                    Cell::new(&String::from_utf8_lossy(&written))
                }
                other => Cell::new(&text(other)),
            };
            Ok(cell.styled(match column {
                _ if wrong => style::BAD,
                _ if odd => style::WARNING,
                Column::EventType | Column::RoutingKey => style::STRONG,
                Column::ReceivedAt | Column::EventTime | Column::Seq | Column::Replay => {
                    style::FAINT
                }
                _ => style::PLAIN,
            }))
        };
        let cells = self.columns.iter().map(cell).collect::<anyhow::Result<_>>()?;
        Ok(self.table.row(out, cells)?)
    }

    pub fn end(self, out: &mut impl Write) -> anyhow::Result<()> {
        Ok(self.table.end(out)?)
    }
}

fn shape(column: Column) -> terminal::Column {
    match column {
        Column::Seq | Column::BodyBytes => terminal::Column::number(column.name()),
        Column::ReceivedAt
        | Column::EventTime
        | Column::EventId
        | Column::Id
        | Column::Replay
        | Column::OriginalAt => terminal::Column::whole(column.name()),
        Column::Redelivered | Column::Conflict | Column::Malformed => {
            terminal::Column::whole(column.name()).labelled()
        }
        _ => terminal::Column::text(column.name()),
    }
}
