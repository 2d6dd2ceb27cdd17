//! A table that fits the terminal, written as rows come: its columns are as wide as the first rows need.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use anstyle::Style;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{Look, style, visible};

/// Rows that are looked at before the first one is written.
const LOOKED_AT: usize = 200;
/// Characters of a value that are kept at all: a table is for looking, not for keeping.
const LONGEST: usize = 1000;
/// What of a text is to be seen at least for its column to be of use.
const LEAST: usize = 12;
const GAP: usize = 2;
const CUT: char = '…';

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    name: String,
    right: bool,
    least: usize,
    labelled: bool,
}

impl Column {
    /// A column of text, which may be cut short down to a few characters.
    pub fn text(name: impl Into<String>) -> Column {
        Column { name: name.into(), right: false, least: LEAST, labelled: false }
    }

    /// A column whose values are never cut in a table, such as times and ids.
    pub fn whole(name: impl Into<String>) -> Column {
        Column { least: usize::MAX, ..Column::text(name) }
    }

    /// A column of numbers: at the right, and never cut.
    pub fn number(name: impl Into<String>) -> Column {
        Column { right: true, ..Column::whole(name).labelled() }
    }

    /// The same for values that say nothing without the column's name, such as numbers: where there are no columns it stands
    /// before them.
    #[must_use]
    pub fn labelled(self) -> Column {
        Column { labelled: true, ..self }
    }
}

/// A value in a table. Whatever a terminal would act on is escaped.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A value as it is.
    #[must_use]
    pub fn new(text: &str) -> Cell {
        let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(at, _)| at);
        let mut safe = visible(&text[..end]).into_owned();
        if end < text.len() {
            safe.push(CUT);
        }
        Cell { text: safe, style: style::PLAIN }
    }

    /// The same in a style.
    #[must_use]
    pub fn styled(self, style: Style) -> Cell {
        Cell { style, ..self }
    }
}

/// A table. Where the narrowest columns do not fit, a row has as many lines as it takes, with as many values in each as fit.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    look: Look,
    waiting: Vec<Vec<Cell>>,
    layout: Option<Layout>,
    roomy: bool,
}

#[derive(Debug)]
enum Layout {
    Columns(Vec<usize>),
    Lines,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: Vec<Column>, look: Look) -> Table {
        Table { columns, look, waiting: Vec::new(), layout: None, roomy: false }
    }

    /// The same for rows of which few are known when the first ones are written: the columns share the whole line.
    #[must_use]
    pub fn roomy(self) -> Table {
        Table { roomy: true, ..self }
    }

    /// Adds a row: a cell for each column.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn row(&mut self, out: &mut impl Write, cells: Vec<Cell>) -> io::Result<()> {
        if let Some(layout) = &self.layout {
            return self.write(out, layout, &cells);
        }
        self.waiting.push(cells);
        if self.waiting.len() < LOOKED_AT { Ok(()) } else { self.begin(out) }
    }

    /// Writes what has come so far, if there is anything that was not written.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn show(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.layout.is_none() && !self.waiting.is_empty() { self.begin(out) } else { Ok(()) }
    }

    /// Writes what is left. A table without rows is nothing.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn end(mut self, out: &mut impl Write) -> io::Result<()> {
        self.show(out)
    }

    /// Writes what has come so far, and from now on each row as it comes.
    fn begin(&mut self, out: &mut impl Write) -> io::Result<()> {
        let layout = self.layout();
        if matches!(layout, Layout::Columns(_)) {
            let names = self.columns.iter().map(|c| Cell::new(&c.name).styled(style::HEADING));
            self.write(out, &layout, &names.collect::<Vec<_>>())?;
        }
        for cells in std::mem::take(&mut self.waiting) {
            self.write(out, &layout, &cells)?;
        }
        self.layout = Some(layout);
        Ok(())
    }

    /// As wide as the values; where that is too much, the widest column gives way first.
    fn layout(&self) -> Layout {
        let wanted = |n: usize| {
            let cells = self.waiting.iter().filter_map(|row| row.get(n));
            let widest = cells.map(|cell| cell.text.width()).max().unwrap_or_default();
            widest.max(self.columns[n].name.width())
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(wanted).collect();
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > self.look.width {
            let gives_way = |&n: &usize| widths[n] > self.columns[n].least;
            match (0..widths.len()).filter(gives_way).max_by_key(|&n| widths[n]) {
                Some(widest) => widths[widest] -= 1,
                None => return Layout::Lines,
            }
        }
        let texts: Vec<_> =
            (0..widths.len()).filter(|&n| self.columns[n].least < usize::MAX).collect();
        if self.roomy && self.look.width < usize::MAX && !texts.is_empty() {
            let room = self.look.width - gaps - widths.iter().sum::<usize>();
            texts.iter().for_each(|&n| widths[n] += room / texts.len());
        }
        Layout::Columns(widths)
    }

    fn write(&self, out: &mut impl Write, layout: &Layout, cells: &[Cell]) -> io::Result<()> {
        match layout {
            Layout::Columns(widths) => self.write_columns(out, widths, cells),
            Layout::Lines => self.write_lines(out, cells),
        }
    }

    fn write_columns(
        &self,
        out: &mut impl Write,
        widths: &[usize],
        cells: &[Cell],
    ) -> io::Result<()> {
        let mut blank = 0;
        for ((cell, &width), column) in cells.iter().zip(widths).zip(&self.columns) {
            let text =
                cut(&cell.text, if self.look.width == usize::MAX { usize::MAX } else { width });
            let pad = width.saturating_sub(text.width());
            let (before, after) = if column.right { (pad, 0) } else { (0, pad) };
            if !text.is_empty() {
                write!(out, "{:1$}", "", blank + before)?;
                self.write_styled(out, &text, cell.style)?;
                blank = 0;
            } else {
                blank += before;
            }
            // Nothing is written after the last value of a line.
            blank += after + GAP;
        }
        writeln!(out)
    }

    fn write_lines(&self, out: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
        let mut used = 0;
        for (n, (cell, column)) in cells.iter().zip(&self.columns).enumerate() {
            if cell.text.is_empty() {
                continue;
            }
            let label =
                if n > 0 && column.labelled { format!("{} ", column.name) } else { String::new() };
            let takes = label.width() + cell.text.width();
            let indent = if used == 0 {
                0
            } else if used + GAP + takes <= self.look.width {
                used += GAP;
                GAP
            } else {
                writeln!(out)?;
                used = if self.look.width <= GAP { 0 } else { GAP };
                used
            };
            write!(out, "{:indent$}", "")?;
            let room = self.look.width.saturating_sub(used).max(1);
            let label = if label.width() < room { label } else { String::new() };
            self.write_styled(out, &label, style::FAINT)?;
            let text = cut(&cell.text, room - label.width());
            self.write_styled(out, &text, cell.style)?;
            used += label.width() + text.width();
        }
        writeln!(out)
    }

    fn write_styled(&self, out: &mut impl Write, text: &str, style: Style) -> io::Result<()> {
        if self.look.colours && style != style::PLAIN && !text.is_empty() {
            write!(out, "{style}{text}{style:#}")
        } else {
            out.write_all(text.as_bytes())
        }
    }
}

