//! What every command that reads shares: a table that fits the terminal, colours, the pager, and text that is safe there.

mod escape;
mod field;
mod output;
mod table;

pub use escape::{json_safe, visible};
pub use field::field;
pub use output::{Look, Output, Paging};
pub use table::{Cell, Column, Table, cut};

/// The styles in use, few and with one meaning each.
pub mod style {
    use anstyle::{AnsiColor, Style};

    /// Nothing special.
    pub const PLAIN: Style = Style::new();
    /// Names of columns and headings.
    pub const HEADING: Style = Style::new().bold();
    /// What is there for orientation.
    pub const FAINT: Style = Style::new().dimmed();
    /// What a reader looks for first.
    pub const STRONG: Style = AnsiColor::Cyan.on_default();
    /// What is not as it should be.
    pub const WARNING: Style = AnsiColor::Yellow.on_default();
    /// What is wrong.
    pub const BAD: Style = AnsiColor::Red.on_default();
}
