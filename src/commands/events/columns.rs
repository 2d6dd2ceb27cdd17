//! `--columns`.

use crate::{config::closest, store::Column};

/// Columns in the order in which they are wanted.
#[derive(Debug, Clone)]
pub struct Columns(pub Vec<Column>);

/// # Errors
/// There is no such column; says which was meant.
pub fn parse(text: &str) -> Result<Columns, String> {
    let names: Vec<_> = Column::ALL.iter().map(|column| column.name()).collect();
    let column = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        Column::named(&name).ok_or_else(|| match closest(&name, &names) {
            Some(meant) => format!("there is no column {name}; did you mean {meant}?"),
            None => format!("there is no column {name:?}; there are {}", names.join(", ")),
        })
    };
    text.split(',').map(column).collect::<Result<_, _>>().map(Columns)
}