/// The text, or as much of it as fits before a sign that there is more.
#[must_use]
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    if width == 0 {
        return "".into();
    }
    let mut kept = String::new();
    let mut room = width.saturating_sub(1);
    for character in text.chars() {
        let takes = character.width().unwrap_or_default();
        if takes > room {
            break;
        }
        room -= takes;
        kept.push(character);
    }
    kept.push(CUT);
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: usize, columns: Vec<Column>, rows: &[&[&str]]) -> String {
        let mut table = Table::new(columns, Look { terminal: true, width, colours: false });
        let mut out = Vec::new();
        for row in rows {
            table.row(&mut out, row.iter().map(|text| Cell::new(text)).collect()).unwrap();
        }
        table.end(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn columns() -> Vec<Column> {
        vec![Column::whole("at"), Column::text("type"), Column::number("bytes")]
    }

    #[test]
    fn columns_are_as_wide_as_their_values() {
        let text = shown(80, columns(), &[&["12:00", "a.b", "7"], &["12:01", "漢字", "1234"]]);
        assert_eq!(text, "at     type  bytes\n12:00  a.b       7\n12:01  漢字   1234\n");
        assert_eq!(shown(80, columns(), &[]), "");
    }

    #[test]
    fn what_may_be_cut_is_cut_where_the_terminal_is_narrow() {
        let row = ["12:00", "a.rather.long.type", "7"];
        let text = shown(26, columns(), &[&row]);
        assert_eq!(text, "at     type          bytes\n12:00  a.rather.lo…      7\n");
        // No line is wider than the terminal, however narrow that is.
        for width in 1..40 {
            for line in shown(width, columns(), &[&row]).lines() {
                assert!(line.width() <= width, "{width}: {line:?}");
            }
        }
        assert_eq!(shown(12, columns(), &[&row]), "12:00\n  a.rather.…\n  bytes 7\n");
    }

    #[test]
    fn what_fits_no_columns_has_the_lines_it_takes() {
        let columns = || {
            vec![
                Column::whole("at"),
                Column::text("type"),
                Column::whole("id"),
                Column::number("bytes"),
                Column::whole("odd").labelled(),
            ]
        };
        let row = ["12:00", "a.type", "0123456789", "7", "false"];
        assert_eq!(
            shown(23, columns(), &[&row]),
            "12:00  a.type\n  0123456789  bytes 7\n  odd false\n"
        );
        // What is empty leaves no trace, and no two rows run together.
        let bare = ["12:01", "", "", "", ""];
        assert_eq!(
            shown(9, columns(), &[&bare, &row]),
            "12:01\n12:00\n  a.type\n  012345…\n  bytes 7\n  odd fa…\n"
        );
        assert_eq!(shown(9, columns(), &[&["", "", "", "", ""]]), "\n");
    }

    #[test]
    fn a_table_is_written_as_rows_come() {
        let mut table =
            Table::new(columns(), Look { terminal: false, width: usize::MAX, colours: false });
        let mut out = Vec::new();
        for _ in 0..LOOKED_AT {
            table.row(&mut out, vec![Cell::new("a"), Cell::new("b"), Cell::new("c")]).unwrap();
        }
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), LOOKED_AT + 1);
        table
            .row(&mut out, vec![Cell::new("a"), Cell::new(&"b".repeat(9)), Cell::new("c")])
            .unwrap();
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), LOOKED_AT + 2);
    }
}
